"""Network managers that run on this host, and which interfaces they configure.

Source: the state that both write for others: man 5 NetworkManager.conf (device state files below
/run/NetworkManager/devices), sd-network (/run/systemd/netif/links). Files are named by interface index.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atoll.model.hostview import Manager


@dataclass(frozen=True, slots=True)
class _Kind:
    """`process` is its name in /proc, `keeps` where its state is below /run, `grabbed` a line of the files there."""

    name: str
    process: str
    keeps: str
    grabbed: str


_KINDS = (
    _Kind("NetworkManager", "NetworkManager", "NetworkManager/devices", "managed=true"),
    _Kind("systemd-networkd", "systemd-network", "systemd/netif/links", "ADMIN_STATE=configured"),
)


def read_managers(
    ifnames: Mapping[int, str], *, run: Path = Path("/run"), proc: Path = Path("/proc")
) -> tuple[Manager, ...]:
    """Managers that run in this network namespace; `ifnames` gives the names of interfaces by index. Effects: none."""
    running = _names_here(proc)
    return tuple(
        Manager(kind.name, tuple(sorted(_grabbed(run / kind.keeps, kind.grabbed, ifnames))))
        for kind in _KINDS
        if kind.process in running
    )


def _grabbed(directory: Path, line: str, ifnames: Mapping[int, str]) -> set[str]:
    found = set()
    for index, ifname in ifnames.items():
        try:
            lines = (directory / str(index)).read_text(errors="replace").splitlines()
        except OSError:
            continue
        if line in lines:
            found.add(ifname)
    return found


def _names_here(proc: Path) -> set[str]:
    """Names of the processes in the network namespace of the caller: another one's manager is no business of ours."""
    here = (proc / "self/ns/net").stat()
    found = set()
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text().strip()
                if name in {kind.process for kind in _KINDS}:
                    there = (entry / "ns/net").stat()
                    if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                        found.add(name)
            except OSError:
                continue
    return found
