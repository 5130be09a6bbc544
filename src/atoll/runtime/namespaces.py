"""Namespaces that a container's process is in, and who else is in them. Source: namespaces(7)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from atoll.model.container import Container

KINDS = ("ipc", "mnt", "net", "pid", "user", "uts")
"""Their names in /proc/PID/ns."""
HOST = "host"
"""Stands for the daemon's own among those who share one."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A namespace: its inode number, and the names of others in it, in order; `HOST` when it is the daemon's."""

    inode: int
    sharers: tuple[str, ...]


def namespaces_of(container: Container, others: Iterable[Container]) -> dict[str, Shared]:
    """A container's namespaces by kind, those of them that are left; `others` are all that may share them."""
    if not container.status.has_process:
        return {}
    found = _inodes(str(container.pid))
    running = {each.name: _inodes(str(each.pid)) for each in others if each.status.has_process and each != container}
    known = {HOST: _inodes("self"), **dict(sorted(running.items()))}
    return {kind: Shared(inode, _sharers(kind, inode, known)) for kind, inode in found.items()}


def _sharers(kind: str, inode: int, known: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    return tuple(name for name, inodes in known.items() if inodes.get(kind) == inode)


def _inodes(process: str) -> dict[str, int]:
    """By kind, nothing of a process that ends meanwhile."""
    try:
        return {kind: Path(f"/proc/{process}/ns/{kind}").stat().st_ino for kind in KINDS}
    except (FileNotFoundError, ProcessLookupError):
        return {}
