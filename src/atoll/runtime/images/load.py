"""Images out of archives: those of `docker save`, OCI layouts, and plain trees of files."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atoll.errors import InvalidRequest
from atoll.model.image import Image
from atoll.model.reference import Reference, parse_reference
from atoll.runtime.images.bootstrap import architecture
from atoll.runtime.images.ingest import Tell, fetch, work_directory
from atoll.runtime.images.store import CONFIG_MAX_BYTES, ImageStore

IMAGES_MAX = 1000
"""Of one archive."""
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


async def load(images: ImageStore, archive: Path, *, tell: Tell) -> list[Image]:
    """Every image of an archive of `docker save`, or of an OCI layout (a tar or a directory), under its names.

    Raises InvalidRequest, StoreFull.
    """
    with work_directory(images) as work:
        # Under a name without a colon, which would be skopeo's separator.
        (work / "archive").symlink_to(archive.absolute())
        path = work / "archive"
        return [await fetch(images, source, names=names, work=work, tell=tell) for source, names in _sources(path)]


async def import_root(
    images: ImageStore,
    archive: Path,
    *,
    name: Reference | None,
    now_ns: int,
    message: str = "",
    config: dict[str, Any] | None = None,
) -> Image:
    """An image of one layer out of a tar of a root. `config` is as Docker's API writes it. Raises InvalidRequest."""
    created = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def made(diff_ids: Sequence[str]) -> bytes:
        document = {
            "architecture": architecture(),
            "config": config or {},
            "created": created,
            "history": [{"created": created, "comment": message or "Imported from -"}],
            "os": "linux",
            "rootfs": {"diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids], "type": "layers"},
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    return await images.add([archive], made, names=[name] if name is not None else [])


def _sources(path: Path) -> Iterator[tuple[str, list[Reference]]]:
    """skopeo's names of the images of an archive, each with the names that it is to have."""
    documents = _documents(path)
    # Those of a newer `docker save` are both; skopeo knows several images of this form only.
    if "manifest.json" in documents:
        for index, entry in enumerate(_list(documents["manifest.json"])):
            tags = entry.get("RepoTags") or []
            yield f"docker-archive:{path}:@{index}", [parse_reference(str(tag)) for tag in tags]
    elif "index.json" in documents:
        transport = "oci" if path.is_dir() else "oci-archive"
        entries = _list((documents["index.json"] or {}).get("manifests"))
        for entry in entries:
            annotations = entry.get("annotations") or {}
            reference = str(annotations.get(_NAME_ANNOTATIONS[1]) or "")
            if len(entries) > 1 and not reference:
                raise InvalidRequest("the archive has several images, and one of them has no name")
            name = str(annotations.get(_NAME_ANNOTATIONS[0]) or reference)
            names = [parse_reference(name)] if name else []
            yield f"{transport}:{path}" + (f":{reference}" if reference else ""), names
    else:
        raise InvalidRequest("the archive has neither a manifest.json nor an index.json: it holds no image")


def _list(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise InvalidRequest("the archive's list of images can't be read")
    if len(document) > IMAGES_MAX:
        raise InvalidRequest(f"the archive has {len(document)} images, at most {IMAGES_MAX} are taken")
    return document


def _documents(path: Path) -> dict[str, Any]:
    """manifest.json and index.json, as far as they are there."""
    wanted = ("manifest.json", "index.json")
    try:
        if path.is_dir():
            texts = {name: (path / name).read_bytes() for name in wanted if (path / name).is_file()}
        else:
            texts = _members(path, wanted)
        return {name: json.loads(text) for name, text in texts.items()}
    except (OSError, ValueError, RecursionError, tarfile.TarError, EOFError) as error:
        raise InvalidRequest(f"not an archive that can be read: {error}") from None


def _members(path: Path, wanted: Sequence[str]) -> dict[str, bytes]:
    found = {}
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name in wanted and member.isreg():
                if member.size > CONFIG_MAX_BYTES:
                    raise ValueError(f"{name} has {member.size} bytes")
                file = archive.extractfile(member)
                assert file is not None
                found[name] = file.read()
            archive.members.clear()  # type: ignore[attr-defined]
    return found
