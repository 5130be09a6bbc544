"""Published ports as elements, and as targets of the relay where the kernel can't help."""

from collections.abc import Iterator
from dataclasses import dataclass

from atoll.model.addresses import Family, IPAddress, family_of
from atoll.model.facts import HostFacts
from atoll.model.items import Element, Part, Span
from atoll.model.ports import PortBinding, Protocol
from atoll.model.sandbox import Sandbox
from atoll.model.world import World
from atoll.plan.gateway import gateway_endpoint

_EVERYWHERE = {
    Family.V4: Span(Family.V4.unspecified, type(Family.V4.unspecified)(2**32 - 1)),
    Family.V6: Span(Family.V6.unspecified, type(Family.V6.unspecified)(2**128 - 1)),
}


@dataclass(frozen=True, slots=True)
class RelayNeed:
    """A host port that needs the relay: clients of `binding` over IPv6 are carried to `target`."""

    sandbox_id: str
    binding: PortBinding
    target: IPAddress


def published(world: World, sandbox: Sandbox) -> tuple[Element, ...]:
    """The map elements of a sandbox's bindings: one a port, or one for a whole range of same numbers."""
    targets = _targets(world, sandbox)
    return tuple(
        element
        for binding in sandbox.bindings
        for family, target in targets.items()
        if binding.host_address is None or family_of(binding.host_address) is family
        for element in _elements(binding, family, target)
    )


def relayed(world: World, sandbox: Sandbox, facts: HostFacts) -> tuple[RelayNeed, ...]:
    """What the kernel can't carry: an IPv6 host port of an endpoint that has only IPv4, and ::1 where
    frames of a bridge cross the inet hooks. SCTP is not relayed."""
    targets = _targets(world, sandbox)
    needs = []
    for binding in sandbox.bindings:
        if binding.protocol is Protocol.SCTP or not facts.ipv6:
            continue
        if binding.host_address is not None and family_of(binding.host_address) is not Family.V6:
            continue
        target = targets.get(Family.V6)
        if target is None and Family.V4 in targets:
            needs.append(RelayNeed(sandbox.id, binding, targets[Family.V4]))
        elif target is not None and facts.bridge_nf_call.get(Family.V6, False):
            needs.append(RelayNeed(sandbox.id, binding, target))
    return tuple(needs)


def _targets(world: World, sandbox: Sandbox) -> dict[Family, IPAddress]:
    targets: dict[Family, IPAddress] = {}
    for family in Family:
        found = gateway_endpoint(world, sandbox.id, family)
        address = found[1].address(family) if found else None
        if address is not None:
            targets[family] = address.ip
    return targets


def _elements(binding: PortBinding, family: Family, target: IPAddress) -> Iterator[Element]:
    host, container = binding.host, binding.container
    digit = str(int(family))
    if host == container and len(host) > 1:
        where: Part = _EVERYWHERE[family] if binding.host_address is None else _one(binding.host_address)
        parts = (_EVERYWHERE[family], where, int(binding.protocol), Span(host.first, host.last))
        yield Element(f"span{digit}", parts, (target,))
        return
    for offset in range(len(host)):
        data: tuple[Part, ...] = (target, container.first + offset)
        port = host.first + offset
        if binding.host_address is None:
            yield Element(f"any{digit}", (int(binding.protocol), port), data)
        else:
            yield Element(f"addr{digit}", (binding.host_address, int(binding.protocol), port), data)


def _one(address: IPAddress) -> Span:
    return Span(address, address)
