"""Values below /proc/sys, of the calling thread's network namespace.

Law: paths are relative to /proc/sys and stay below `net/`; nothing here chooses a value.
"""

import os
from contextlib import suppress
from ctypes import CDLL

ROOT = "/proc/sys/"

_LIBC = CDLL(None, use_errno=True)
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
"""System calls' numbers, the same on every architecture but alpha; asm-generic/unistd.h."""
_CLOEXEC, _CREATE = 1, 6
"""FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC, FSCONFIG_CMD_CREATE; linux/mount.h."""

USES_MAX = 256
"""Values read and written through one proc filesystem, some 60 namespaces' worth."""


class View:
    """/proc/sys of a proc filesystem that is ours alone and mounted nowhere. Used by one thread at a time.

    The kernel keeps the names that were looked up in one list for all namespaces, and walks it for each name that a
    namespace is asked for first (proc_sys_compare, fs/proc/proc_sysctl.c): with 1,000 namespaces that takes 0.5 ms, and
    making one asks for three. A filesystem of our own has a list of its own, and is made anew, in 0.15 ms, when that
    gets long. Where the kernel can't do that (before Linux 5.8, or without the privilege), it is /proc itself.
    """

    def __init__(self) -> None:
        self._proc = -1
        self._left = 0

    def close(self) -> None:
        """Let go of it. It may be used again."""
        if self._proc >= 0:
            os.close(self._proc)
        self._proc, self._left = -1, 0

    def descriptor(self) -> int:
        """The directory that stands for /proc, to be used once."""
        if not self._left:
            self.close()
            self._proc, self._left = _mount_proc(), USES_MAX
        self._left -= 1
        return self._proc


def read(path: str, view: View | None = None) -> str | None:
    """The value, its words parted by single spaces; None where this kernel has no such name."""
    try:
        descriptor = _open(path, os.O_RDONLY, view)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return " ".join(os.read(descriptor, 4096).decode().split())
    finally:
        os.close(descriptor)


def write(path: str, value: str, view: View | None = None) -> None:
    """Set the value. Raises FileNotFoundError where this kernel has no such name, OSError when it is refused."""
    descriptor = _open(path, os.O_WRONLY, view)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _open(path: str, flags: int, view: View | None) -> int:
    assert path.startswith("net/") and ".." not in path.split("/"), path
    if view is None:
        return os.open(ROOT + path, flags | os.O_CLOEXEC)
    return os.open(f"sys/{path}", flags | os.O_CLOEXEC, dir_fd=view.descriptor())


def _mount_proc() -> int:
    """A descriptor of the root of a new proc filesystem, or of /proc."""
    context = _LIBC.syscall(_FSOPEN, b"proc", _CLOEXEC)
    if context >= 0:
        try:
            if _LIBC.syscall(_FSCONFIG, context, _CREATE, None, None, 0) == 0:
                mounted = int(_LIBC.syscall(_FSMOUNT, context, _CLOEXEC, 0))
                if mounted >= 0:
                    return mounted
        finally:
            with suppress(OSError):
                os.close(context)
    return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
