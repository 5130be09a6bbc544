"""Unpacked layers by content.

layers/DIGITS/d         a layer as overlayfs takes it, by the first digits of its diff id
layers/DIGITS/bytes     the size of its files
layers/DIGITS+SHIFT/d   the same with owners shifted, for containers in a user namespace of their own
layers/tmp-*            being unpacked: removed at the start
"""

import asyncio
import contextlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from atoll.errors import AtollError, InvalidRequest, StoreFull
from atoll.runtime.programs import ProgramFailed, run
from atoll.runtime.trees import discard_tree, remove_tree, walk_tree

NAME_LENGTH = 32
"""128 bits: short enough for more than a hundred layers in one call of mount(2), which takes a page of options."""

UNPACK_TIMEOUT_S = 1800.0
_ENOSPC = 28


class Layers:
    """The layers below one directory."""

    def __init__(self, directory: Path, *, new_name: Callable[[], str]) -> None:
        self.directory = directory
        self._new_name = new_name

    def name(self, diff_id: str, shift: int = 0) -> str:
        """Where a layer is, or would be, below `directory`."""
        return diff_id[:NAME_LENGTH] + (f"+{shift}" if shift else "") + "/d"

    def path(self, diff_id: str) -> Path:
        """The root of a layer."""
        return self.directory / self.name(diff_id)

    def has(self, diff_id: str) -> bool:
        """Whether the layer is there."""
        return self.path(diff_id).is_dir()

    def size_bytes(self, diff_id: str) -> int:
        """What the files of a layer take, once: hard links count nothing."""
        return int((self.path(diff_id).parent / "bytes").read_text())

    def prepare(self) -> None:
        """Make the directory; remove what was being unpacked when the daemon died."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self.directory.glob("tmp-*"):
            remove_tree(left)

    async def add(self, archive: IO[bytes], diff_id: str = "") -> str:
        """Unpack an archive, unless that layer is there; its diff id. With `diff_id` it has to be of that content.

        Raises InvalidRequest for an archive that can't be unpacked, StoreFull.
        """
        if diff_id and self.has(diff_id):
            return diff_id
        with self._fresh() as fresh:
            (fresh / "d").mkdir(mode=0o755)
            told = await _unpack(archive, fresh / "d")
            digest: str = told["digest"]
            if diff_id and digest != diff_id:
                raise InvalidRequest(f"layer {diff_id[:12]} has other content than it should: {digest[:12]}")
            (fresh / "bytes").write_text(str(told["size_bytes"]))
            if not self.has(digest):
                fresh.rename(self.path(digest).parent)
            return digest

    async def shifted(self, diff_id: str, shift: int) -> str:
        """The name of the layer with owners shifted, which is made when it is not there.

        `shift` is the host's id of a container's id 0.
        """
        name = self.name(diff_id, shift)
        if shift and not (self.directory / name).is_dir():
            with self._fresh() as fresh:
                copy = ("cp", "--archive", "--", str(self.path(diff_id).parent), str(fresh / "copy"))
                await run(*copy, timeout_s=UNPACK_TIMEOUT_S)
                await asyncio.to_thread(_shift, fresh / "copy" / "d", shift)
                (fresh / "copy").rename((self.directory / name).parent)
        return name

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[Path]:
        """A directory to make something in; what is left of it goes."""
        fresh = self.directory / f"tmp-{self._new_name()}"
        fresh.mkdir(mode=0o755)
        try:
            yield fresh
        finally:
            discard_tree(fresh)

    async def keep(self, diff_ids: frozenset[str]) -> None:
        """Remove every layer that is not one of these."""
        names = {diff_id[:NAME_LENGTH] for diff_id in diff_ids}
        for entry in self.directory.iterdir():
            if not entry.name.startswith("tmp-") and entry.name.partition("+")[0] not in names:
                # Out of sight first, so that a half-removed layer is never taken for one.
                gone = self.directory / f"tmp-{self._new_name()}"
                entry.rename(gone)
                await asyncio.to_thread(remove_tree, gone)


async def _unpack(archive: IO[bytes], directory: Path) -> dict[str, Any]:
    command = (sys.executable, "-I", "-m", "atoll.runtime.images.unpack", str(directory))
    try:
        done = await run(*command, stdin=archive.fileno(), timeout_s=UNPACK_TIMEOUT_S)
    except ProgramFailed as error:
        raise _refusal(error) from error
    told: dict[str, Any] = json.loads(done.output)
    return told


def _refusal(error: ProgramFailed) -> AtollError:
    try:
        told = json.loads(error.output)
    except ValueError:
        return InvalidRequest("cannot unpack the archive", detail=error.detail)
    if told.get("errno") == _ENOSPC:
        return StoreFull("cannot unpack the archive: the disk is full", hint="df -h", detail=told["error"])
    return InvalidRequest(f"cannot unpack the archive: {told['error']}")


def _shift(directory: Path, shift: int) -> None:
    for path in walk_tree(directory):
        found = path.lstat()
        # A hard link is met more than once.
        if found.st_uid < shift:
            os.chown(path, found.st_uid + shift, found.st_gid + shift, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                # Changing the owner takes set-id bits away.
                path.chmod(found.st_mode & 0o7777)
