"""From a world to the kernel state it wants on this host, whole or for one object."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from atoll.model.addresses import Family, IPNetwork
from atoll.model.facts import HostFacts
from atoll.model.items import HOST, Element, Item, Netns, Route, State, Sysctl, state_of
from atoll.model.network import Driver, Network
from atoll.model.sandbox import Sandbox, SandboxKind
from atoll.model.world import World
from atoll.plan.bridge import BridgeCompiler
from atoll.plan.driver import Compiler
from atoll.plan.gateway import gateway_endpoint
from atoll.plan.null import NullCompiler
from atoll.plan.publish import published
from atoll.plan.segments import SEGMENTS_MAX, compile_segment

_COMPILERS: Mapping[Driver, Compiler] = {
    Driver.BRIDGE: BridgeCompiler(),
    Driver.HOST: NullCompiler(),
    Driver.NULL: NullCompiler(),
}

_DEFAULT: Mapping[Family, IPNetwork] = {
    Family.V4: ipaddress.IPv4Network("0.0.0.0/0"),
    Family.V6: ipaddress.IPv6Network("::/0"),
}


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects a change touches: ids of networks, sandboxes and allowances, and the host itself.

    Networks come with the segments that are in use. `segments`, (network id, number), are those that a change of
    sandboxes opens or closes besides: see `with_segments`.
    """

    networks: frozenset[str] = frozenset()
    sandboxes: frozenset[str] = frozenset()
    allowances: frozenset[str] = frozenset()
    segments: frozenset[tuple[str, int]] = frozenset()
    host: bool = False

    @classmethod
    def everything(cls, world: World) -> "Scope":
        """All objects of a world."""
        return cls(frozenset(world.networks), frozenset(world.sandboxes), frozenset(world.allowances), host=True)


def with_segments(scope: Scope, before: World, after: World) -> Scope:
    """The scope with the segments that its sandboxes are the first or the last to be on."""
    touched = {
        (endpoint.network_id, endpoint.segment)
        for world in (before, after)
        for sandbox_id in scope.sandboxes
        for endpoint in world.endpoints_of(sandbox_id)
        if endpoint.segment
    }
    turned = (place for place in touched if bool(before.count_on(*place)) != bool(after.count_on(*place)))
    return replace(scope, segments=frozenset(turned))


def compile_scope(world: World, scope: Scope, facts: HostFacts, closed: frozenset[Family]) -> State:
    """What the objects in scope want; those that the world doesn't hold want nothing.

    `closed` are the families whose forwarding atoll switched on: see `compile_host`.
    """
    items: list[Item] = []
    if scope.host:
        items.extend(compile_host(facts, closed))
    for network_id in sorted(scope.networks):
        if network_id in world.networks:
            items.extend(compile_network(world.networks[network_id], facts))
            for segment in range(1, SEGMENTS_MAX):
                items.extend(_compile_segment(world, network_id, segment, facts))
    for network_id, segment in sorted(scope.segments):
        items.extend(_compile_segment(world, network_id, segment, facts))
    for sandbox_id in sorted(scope.sandboxes):
        if sandbox_id in world.sandboxes:
            items.extend(compile_sandbox(world, world.sandboxes[sandbox_id], facts))
    for allowance_id in sorted(scope.allowances):
        items.extend(_compile_allowance(world, allowance_id))
    return state_of(*items)


def forwarding_families(world: World) -> frozenset[Family]:
    """Families that some network needs the host to forward."""
    return frozenset(
        pool.family for network in world.networks.values() if network.driver is Driver.BRIDGE for pool in network.pools
    )


def compile_host(facts: HostFacts, closed: frozenset[Family]) -> Iterable[Item]:
    """Forwarding, and the elements that keep the host from routing between interfaces that aren't ours.

    Only for families in which atoll had to switch it on, and for as long as it may be on: also when no
    network needs it any more. And whether ::1 is the
    relay's: where frames of a bridge cross the inet hooks, the kernel drops the answers to ::1.
    """
    if facts.bridge_nf_call.get(Family.V6, False):
        yield Element("by_relay", (Family.V6.nfproto,))
    for family in sorted(closed):
        yield Element("closed", (family.nfproto,))
        if family is Family.V4:
            yield Sysctl(HOST, "net/ipv4/ip_forward", "1")
        else:
            # First: with forwarding on, accept_ra=1 means "no", and the host would lose its default route.
            for ifname in facts.router_advertised:
                yield Sysctl(HOST, f"net/ipv6/conf/{ifname}/accept_ra", "2")
            yield Sysctl(HOST, "net/ipv6/conf/all/forwarding", "1")


def compile_network(network: Network, facts: HostFacts) -> tuple[Item, ...]:
    """What a network wants, endpoints and segments apart."""
    return _COMPILERS[network.driver].network(network, facts)


def compile_sandbox(world: World, sandbox: Sandbox, facts: HostFacts) -> tuple[Item, ...]:
    """A sandbox's namespace, its endpoints, its default routes and its published ports."""
    items: list[Item] = []
    if sandbox.kind is SandboxKind.MADE and sandbox.netns is not None:
        items.append(Netns(sandbox.id, sandbox.netns.path, ipv6=facts.ipv6 and _all_have_ipv6(world, sandbox)))
    for endpoint in world.endpoints_of(sandbox.id):
        network = world.networks[endpoint.network_id]
        items.extend(_COMPILERS[network.driver].endpoint(network, endpoint, sandbox.id, facts))
    for family in Family:
        found = gateway_endpoint(world, sandbox.id, family)
        if found is None:
            continue
        network, endpoint = found
        pool = network.pool(family)
        assert pool is not None, f"endpoint {endpoint.id} has an address of a family its network lacks"
        items.append(Route(sandbox.id, _DEFAULT[family], endpoint.ifname, gateway=pool.gateway))
    items.extend(published(world, sandbox))
    return tuple(items)


def _all_have_ipv6(world: World, sandbox: Sandbox) -> bool:
    endpoints = [endpoint for endpoint in world.endpoints_of(sandbox.id) if endpoint.addresses]
    return bool(endpoints) and all(endpoint.address(Family.V6) is not None for endpoint in endpoints)


def _compile_segment(world: World, network_id: str, segment: int, facts: HostFacts) -> Iterable[Item]:
    if network_id in world.networks and world.count_on(network_id, segment):
        yield from compile_segment(world.networks[network_id], segment, facts)


def _compile_allowance(world: World, allowance_id: str) -> Iterable[Item]:
    allowance = world.allowances.get(allowance_id)
    if allowance is None:
        return
    source, target = world.networks.get(allowance.source_id), world.networks.get(allowance.target_id)
    if source and target and source.bridge and target.bridge:
        yield Element("pairs", (source.bridge.ifname, target.bridge.ifname))
