"""Published ports: the mapping that is asked for, the binding that is held.

Law: ranges stay ranges; nothing here expands 50,000 ports into 50,000 values.
"""

from dataclasses import dataclass
from enum import IntEnum

from atoll.model.addresses import IPAddress, family_of

PORT_MAX = 65535


class Protocol(IntEnum):
    """Transport protocols that can be published; the value is IANA's protocol number."""

    TCP = 6
    UDP = 17
    SCTP = 132

    @property
    def word(self) -> str:
        """Lower-case name, as in `80/tcp`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """An inclusive range of ports; a single port has `first == last`."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def overlaps(self, other: "PortRange") -> bool:
        """True when a port is in both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class PortMapping:
    """What `-p` asks for.

    `container` and `host` are equally long, except that a single container port may name a longer
    `host` range to choose one port from. `host` None means an ephemeral port for each.
    `host_address` None means every address, or the network's default.
    """

    protocol: Protocol
    container: PortRange
    host: PortRange | None = None
    host_address: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class PortBinding:
    """What is held: `host` and `container` equally long, ports matched in order.

    `host_address` None means every address of the host, both families.
    """

    protocol: Protocol
    host_address: IPAddress | None
    host: PortRange
    container: PortRange

    def __hash__(self) -> int:
        # Of what tells most bindings apart, and is quick: a request may have thousands.
        return hash((self.host.first, self.container.first))

    def __str__(self) -> str:
        address = "*" if self.host_address is None else str(self.host_address)
        if ":" in address:
            address = f"[{address}]"
        return f"{address}:{self.host}->{self.container}/{self.protocol.word}"


def addresses_meet(one: IPAddress | None, other: IPAddress | None) -> bool:
    """True when a host port can't be held on both addresses at once.

    None meets everything, 0.0.0.0 and :: every address of their family.
    """
    if one is None or other is None or one == other:
        return True
    return family_of(one) is family_of(other) and (one.is_unspecified or other.is_unspecified)
