"""One daemon a state directory: a locked file that holds its pid."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from atoll.errors import StoreError, StoreFull, Unavailable


class FileLock:
    """An exclusive lock on `path`, held until `release` or the end of the process. The file stays.

    The kernel drops the lock with the last descriptor of it, so a killed holder leaves none. The
    descriptor is closed on exec; a process that forks without exec must not outlive this one.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock at once. Raises Unavailable naming the holder's pid, StoreFull, StoreError."""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(path, error) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 20, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise _held(path, holder) from error
        # The pid is for people: on a full disk the lock is as good without it.
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the lock. Releasing again is no error."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def unusable(path: Path, error: OSError) -> StoreError:
    """The error for a file that the system does not let us have."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"cannot open {path}: the disk is full", hint=f"df -h {path.parent}", subject=str(path))
    reason = os.strerror(error.errno or 0).lower()
    return StoreError(f"cannot open {path}: {reason}", hint=f"ls -ld {path.parent} {path}", subject=str(path))


def _held(path: Path, holder: str) -> Unavailable:
    who = f"by pid {holder}" if holder.isdecimal() else "by another process"
    return Unavailable(
        f"cannot use {path.parent}: it is held {who}",
        hint=f"ps -p {holder}; then: atoll down" if holder.isdecimal() else f"fuser -v {path}",
        subject=str(path.parent),
    )
