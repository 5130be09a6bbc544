"""From skopeo's plain directory to the image store.

manifest.json   names the config and the layers by digest
DIGITS          each of them; layers plain, so that their digests are the diff ids
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from atoll.errors import AtollError, InvalidRequest, NotFound, StoreFull, Unavailable
from atoll.model.image import Image
from atoll.model.reference import Reference
from atoll.runtime.images.store import CONFIG_MAX_BYTES, ImageStore, parse_image
from atoll.runtime.programs import ProgramFailed, follow
from atoll.runtime.trees import discard_tree

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")
_BLOB = re.compile(r"Copying blob (?:sha256:)?([0-9a-f]{12})")
COPY_TIMEOUT_S = 3600.0

Tell = Callable[[str, str], None]
"""Progress: the short digest of a layer ("" of none) and what is done with it."""


@contextlib.contextmanager
def work_directory(images: ImageStore) -> Iterator[Path]:
    """A directory beside the layers, gone at the end."""
    made = images.layers.directory / f"tmp-{images.new_name()}"
    made.mkdir(mode=0o700)
    try:
        yield made
    finally:
        discard_tree(made)


async def fetch(
    images: ImageStore,
    source: str,
    *,
    names: Iterable[Reference],
    work: Path,
    tell: Tell,
    options: Iterable[str] = (),
    platform: str = "",
) -> Image:
    """Copy an image by skopeo's name for it, and keep it under `names`. `platform` is OS/ARCHITECTURE[/VARIANT].

    Raises NotFound, Unavailable, InvalidRequest, StoreFull.
    """
    target = work / "image"

    def told(line: str) -> None:
        blob = _BLOB.search(line)
        if blob is not None:
            tell(blob.group(1), "Pulling fs layer")

    # No policy: what may be pulled is decided by who may ask this daemon.
    copy = (
        "skopeo",
        "--insecure-policy",
        *_platform(platform),
        "copy",
        "--dest-decompress",
        *options,
        source,
        f"dir:{target}",
    )
    try:
        await follow(*copy, tell=told, timeout_s=COPY_TIMEOUT_S)
        return await ingest(images, target, names=names, tell=tell)
    except ProgramFailed as error:
        raise refusal(error, source) from error
    finally:
        discard_tree(target)


async def ingest(images: ImageStore, directory: Path, *, names: Iterable[Reference], tell: Tell) -> Image:
    """Keep the image in a directory of skopeo's. Raises InvalidRequest, StoreFull."""
    try:
        manifest = json.loads(_read(directory / "manifest.json"))
        raw = _read(directory / _digits(manifest["config"]["digest"]))
        layers = [directory / _digits(layer["digest"]) for layer in manifest.get("layers") or []]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise InvalidRequest(f"the manifest of the image can't be read: {error!r}") from None
    for layer in layers:
        tell(layer.name[:12], "Extracting")
    image = await images.add(layers, lambda _: raw, diff_ids=parse_image(raw).layers, names=names)
    for layer in layers:
        tell(layer.name[:12], "Pull complete")
    return image


def refusal(error: ProgramFailed, source: str) -> AtollError:
    """skopeo's complaint as one of our errors."""
    said = error.said.lower()
    shown = source.removeprefix("docker://")
    if "no space left" in said:
        return StoreFull(f"cannot copy {shown}: the disk is full", hint="df -h", detail=error.detail)
    if "manifest unknown" in said or "name unknown" in said or "not found" in said:
        return NotFound(f"manifest for {shown} not found: manifest unknown", subject=shown, detail=error.detail)
    if "unauthorized" in said or "access to the resource is denied" in said:
        return NotFound(
            f"pull access denied for {shown}, repository does not exist or may require 'docker login'",
            subject=shown,
            detail=error.detail,
        )
    if "pinging container registry" in said or "dial tcp" in said or "timeout" in said:
        return Unavailable(f"cannot reach the registry of {shown}: {error.message}", detail=error.detail)
    return InvalidRequest(f"cannot copy {shown}: {error.message}", detail=error.detail)


def _platform(text: str) -> list[str]:
    names = ("--override-os", "--override-arch", "--override-variant")
    parts = text.split("/") if text else []
    if len(parts) > len(names) or not all(part.isalnum() and part.isascii() for part in parts):
        raise InvalidRequest(f"invalid platform {text!r}: write it as linux/amd64")
    return [word for pair in zip(names, parts, strict=False) for word in pair]


def _digits(digest: object) -> str:
    found = _DIGEST.match(digest) if isinstance(digest, str) else None
    if found is None:
        raise ValueError(f"{digest!r} is not a digest")
    return found.group(1)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(CONFIG_MAX_BYTES + 1)
    if len(content) > CONFIG_MAX_BYTES:
        raise ValueError(f"{path.name} has more than {CONFIG_MAX_BYTES} bytes")
    return content
