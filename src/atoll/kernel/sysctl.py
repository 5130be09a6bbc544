"""Values below /proc/sys, of the calling thread's network namespace.

Law: paths are relative to /proc/sys and stay below `net/`; nothing here chooses a value.
"""

import os

ROOT = "/proc/sys/"


def read(path: str) -> str | None:
    """The value, its words parted by single spaces; None where this kernel has no such name."""
    try:
        descriptor = os.open(_full(path), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return " ".join(os.read(descriptor, 4096).decode().split())
    finally:
        os.close(descriptor)


def write(path: str, value: str) -> None:
    """Set the value. Raises FileNotFoundError where this kernel has no such name, OSError when it is refused."""
    descriptor = os.open(_full(path), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _full(path: str) -> str:
    assert path.startswith("net/") and ".." not in path.split("/"), path
    return ROOT + path
