"""Host ports for published ports: exact ones are checked, the others chosen."""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address

from atoll.errors import Exhausted, PortTaken
from atoll.model.addresses import Family, IPAddress, family_of
from atoll.model.heldports import HeldPorts, highest_in, lowest_row, range_bits
from atoll.model.ports import PortBinding, PortMapping, PortRange, Protocol, addresses_meet

Busy = frozenset[tuple[Protocol, PortRange]]
"""Ports that turned out to be somebody else's on this host; avoided where there is a choice."""

Holders = Callable[[], Iterable[tuple[str, PortBinding]]]
"""All bindings that are held, with the name of the sandbox that holds each: asked when a holder is to be named."""


def bind(
    mappings: Sequence[PortMapping],
    *,
    held: HeldPorts,
    holders: Holders,
    ephemeral: PortRange,
    default_address: IPAddress | None,
    start: int,
    busy: Busy = frozenset(),
) -> tuple[PortBinding, ...]:
    """Concrete bindings for `mappings`, in their order.

    `held` are the ports of all bindings that `holders` would tell. A mapping that names no address gets
    `default_address`. Automatic ports come from `ephemeral`, the search beginning at
    its `start`-th port (modulo its length); those of a range follow each other as far as there is room, and
    only then a mapping becomes several bindings. A choice out of a range is the lowest that is free.

    Raises PortTaken naming the port and its holder, Exhausted.
    """
    claims = _Claims(held, holders, busy)
    places = [mapping.host_address if mapping.host_address is not None else default_address for mapping in mappings]
    exact = {
        index: PortBinding(mapping.protocol, address, mapping.host, mapping.container)
        for index, (mapping, address) in enumerate(zip(mappings, places, strict=True))
        if mapping.host is not None and len(mapping.host) == len(mapping.container)
    }
    claims.claim_all(tuple(exact.values()))
    bound: dict[int, tuple[PortBinding, ...]] = {index: (binding,) for index, binding in exact.items()}
    # What leaves least choice goes first: `-p 8000-8001:80 -p 8000:81` can be had.
    inexact = (index for index in range(len(mappings)) if index not in exact)
    for index in sorted(inexact, key=lambda index: _freedom(mappings[index])):
        mapping, address = mappings[index], places[index]
        if mapping.host is None:
            bound[index] = tuple(_automatic(claims, mapping, address, ephemeral, start))
        else:
            bound[index] = (_one_of(claims, mapping, address, mapping.host),)
    return tuple(binding for index in sorted(bound) for binding in bound[index])


class _Claims:
    """Host ports that can't be had any more: those held, and those that mappings of this request got."""

    def __init__(self, held: HeldPorts, holders: Holders, busy: Busy) -> None:
        self._held = held
        self._holders = holders
        self._busy = busy
        self._mine: list[PortBinding] = []

    def claim_all(self, bindings: Sequence[PortBinding]) -> None:
        """Note bindings that are asked for exactly. Raises PortTaken for the first that can't be had."""
        # All at once: a thousand one by one take ten times as long, and are only needed to say which it is.
        held_with_them = self._held.taking(bindings)
        if held_with_them is not None:
            self._held = held_with_them
            self._mine.extend(bindings)
            return
        for binding in bindings:
            held = self.holder(binding.protocol, binding.host_address, binding.host)
            if held is not None:
                raise _taken(binding, *held)
            self.claim(binding)

    def claim(self, binding: PortBinding) -> PortBinding:
        """Note a binding of this request, which is free."""
        self._held = self._held.after(come=(binding,))
        self._mine.append(binding)
        return binding

    def holder(self, protocol: Protocol, address: IPAddress | None, ports: PortRange) -> tuple[str, PortBinding] | None:
        """Who has the highest of `ports` that is held, and as which binding; owner "" is this request."""
        highest = highest_in(self._held.meeting(protocol, address), ports)
        if highest is None:
            return None
        port = PortRange(highest, highest)
        everybody = (*(("", binding) for binding in self._mine), *self._holders())
        return next(
            held
            for held in everybody
            if held[1].protocol is protocol
            and held[1].host.overlaps(port)
            and addresses_meet(held[1].host_address, address)
        )

    def first_free(
        self, protocol: Protocol, address: IPAddress | None, within: PortRange, length: int
    ) -> PortRange | None:
        """The lowest `length` free ports in a row."""
        taken = self._held.meeting(protocol, address)
        for other, ports in self._busy:
            if other is protocol:
                taken |= range_bits(ports)
        first = lowest_row(range_bits(within) & ~taken, length)
        return None if first is None else PortRange(first, first + length - 1)


def _freedom(mapping: PortMapping) -> tuple[int, int]:
    return (1, 0) if mapping.host is None else (0, len(mapping.host))


def _taken(binding: PortBinding, owner: str, theirs: PortBinding) -> PortTaken:
    ports = binding.host
    detail = "" if len(ports) == 1 else f"port {max(ports.first, theirs.host.first)} is "
    return PortTaken(
        f"cannot publish {_text(binding.host_address, ports, binding.protocol)}: {detail}{_holder_text(owner)}",
        hint=f"atoll sandbox inspect {owner}" if owner else "give it another host port",
        subject=owner,
    )


def _one_of(claims: _Claims, mapping: PortMapping, address: IPAddress | None, ports: PortRange) -> PortBinding:
    free = claims.first_free(mapping.protocol, address, ports, 1)
    if free is not None:
        return claims.claim(PortBinding(mapping.protocol, address, free, mapping.container))
    held = claims.holder(mapping.protocol, address, ports)
    reason = f"{held[1].host.last} is {_holder_text(held[0])}" if held else "other programs have them"
    raise PortTaken(
        f"cannot publish one of {_text(address, ports, mapping.protocol)}: none of {len(ports)} is free ({reason})",
        hint="give a longer range, or no host port for an automatic one",
        subject=held[0] if held else "",
    )


def _automatic(
    claims: _Claims, mapping: PortMapping, address: IPAddress | None, ephemeral: PortRange, start: int
) -> Iterable[PortBinding]:
    begin = ephemeral.first + start % len(ephemeral)
    stretches = (PortRange(begin, ephemeral.last), ephemeral)
    rest = mapping.container
    length = len(rest)
    while length:
        found = (claims.first_free(mapping.protocol, address, within, length) for within in stretches)
        free = next((ports for ports in found if ports is not None), None)
        if free is None:
            # No room for that many in a row: half of them, and so on.
            length //= 2
            continue
        container = PortRange(rest.first, rest.first + length - 1)
        yield claims.claim(PortBinding(mapping.protocol, address, free, container))
        if container.last == rest.last:
            return
        rest = PortRange(container.last + 1, rest.last)
        length = min(length, len(rest))
    raise Exhausted(
        f"cannot publish {mapping.container}/{mapping.protocol.word}: no automatic host port of {ephemeral} is free",
        hint="name a host port, or widen net.ipv4.ip_local_port_range",
    )


def _holder_text(owner: str) -> str:
    return f"held by sandbox {owner}" if owner else "asked for twice in this request"


def _text(address: IPAddress | None, ports: PortRange, protocol: Protocol) -> str:
    shown = IPv4Address(0) if address is None else address
    host = f"[{shown}]" if family_of(shown) is Family.V6 else str(shown)
    return f"{host}:{ports}/{protocol.word}"
