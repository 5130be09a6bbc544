"""The questions: who asks what, of which network, over what."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.e2e.security.nets import NETS, Net

WEB, PEER = 2, 3
"""Last numbers of the two sandboxes' addresses on each network."""

ANY, ONE, LOOPBACK, UNPUBLISHED = 80, 81, 82, 7777
"""Container ports of `web`: published on any host address, on the LAN's, on the loopback address, and not at all."""
HOST_SERVICE = 9999
"""A service of the host's own, on every address that it has, one by one."""
LINK_LOCAL_SERVICE = 9998
"""Another, on whatever address is asked."""
OUTSIDE_SERVICE = 7000
"""A service of the neighbour's."""


class Origin(StrEnum):
    """Who asks. NEIGHBOUR and FAR route to every subnet, through the host, each from a LAN of its own."""

    NEIGHBOUR = "LAN"
    FAR = "trusted LAN"
    HOST = "host"
    OWN = "own network"
    OTHER = "other network"
    INTERNAL = "internal network"


class Target(StrEnum):
    """What is asked."""

    HOST_ANY = "published on any address"
    HOST_ONE = "published on one address"
    HOST_LOOPBACK = "published on loopback"
    OWN_ANY = "at the container: published"
    OWN_ONE = "at the container: on one address"
    OWN_LOOPBACK = "at the container: on loopback"
    OWN_UNPUBLISHED = "at the container: unpublished"
    PING = "ping the container"
    GATEWAY = "host's service at the gateway"
    PING_GATEWAY = "ping the gateway"
    LINK_LOCAL = "host's service, link-local"
    HOST_SERVICE = "host's service, LAN address"
    OUTSIDE = "from the container to the LAN"


PORTS = {
    Target.OWN_ANY: ANY,
    Target.OWN_ONE: ONE,
    Target.OWN_LOOPBACK: LOOPBACK,
    Target.OWN_UNPUBLISHED: UNPUBLISHED,
    Target.GATEWAY: HOST_SERVICE,
    Target.LINK_LOCAL: LINK_LOCAL_SERVICE,
    Target.HOST_SERVICE: HOST_SERVICE,
    Target.OUTSIDE: OUTSIDE_SERVICE,
}
"""Ports that are asked as they are; for the host's see `host_port`."""

AT_HOST = {Target.HOST_ANY: 8000, Target.HOST_ONE: 8100, Target.HOST_LOOPBACK: 8200}
AT_CONTAINER = (Target.OWN_ANY, Target.OWN_ONE, Target.OWN_LOOPBACK, Target.OWN_UNPUBLISHED)


def host_port(target: Target, net: Net) -> int:
    """The host port of a published form."""
    return AT_HOST[target] + net.number


@dataclass(frozen=True, slots=True)
class Cell:
    """One question to the network called `net`; `asker` is the network of a container that is on another."""

    net: str
    target: Target
    origin: Origin
    version: int
    protocol: str
    hostile: bool
    asker: str = ""

    @property
    def id(self) -> str:
        """Name of the cell, unique on a stage."""
        return f"{self.net}: {self.target}, {self.protocol}, IPv{self.version}, from {self.asker or self.origin}"


def every_cell(*, hostile: bool) -> Iterator[Cell]:
    """All cells of a stage, in the table's order."""
    for net in NETS.values():
        for target in Target:
            for origin in Origin:
                for version in net.versions:
                    for protocol in _protocols(target):
                        cell = Cell(net.name, target, origin, version, protocol, hostile)
                        if _makes_sense(cell):
                            yield cell


def every_pair(*, hostile: bool) -> Iterator[Cell]:
    """What a container of each network asks of each other network."""
    targets = (Target.HOST_ANY, Target.OWN_ANY, Target.OWN_UNPUBLISHED, Target.PING)
    for asker in NETS.values():
        for net in NETS.values():
            origin = Origin.INTERNAL if asker.internal else Origin.OTHER
            for target in targets if asker is not net else ():
                for version in net.versions if asker.versions >= net.versions else asker.versions:
                    for protocol in ("icmp",) if target is Target.PING else ("tcp", "udp"):
                        yield Cell(net.name, target, origin, version, protocol, hostile, asker.name)


def _protocols(target: Target) -> tuple[str, ...]:
    if target in (Target.PING, Target.PING_GATEWAY):
        return ("icmp",)
    return ("tcp", "udp", "sctp", "icmp") if target is Target.OUTSIDE else ("tcp", "udp", "sctp")


def _makes_sense(cell: Cell) -> bool:
    match cell.target:
        case Target.OUTSIDE:
            return cell.origin is Origin.OWN
        case Target.LINK_LOCAL:
            return cell.version == 6 and cell.origin is Origin.OWN
        case Target.HOST_SERVICE:
            return cell.origin is not Origin.HOST
    return cell.origin is not Origin.INTERNAL or cell.net != "internal"
