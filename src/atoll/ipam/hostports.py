"""Host ports for published ports: exact ones are checked, the others chosen."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address

from atoll.errors import Exhausted, PortTaken
from atoll.model.addresses import Family, IPAddress, family_of
from atoll.model.ports import PortBinding, PortMapping, PortRange, Protocol, addresses_meet

Busy = frozenset[tuple[Protocol, PortRange]]
"""Ports that turned out to be somebody else's on this host; avoided where there is a choice."""


def bind(
    mappings: Sequence[PortMapping],
    *,
    in_use: Iterable[tuple[str, PortBinding]],
    ephemeral: PortRange,
    default_address: IPAddress | None,
    start: int,
    busy: Busy = frozenset(),
) -> tuple[PortBinding, ...]:
    """Concrete bindings for `mappings`, in their order.

    `in_use` are all bindings that are held, with the name of the sandbox that holds each. A mapping that
    names no address gets `default_address`. Automatic ports come from `ephemeral`, the search beginning at
    its `start`-th port (modulo its length); those of a range follow each other as far as there is room, and
    only then a mapping becomes several bindings. A choice out of a range is the lowest that is free.

    Raises PortTaken naming the port and its holder, Exhausted.
    """
    claims = _Claims(in_use, busy)
    bound: dict[int, tuple[PortBinding, ...]] = {}
    # What leaves least choice goes first: `-p 8000-8001:80 -p 8000:81` can be had.
    for place, mapping in sorted(enumerate(mappings), key=lambda pair: _freedom(pair[1])):
        address = mapping.host_address if mapping.host_address is not None else default_address
        if mapping.host is None:
            bound[place] = tuple(_automatic(claims, mapping, address, ephemeral, start))
        elif len(mapping.host) == len(mapping.container):
            bound[place] = (_exact(claims, mapping, address, mapping.host),)
        else:
            bound[place] = (_one_of(claims, mapping, address, mapping.host),)
    return tuple(binding for place in sorted(bound) for binding in bound[place])


class _Claims:
    """Held ports, looked up by number; ranges are few and looked through."""

    def __init__(self, in_use: Iterable[tuple[str, PortBinding]], busy: Busy) -> None:
        self._singles: dict[tuple[Protocol, int], list[tuple[str, PortBinding]]] = defaultdict(list)
        self._ranges: list[tuple[str, PortBinding]] = []
        self._busy = busy
        for owner, binding in in_use:
            self._add(owner, binding)

    def claim(self, binding: PortBinding) -> PortBinding:
        """Note a binding of this request."""
        self._add("", binding)
        return binding

    def holder(self, protocol: Protocol, address: IPAddress | None, ports: PortRange) -> tuple[str, PortBinding] | None:
        """Who has the highest of `ports` that is held, and as which binding; owner "" is this request."""
        met = [
            held
            for held in self._ranges
            if held[1].protocol is protocol
            and held[1].host.overlaps(ports)
            and addresses_meet(held[1].host_address, address)
        ]
        highest = max(met, key=lambda held: held[1].host.last, default=None)
        floor = ports.first if highest is None else max(ports.first, highest[1].host.last + 1)
        for port in range(ports.last, floor - 1, -1):
            for held in self._singles.get((protocol, port), ()):
                if addresses_meet(held[1].host_address, address):
                    return held
        return highest

    def first_free(
        self, protocol: Protocol, address: IPAddress | None, within: PortRange, length: int
    ) -> PortRange | None:
        """The lowest `length` free ports in a row."""
        candidate = PortRange(within.first, within.first + length - 1)
        while candidate.last <= within.last:
            last_met = self._last_met(protocol, address, candidate)
            if last_met is None:
                return candidate
            candidate = PortRange(last_met + 1, last_met + length)
        return None

    def _last_met(self, protocol: Protocol, address: IPAddress | None, ports: PortRange) -> int | None:
        held = self.holder(protocol, address, ports)
        met = [there.last for other, there in self._busy if other is protocol and there.overlaps(ports)]
        if held is not None:
            met.append(held[1].host.last)
        return max(met, default=None)

    def _add(self, owner: str, binding: PortBinding) -> None:
        if len(binding.host) == 1:
            self._singles[binding.protocol, binding.host.first].append((owner, binding))
        else:
            self._ranges.append((owner, binding))


def _freedom(mapping: PortMapping) -> tuple[int, int]:
    if mapping.host is None:
        return 2, 0
    if len(mapping.host) == len(mapping.container):
        return 0, 0
    return 1, len(mapping.host)


def _exact(claims: _Claims, mapping: PortMapping, address: IPAddress | None, ports: PortRange) -> PortBinding:
    held = claims.holder(mapping.protocol, address, ports)
    if held is None:
        return claims.claim(PortBinding(mapping.protocol, address, ports, mapping.container))
    owner, theirs = held
    port = max(ports.first, theirs.host.first)
    detail = "" if len(ports) == 1 else f"port {port} is "
    raise PortTaken(
        f"cannot publish {_text(address, ports, mapping.protocol)}: {detail}{_holder_text(owner)}",
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
