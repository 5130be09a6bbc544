"""Which host ports are held, as bits: what is free is found by arithmetic, whatever the number of bindings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from atoll.model.addresses import IPAddress
from atoll.model.ports import PORT_MAX, PortBinding, PortRange, Protocol, addresses_meet

Place = tuple[Protocol, IPAddress | None]
"""Where a port is held: a protocol at a host address, None being all of them."""


@dataclass(frozen=True, slots=True)
class HeldPorts:
    """The ports that bindings hold; bit N of a place's number stands for port N.

    A place takes 8 KiB, and hosts have few addresses. Who holds a port is not told: two bindings that hold the
    same port of the same place are one here, and gone together.
    """

    _bits: Mapping[Place, int] = field(default_factory=dict)

    def after(self, gone: Iterable[PortBinding] = (), come: Iterable[PortBinding] = ()) -> "HeldPorts":
        """Without the ports of `gone`, and with those of `come`; this one stays as it is."""
        less, more = _bits_of(gone), _bits_of(come)
        bits = dict(self._bits)
        for place in less.keys() | more.keys():
            bits[place] = bits.get(place, 0) & ~less.get(place, 0) | more.get(place, 0)
            if not bits[place]:
                del bits[place]
        return HeldPorts(bits)

    def taking(self, bindings: Sequence[PortBinding]) -> "HeldPorts | None":
        """With the ports of `bindings`; None when they can't all be had at once."""
        wanted = _bits_of(bindings)
        if sum(bits.bit_count() for bits in wanted.values()) < sum(len(binding.host) for binding in bindings):
            return None
        held = self
        for place, bits in wanted.items():
            if bits & held.meeting(*place):
                return None
            held = HeldPorts({**held._bits, place: held._bits.get(place, 0) | bits})
        return held

    def meeting(self, protocol: Protocol, address: IPAddress | None) -> int:
        """The ports that can't be had at this place, as bits."""
        found = 0
        for (held_protocol, held_address), bits in self._bits.items():
            if held_protocol is protocol and addresses_meet(held_address, address):
                found |= bits
        return found


def range_bits(ports: PortRange) -> int:
    """The ports of a range, as bits."""
    return ((1 << len(ports)) - 1) << ports.first


def highest_in(bits: int, ports: PortRange) -> int | None:
    """The highest port of the range whose bit is set."""
    found = bits & range_bits(ports)
    return found.bit_length() - 1 if found else None


def lowest_row(bits: int, length: int) -> int | None:
    """The first of the lowest `length` ports in a row whose bits are set."""
    # A bit stays set where it begins a row of `reach` ones; rows of twice the reach are two that touch.
    reach = 1
    while bits and reach < length:
        step = min(reach, length - reach)
        bits &= bits >> step
        reach += step
    return (bits & -bits).bit_length() - 1 if bits else None


def _bits_of(bindings: Iterable[PortBinding]) -> dict[Place, int]:
    # Singles are set in bytes and ranges in numbers: a number is copied whole for each bit that it gets.
    singles: dict[Place, bytearray] = {}
    bits: dict[Place, int] = {}
    for binding in bindings:
        place, first = (binding.protocol, binding.host_address), binding.host.first
        if first == binding.host.last:
            octets = singles.get(place)
            if octets is None:
                octets = singles[place] = bytearray((PORT_MAX + 8) // 8)
            octets[first >> 3] |= 1 << (first & 7)
        else:
            bits[place] = bits.get(place, 0) | range_bits(binding.host)
    for place, octets in singles.items():
        bits[place] = bits.get(place, 0) | int.from_bytes(octets, "little")
    return bits
