"""Images as the archive of `docker save`.

DIGITS.json      a config
DIGITS.tar       a layer, packed from its files
manifest.json    names the configs, their layers and their names

An unpacked layer doesn't tell every byte of the archive that it came in. Where its digest is another now, the config in
the archive tells the new one, and the saved image has another id; saving and loading it again changes nothing more.
Source: Docker Image Specification v1.2, Combined Image JSON + Filesystem Changeset Format.
"""

import asyncio
import hashlib
import json
import sys
import tarfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.model.image import Image
from atoll.model.reference import parse_reference
from atoll.runtime.images.ingest import work_directory
from atoll.runtime.images.layers import UNPACK_TIMEOUT_S
from atoll.runtime.images.pack import Form
from atoll.runtime.images.store import ImageStore
from atoll.runtime.programs import run

CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image and the names that are saved with it."""

    image: Image
    tags: tuple[str, ...] = ()


def choose(images: ImageStore, text: str) -> Wanted:
    """What a name means to `save`: with a tag that one, without one every tag of the repository, an id none.

    Raises NotFound, Conflict, InvalidRequest.
    """
    image = images.find(text)
    if image.id.startswith(text.removeprefix("sha256:")):
        return Wanted(image)
    reference = parse_reference(text)
    tagged = ":" in text.rpartition("/")[2]
    repository = reference.familiar_repository
    named = [tag for tag in image.tags if parse_reference(tag).familiar_repository == repository]
    return Wanted(image, tuple(tag for tag in named if not tagged or tag == reference.familiar))


async def save(images: ImageStore, wanted: Sequence[Wanted]) -> AsyncIterator[bytes]:
    """The archive, in pieces. Raises ProgramFailed, OSError."""
    with work_directory(images) as work:
        digests: dict[str, str] = {}
        for layer in dict.fromkeys(layer for each in wanted for layer in each.image.layers):
            digests[layer] = await _packed(images.layers.path(layer), work / "layer")
            (work / "layer").rename(work / f"{digests[layer]}.tar")
            async for chunk in _member(f"{digests[layer]}.tar", work / f"{digests[layer]}.tar"):
                yield chunk
        entries = []
        for each in wanted:
            layers = [digests[layer] for layer in each.image.layers]
            config = _config(each.image, layers)
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            entries.append(
                {"Config": name, "RepoTags": list(each.tags) or None, "Layers": [f"{digits}.tar" for digits in layers]}
            )
            yield _small(name, config)
        yield _small("manifest.json", json.dumps(entries).encode())
        yield bytes(2 * tarfile.BLOCKSIZE)


def _config(image: Image, layers: Sequence[str]) -> bytes:
    """The config as it came, unless layers have other digests now."""
    if tuple(layers) == image.layers:
        return image.raw
    document = json.loads(image.raw)
    document["rootfs"]["diff_ids"] = [f"sha256:{digits}" for digits in layers]
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


async def _packed(layer: Path, target: Path) -> str:
    """Pack a layer into a file; the digest of that."""
    with target.open("w+b") as file:
        pack = (sys.executable, "-I", "-m", "atoll.runtime.images.pack", str(layer), "/", Form.LAYER)
        await run(*pack, stdout=file.fileno(), timeout_s=UNPACK_TIMEOUT_S)
        file.seek(0)
        return (await asyncio.to_thread(hashlib.file_digest, file, "sha256")).hexdigest()


async def _member(name: str, path: Path) -> AsyncIterator[bytes]:
    """A file as a member of the archive; the file goes afterwards."""
    size = path.stat().st_size
    yield _head(name, size)
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
    yield bytes(-size % tarfile.BLOCKSIZE)
    path.unlink()


def _small(name: str, content: bytes) -> bytes:
    return _head(name, len(content)) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _head(name: str, size_bytes: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    return member.tobuf(tarfile.GNU_FORMAT)
