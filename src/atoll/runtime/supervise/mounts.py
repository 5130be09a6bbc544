"""Roots of containers, mounted on the host while they run.

Source: mount(2), umount(2), sys/mount.h; Documentation/filesystems/overlayfs.rst. By system calls, as a program for
each would take as long as all the rest of what is ours in a start.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from atoll.errors import InvalidRequest, KernelError

OPTIONS_MAX_BYTES = 4095
"""A page and its closing zero: mount(2)."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8


async def mount_root(layers: Path, names: Sequence[str], kept: Path, target: Path) -> None:
    """Mount an overlay of the layers of these names, lowest first, and of what the container has written in `kept`.

    Raises KernelError, InvalidRequest.
    """
    await asyncio.to_thread(_mount_root, [layers / name for name in names], kept, target)


def _mount_root(layers: Sequence[Path], kept: Path, target: Path) -> None:
    own = [kept / "upper", kept / "work"]
    for made in (*own, target):
        made.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not layers:
        # A lower directory is wanted, also of an image without layers.
        layers = [kept / "empty"]
        layers[0].mkdir(mode=0o755, exist_ok=True)
    with contextlib.ExitStack() as stack:
        # By descriptors: more than a hundred fit into the page that the options may take, and no character of a path
        # can be taken for syntax.
        upper, work, *lower = (_named(path, stack) for path in (*own, *reversed(layers)))
        options = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work}"
        if len(options) > OPTIONS_MAX_BYTES:
            raise InvalidRequest(f"the image has {len(layers)} layers, more than can be mounted")
        _mount("overlay", target, options)


async def mount_tmpfs(target: Path, *, size_bytes: int) -> None:
    """Mount an empty filesystem in memory that everybody may write to. Raises KernelError."""
    target.mkdir(mode=0o755, parents=True, exist_ok=True)
    _mount("tmpfs", target, f"mode=1777,size={size_bytes}", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


async def unmount_below(directory: Path) -> None:
    """Take away every mount at or below a directory, whether in use or not. Raises KernelError."""
    await asyncio.to_thread(_unmount_below, directory)


def _unmount_below(directory: Path) -> None:
    for path in reversed(mounted_below(directory)):
        # One below another goes with it.
        if _LIBC.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW) < 0:
            number = ctypes.get_errno()
            if number not in (errno.EINVAL, errno.ENOENT):
                raise KernelError(f"cannot unmount {path}: {os.strerror(number).lower()}", errno=number)


def _named(path: Path, stack: contextlib.ExitStack) -> str:
    """A short name of a directory, for as long as the block lasts."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return f"/proc/self/fd/{descriptor}"


def _mount(kind: str, target: Path, options: str, flags: int = 0) -> None:
    words = (kind.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())
    if _LIBC.mount(*words) < 0:
        number = ctypes.get_errno()
        raise KernelError(f"cannot mount {kind} at {target}: {os.strerror(number).lower()}", errno=number)


def mounted_below(directory: Path) -> list[Path]:
    """Mount points at or below a directory, in the order in which they were made; one that is hidden comes twice."""
    found = []
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            # Blanks in it are written in octal. Source: proc(5).
            path = Path(line.split()[4].decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape"))
            if path.is_relative_to(directory):
                found.append(path)
    return found
