"""Published ports as elements, and as targets of the relay where the kernel can't help."""

from collections.abc import Iterator
from dataclasses import dataclass

from atoll.model.addresses import Family, IPAddress, family_of
from atoll.model.facts import HostFacts
from atoll.model.firewall import port_part
from atoll.model.items import Element, Part, Span
from atoll.model.ports import PortBinding, Protocol
from atoll.model.sandbox import Sandbox
from atoll.model.world import World
from atoll.plan.bridge import translates
from atoll.plan.gateway import gateway_endpoint

_EVERYWHERE = {
    Family.V4: Span(Family.V4.unspecified, type(Family.V4.unspecified)(2**32 - 1)),
    Family.V6: Span(Family.V6.unspecified, type(Family.V6.unspecified)(2**128 - 1)),
}


@dataclass(frozen=True, slots=True)
class RelayNeed:
    """Host ports of a sandbox that need the relay: their clients over IPv6 are carried to `target`."""

    sandbox_id: str
    bindings: tuple[PortBinding, ...]
    target: IPAddress


def published(world: World, sandbox: Sandbox) -> tuple[Element, ...]:
    """The elements that make a sandbox's ports reachable.

    Where the gateway's family is translated, one map element a port, or one for a whole range of same
    numbers. Where it is routed, the container's own ports are opened; a host address then says only which
    family is meant, and one of the loopback's that nobody outside is.
    """
    elements: list[Element] = []
    for family, target in targets(world, sandbox).items():
        for binding in sandbox.bindings:
            if binding.host_address is None or family_of(binding.host_address) is family:
                elements += _elements(binding, family, target)
    return (*elements, *dict.fromkeys(element for element, _ in opened(world, sandbox)))


def opened(world: World, sandbox: Sandbox) -> Iterator[tuple[Element, IPAddress]]:
    """The elements that let others in without translation, with the addresses at which they do."""
    for family in Family if sandbox.mappings else ():
        found = gateway_endpoint(world, sandbox.id, family)
        address = found[1].address(family) if found else None
        if found is None or address is None:
            continue
        network = found[0]
        if not translates(network, family):
            name = f"open{int(family)}"
        elif network.bridge is not None and network.bridge.trusted:
            name = f"direct{int(family)}"
        else:
            continue
        default = network.bridge.host_binding if network.bridge else None
        for mapping in sandbox.mappings:
            asked = mapping.host_address or default
            if asked is None or (family_of(asked) is family and not asked.is_loopback):
                parts = (address.ip, int(mapping.protocol), port_part(mapping.container))
                yield Element(name, parts), address.ip


def needs_host_ports(world: World, sandbox: Sandbox) -> bool:
    """True when a gateway of the sandbox translates, so that its mappings take ports of the host."""
    found = ((family, gateway_endpoint(world, sandbox.id, family)) for family in Family)
    return any(translates(gateway[0], family) for family, gateway in found if gateway is not None)


def relayed(world: World, sandbox: Sandbox, facts: HostFacts) -> RelayNeed | None:
    """What the kernel can't carry: the IPv6 host ports of an endpoint that has only IPv4, and ::1 where
    frames of a bridge cross the inet hooks. SCTP is not relayed."""
    if not sandbox.bindings or not facts.ipv6:
        return None
    loopback_only = gateway_endpoint(world, sandbox.id, Family.V6) is not None
    if loopback_only and not facts.bridge_nf_call.get(Family.V6, False):
        return None
    target = targets(world, sandbox).get(Family.V6 if loopback_only else Family.V4)
    needed = _at_loopback if loopback_only else _over_ipv6
    bindings = tuple(
        binding
        for binding in sandbox.bindings
        if binding.protocol is not Protocol.SCTP and (binding.host_address is None or needed(binding.host_address))
    )
    return RelayNeed(sandbox.id, bindings, target) if bindings and target is not None else None


def _over_ipv6(host_address: IPAddress) -> bool:
    return family_of(host_address) is Family.V6


def _at_loopback(host_address: IPAddress) -> bool:
    return _over_ipv6(host_address) and (host_address.is_unspecified or host_address.is_loopback)


def targets(world: World, sandbox: Sandbox) -> dict[Family, IPAddress]:
    """Where host ports lead, by the family of the host's address."""
    found: dict[Family, IPAddress] = {}
    for family in Family:
        gateway = gateway_endpoint(world, sandbox.id, family)
        address = gateway[1].address(family) if gateway else None
        if gateway is not None and address is not None and translates(gateway[0], family):
            found[family] = address.ip
    return found


def _elements(binding: PortBinding, family: Family, target: IPAddress) -> list[Element]:
    address, protocol = binding.host_address, int(binding.protocol)
    first, last, container = binding.host.first, binding.host.last, binding.container.first
    if first == container and first != last:
        where: Part = _EVERYWHERE[family] if address is None else _one(address)
        return [Element(f"span{family:d}", (_EVERYWHERE[family], where, protocol, Span(first, last)), (target,))]
    shift = container - first
    ports = (first,) if first == last else range(first, last + 1)
    if address is None:
        name = f"any{family:d}"
        # As Element(...) but for its look at the parts, among which there is no interval: there may be thousands.
        return [Element._make((name, (protocol, port), (target, port + shift))) for port in ports]
    name = f"addr{family:d}"
    return [Element._make((name, (address, protocol, port), (target, port + shift))) for port in ports]


def _one(address: IPAddress) -> Span:
    return Span(address, address)
