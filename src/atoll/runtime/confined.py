"""Files of a container opened by the host: no link of the container's leads out of its root.

Source: openat2(2); linux/openat2.h.
"""

import ctypes
import errno
import os
import stat
from pathlib import Path

FILE_MAX_BYTES = 1 << 20
"""More of a container's /etc/passwd is not read."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYS_OPENAT2 = 437
"""The same on every architecture since 5.6."""
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10


class _OpenHow(ctypes.Structure):
    """`struct open_how`, linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root: Path, path: str, flags: int) -> int:
    """A descriptor of `path`, with `root` taken for `/` whatever links there are. Raises OSError."""
    if "\0" in path:
        # The kernel would see what is before it.
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        name = os.fsencode(path.lstrip("/") or ".")
        opened: int = _LIBC.syscall(_SYS_OPENAT2, directory, name, ctypes.byref(how), ctypes.sizeof(how))
        if opened < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return opened
    finally:
        os.close(directory)


def read_in_root(root: Path, path: str) -> str:
    """Text of a file in a container's root; "" when it is missing, or no plain file."""
    try:
        # O_NONBLOCK: a FIFO would be waited at.
        opened = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return ""
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            return ""
        return file.read(FILE_MAX_BYTES).decode(errors="replace")
