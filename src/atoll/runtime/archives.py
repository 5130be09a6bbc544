"""Files of containers as archives: what `cp` and `export` move.

Programs that change their root do the work (images/pack.py, images/unpack.py), so no link of the container's leads out.
One that runs is seen as it sees itself, mounts included; of one that doesn't, there is its root alone.
"""

import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from atoll.errors import InvalidRequest, NotFound
from atoll.runtime.changes import Change, compare
from atoll.runtime.confined import open_in_root
from atoll.runtime.images.pack import Form
from atoll.runtime.preparing import REMAPPED
from atoll.runtime.programs import ProgramFailed, found, run
from atoll.runtime.registry import Entry
from atoll.runtime.runs import Runs

COPY_TIMEOUT_S = 3600
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class PathStatus:
    """A file in a container: `mode` is st_mode's, `link_target` where a link leads, "" of what is none."""

    name: str
    size_bytes: int
    mode: int
    mtime_ns: int
    link_target: str = ""


class Archives:
    """The files of all containers, for one event loop."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def status(self, reference: str, path: str) -> PathStatus:
        """What there is at a path. Raises NotFound."""
        async with self._root(reference) as root:
            opened = _opened(root, path, reference, os.O_PATH | os.O_NOFOLLOW)
            try:
                status = os.fstat(opened)
                # An empty name means the link that is opened. Source: readlinkat(2).
                target = os.readlink("", dir_fd=opened) if stat.S_ISLNK(status.st_mode) else ""
            finally:
                os.close(opened)
        name = PurePosixPath(path).name or "/"
        return PathStatus(name, status.st_size, status.st_mode, status.st_mtime_ns, target)

    async def read(self, reference: str, path: str) -> AsyncIterator[bytes]:
        """The archive of a path, in pieces; names in it begin with its last part, as in Docker also with a dot.

        Raises NotFound, ProgramFailed.
        """
        async with self._root(reference) as root:
            os.close(_opened(root, path, reference, os.O_PATH | os.O_NOFOLLOW))
            async for chunk in _packed(root, path, Form.CONTENTS if path.endswith("/.") else Form.PATH):
                yield chunk

    async def export(self, reference: str) -> AsyncIterator[bytes]:
        """The archive of a container's own root, without what is mounted in it. Raises NotFound, ProgramFailed."""
        async with self._own_root(reference) as root:
            async for chunk in _packed(root, "/", Form.TREE):
                yield chunk

    async def changes(self, reference: str) -> list[Change]:
        """What a container has changed of its image, by path. Raises NotFound."""
        container = self._runs.registry.find(reference).container
        layers = self._runs.preparer.images.layers
        lowers = [layers.path(layer) for layer in reversed(self._runs.preparer.images.find(container.image_id).layers)]
        return await asyncio.to_thread(compare, self._runs.places.kept(container.id) / "upper", lowers)

    async def write(self, reference: str, path: str, archive: IO[bytes]) -> None:
        """Unpack an archive, plain or compressed, in the directory at a path.

        Raises NotFound, InvalidRequest (no directory, no archive, a read-only place).
        """
        remapped = self._runs.registry.find(reference).container.host.userns == "private"
        shift = str(REMAPPED.first if remapped else 0)
        async with self._root(reference) as root:
            opened = _opened(root, path, reference, os.O_PATH)
            try:
                if not stat.S_ISDIR(os.fstat(opened).st_mode):
                    raise InvalidRequest(f"extraction point {path} of container {reference} is not a directory")
            finally:
                os.close(opened)
            command = (sys.executable, "-I", "-m", "atoll.runtime.images.unpack", str(root), shift, path)
            try:
                await run(*command, stdin=archive.fileno(), timeout_s=COPY_TIMEOUT_S)
            except ProgramFailed as error:
                told = error.output.decode(errors="replace").strip()
                raise InvalidRequest(f"cannot unpack into {path} of container {reference}: {told}") from error

    @contextlib.asynccontextmanager
    async def _root(self, reference: str) -> AsyncIterator[Path]:
        entry: Entry = self._runs.registry.find(reference)
        if entry.container.status.has_process:
            yield Path(f"/proc/{entry.container.pid}/root")
            return
        async with self._mounted(entry, reference) as root:
            yield root

    @contextlib.asynccontextmanager
    async def _own_root(self, reference: str) -> AsyncIterator[Path]:
        """The root as the host has it mounted: what the container mounts isn't in it."""
        entry: Entry = self._runs.registry.find(reference)
        if entry.container.status.has_process:
            yield self._runs.places.root(entry.container.id)
            return
        async with self._mounted(entry, reference) as root:
            yield root

    @contextlib.asynccontextmanager
    async def _mounted(self, entry: Entry, reference: str) -> AsyncIterator[Path]:
        async with entry.lock:
            if entry.removed:
                raise NotFound(f"No such container: {reference}", subject=reference)
            async with self._runs.preparer.mounted(entry.container) as root:
                yield root


async def _packed(root: Path, path: str, form: Form) -> AsyncIterator[bytes]:
    command = (sys.executable, "-I", "-m", "atoll.runtime.images.pack", str(root), path, form)
    process = await asyncio.create_subprocess_exec(
        found(command[0]),
        *command[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        while chunk := await process.stdout.read(CHUNK_BYTES):
            yield chunk
        said = (await process.stderr.read()).decode(errors="replace")
        if await process.wait() != 0:
            raise ProgramFailed("pack", process.returncode or 0, said)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _opened(root: Path, path: str, reference: str, flags: int) -> int:
    try:
        return open_in_root(root, path, flags)
    except OSError:
        raise NotFound(f"Could not find the file {path} in container {reference}", subject=path) from None
