"""What a container has changed of its image: the upper directory of its overlay held against the layers below.

Directories are opened one below the other and no link is followed, so that a container that runs can't lead outside.
Source: Documentation/filesystems/overlayfs.rst, whiteouts and opaque directories.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from atoll.runtime.images.unpack import OPAQUE_XATTR

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COVERED = frozenset(
    {"/.dockerenv", "/dev", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf", "/proc", "/sys"}
)
"""Where every container has something mounted: that such a place is made is no change of the container's."""
_PARENT = "/etc"
"""The directory of some of them, which is made with them."""


class ChangeKind(IntEnum):
    """Docker's numbers, which `docker diff` shows as C, A, D. Source: Docker Engine API, ChangeType."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """`path` is absolute in the container."""

    path: str
    kind: ChangeKind


def compare(upper: Path, lowers: Sequence[Path]) -> list[Change]:
    """All changes by path. `lowers` are roots of layers, the highest first. Raises OSError; `upper` may be missing."""
    with ExitStack() as opened:
        try:
            top = _directory(opened, str(upper), None)
        except FileNotFoundError:
            return []
        below = [_directory(opened, str(lower), None) for lower in lowers]
        return sorted(_below(top, below, ""))


def _below(directory: int, lowers: Sequence[int], prefix: str) -> Iterator[Change]:
    """The changes in a directory, itself not among them."""
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    for name, status in found:
        path = f"{prefix}/{name}"
        before = _highest(lowers, name)
        if path in _COVERED:
            continue
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            if before is not None:
                yield Change(path, ChangeKind.DELETED)
        elif stat.S_ISDIR(status.st_mode):
            yield from _of_directory(directory, lowers, name, path)
        else:
            yield Change(path, ChangeKind.ADDED if before is None else ChangeKind.MODIFIED)


def _of_directory(parent: int, lowers: Sequence[int], name: str, path: str) -> Iterator[Change]:
    with ExitStack() as opened:
        try:
            directory = _directory(opened, name, parent)
        except OSError:
            # It has gone, or become something else, meanwhile.
            return
        before = [_directory(opened, name, lower) for lower in _merged(lowers, name)]
        inside = list(_below(directory, before, path))
        if _is_opaque(directory):
            inside += _hidden(directory, before, path)
        if path != _PARENT or inside:
            existed = path == _PARENT or _highest(lowers, name) is not None
            yield Change(path, ChangeKind.MODIFIED if existed else ChangeKind.ADDED)
        yield from inside


def _hidden(directory: int, lowers: Sequence[int], path: str) -> Iterator[Change]:
    """What was in an opaque directory before."""
    for name in set().union(*map(_names, lowers)) - _names(directory):
        if _highest(lowers, name) is not None:
            yield Change(f"{path}/{name}", ChangeKind.DELETED)


def _names(directory: int) -> set[str]:
    with os.scandir(directory) as entries:
        return {entry.name for entry in entries}


def _highest(lowers: Sequence[int], name: str) -> os.stat_result | None:
    """What the layers have under a name; None for nothing."""
    for lower in lowers:
        try:
            found = os.stat(name, dir_fd=lower, follow_symlinks=False)
        except FileNotFoundError:
            if _is_opaque(lower):
                return None
            continue
        return None if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0 else found
    return None


def _merged(lowers: Sequence[int], name: str) -> Iterator[int]:
    """Those layers whose directory of that name is seen, the highest first."""
    for lower in lowers:
        try:
            found = os.stat(name, dir_fd=lower, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            if not stat.S_ISDIR(found.st_mode):
                return
            yield lower
        if _is_opaque(lower):
            return


def _directory(opened: ExitStack, name: str, parent: int | None) -> int:
    found = os.open(name, _OPEN, dir_fd=parent)
    opened.callback(os.close, found)
    return found


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, OPAQUE_XATTR) == b"y"
    except OSError:
        return False
