"""What a contestant does, whoever it is."""

from collections.abc import Sequence
from typing import Protocol

from bench.samples import settle

Ports = Sequence[tuple[int, int]]
"""Host port, container port; TCP, on every address of both families."""


class Peer(Protocol):
    """Somebody's engine on a host of its own, with at most one sandbox at a time."""

    def attach(self, ports: Ports) -> float:
        """Seconds until a sandbox with these ports published is there."""
        ...

    def detach(self) -> float:
        """Seconds that taking it away takes."""
        ...


def once(peer: Peer, ports: Ports) -> float:
    """Seconds of an attach; it is gone again afterwards."""
    taken = peer.attach(ports)
    peer.detach()
    settle()
    return taken


def shifted(first: int, count: int) -> list[tuple[int, int]]:
    """Host ports in a row, each led to the next higher number, so that no engine can make a range of them."""
    return [(port, port + 1) for port in range(first, first + count)]
