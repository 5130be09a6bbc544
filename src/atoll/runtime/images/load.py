"""Images out of archives: those of `docker save`, OCI layouts, and plain trees of files."""

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atoll.errors import InvalidRequest
from atoll.model.image import Image
from atoll.model.names import shown
from atoll.model.reference import Reference, parse_tagged
from atoll.runtime.images.bootstrap import architecture
from atoll.runtime.images.documents import NAMES
from atoll.runtime.images.ingest import Tell, fetch, work_directory
from atoll.runtime.images.store import ImageStore
from atoll.runtime.programs import ProgramFailed, run

IMAGES_MAX = 1000
"""Of one archive."""
READ_TIMEOUT_S = 600.0
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


async def load(images: ImageStore, archive: Path, *, tell: Tell) -> list[Image]:
    """Every image of an archive of `docker save`, or of an OCI layout (a tar or a directory), under its names.

    Raises InvalidRequest, StoreFull.
    """
    with work_directory(images) as work:
        # Under a name without a colon, which would be skopeo's separator.
        (work / "archive").symlink_to(archive.absolute())
        path = work / "archive"
        sources = _sources(path, await _documents(path))
        return [await fetch(images, source, names=names, work=work, tell=tell) for source, names in sources]


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


def _sources(path: Path, documents: dict[str, Any]) -> Iterator[tuple[str, list[Reference]]]:
    """skopeo's names of the images of an archive, each with the names that it is to have."""
    # Those of a newer `docker save` are both; skopeo knows several images of this form only.
    if "manifest.json" in documents:
        for number, entry in enumerate(_list(documents["manifest.json"])):
            tags = entry.get("RepoTags") or []
            if not isinstance(tags, list):
                raise _unreadable()
            yield f"docker-archive:{path}:@{number}", [parse_tagged(str(tag)) for tag in tags]
    elif "index.json" in documents:
        transport = "oci" if path.is_dir() else "oci-archive"
        index = documents["index.json"]
        entries = _list(index.get("manifests") if isinstance(index, dict) else None)
        for entry in entries:
            annotations = entry.get("annotations") or {}
            if not isinstance(annotations, dict):
                raise _unreadable()
            reference = str(annotations.get(_NAME_ANNOTATIONS[1]) or "")
            if not reference.isprintable():
                raise InvalidRequest(f"the archive has an image of the name {shown(reference)}: it can't be printed")
            if len(entries) > 1 and not reference:
                raise InvalidRequest("the archive has several images, and one of them has no name")
            name = str(annotations.get(_NAME_ANNOTATIONS[0]) or reference)
            names = [parse_tagged(name)] if name else []
            yield f"{transport}:{path}" + (f":{reference}" if reference else ""), names
    else:
        raise InvalidRequest("the archive has neither a manifest.json nor an index.json: it holds no image")


def _list(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise _unreadable()
    if len(document) > IMAGES_MAX:
        raise InvalidRequest(f"the archive has {len(document)} images, at most {IMAGES_MAX} are taken")
    return document


def _unreadable() -> InvalidRequest:
    return InvalidRequest("the archive's list of images can't be read")


async def _documents(path: Path) -> dict[str, Any]:
    """manifest.json and index.json, as far as they are there."""
    try:
        if path.is_dir():
            texts = {name: (path / name).read_text() for name in NAMES if (path / name).is_file()}
        else:
            texts = await _told(path)
        return {name: json.loads(text) for name, text in texts.items()}
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"not an archive that can be read: {error}") from None


async def _told(path: Path) -> dict[str, str]:
    with path.open("rb") as archive:
        command = (sys.executable, "-I", "-m", "atoll.runtime.images.documents")
        try:
            done = await run(*command, stdin=archive.fileno(), timeout_s=READ_TIMEOUT_S)
        except ProgramFailed as error:
            told = json.loads(error.output or b"{}").get("error", error.message)
            raise InvalidRequest(f"not an archive that can be read: {told}") from error
    texts: dict[str, str] = json.loads(done.output)
    return texts
