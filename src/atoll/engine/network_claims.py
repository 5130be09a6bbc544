"""Claims for networks: from a request and the world to a complete network, or an error. Pure."""

from collections.abc import Mapping

from atoll.engine.host import Host
from atoll.errors import Conflict, Forbidden, InUse, NameTaken
from atoll.ipam.pools import complete_pools
from atoll.model.addresses import Family
from atoll.model.facts import HostFacts
from atoll.model.names import parse_name, short_id
from atoll.model.network import DEFAULT_BRIDGE_NETWORK, Driver, Network, NetworkRequest
from atoll.model.options import (
    BRIDGE_NAME,
    DEFAULT_BRIDGE,
    HOST_BINDING,
    ICC,
    MASQUERADE,
    MTU,
    parse_bridge_options,
    unknown_options,
)
from atoll.model.world import World
from atoll.plan.driver import Naming

_DEFAULT_OPTIONS: Mapping[str, str] = {
    DEFAULT_BRIDGE: "true",
    ICC: "true",
    MASQUERADE: "true",
    HOST_BINDING: "0.0.0.0",
    MTU: "1500",
}
"""What Docker's default bridge shows in `network inspect`."""


def claim_network(
    world: World, request: NetworkRequest, facts: HostFacts, host: Host, naming: Naming, host_key: str
) -> tuple[Network, tuple[str, ...]]:
    """A bridge network as asked, with everything chosen, and warnings.

    `host_key` makes the host's IPv6 ULA prefix. Raises InvalidRequest, NameTaken, PoolOverlap,
    Conflict (bridge name), Exhausted, Forbidden (a second `host` or `null` network).
    """
    parse_name("network", request.name)
    if world.network_named(request.name) is not None:
        raise NameTaken(
            f"network with name {request.name} already exists", hint="atoll network ls", subject=request.name
        )
    if request.driver is not Driver.BRIDGE:
        raise Forbidden(f'only one instance of "{request.driver.value}" network is allowed', subject=request.name)
    return _bridge_network(world, request, facts, host, naming, host_key, default=False)


def default_networks(
    world: World, facts: HostFacts, host: Host, naming: Naming, host_key: str
) -> tuple[tuple[Network, ...], tuple[str, ...]]:
    """Those of bridge, host and none that the world lacks. Raises Exhausted, PoolOverlap."""
    have = {network.name for network in world.networks.values()}
    fresh: list[Network] = []
    warnings: tuple[str, ...] = ()
    if DEFAULT_BRIDGE_NETWORK not in have:
        options = {**_DEFAULT_OPTIONS, BRIDGE_NAME: naming.default_bridge}
        request = NetworkRequest(name=DEFAULT_BRIDGE_NETWORK, options=options)
        network, warnings = _bridge_network(world, request, facts, host, naming, host_key, default=True)
        fresh.append(network)
    for name, driver in (("host", Driver.HOST), ("none", Driver.NULL)):
        if name not in have:
            fresh.append(Network(host.new_id(), name, driver, host.now_ns()))
    return tuple(fresh), warnings


def check_removable(world: World, network: Network) -> None:
    """Raises Forbidden for a predefined network, InUse while endpoints are on it."""
    if network.predefined:
        raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed", subject=network.name)
    there = world.endpoints_on(network.id)
    if there:
        names = ", ".join(sorted(world.sandboxes[endpoint.sandbox_id].name for endpoint in there)[:5])
        raise InUse(
            f"error while removing network: network {network.name} id {network.id} has active endpoints ({names})",
            hint=f"atoll network disconnect {network.name} {names.split(', ')[0]}",
            subject=network.name,
        )


def _bridge_network(
    world: World,
    request: NetworkRequest,
    facts: HostFacts,
    host: Host,
    naming: Naming,
    host_key: str,
    *,
    default: bool,
) -> tuple[Network, tuple[str, ...]]:
    network_id = host.new_id()
    bridge = parse_bridge_options(
        request.options,
        ifname=naming.bridge(network_id, default=default),
        ipv6=request.ipv6,
        internal=request.internal,
    )
    _check_bridge_name(world, bridge.ifname)
    held = [(network.name, pool) for network in world.networks.values() for pool in network.pools]
    pools, warnings = complete_pools(
        request.pools,
        ipv4=request.ipv4,
        ipv6=request.ipv6,
        held=held,
        onlink=facts.onlink,
        routed=tuple(prefix for prefix, _ in facts.routed),
        host_key=host_key,
    )
    ignored = tuple(
        f"option {key} is not known to the bridge driver and has no effect" for key in unknown_options(request.options)
    )
    network = Network(
        id=network_id,
        name=request.name,
        driver=Driver.BRIDGE,
        created_ns=host.now_ns(),
        pools=pools,
        ipv4=any(pool.family is Family.V4 for pool in pools),
        ipv6=any(pool.family is Family.V6 for pool in pools),
        internal=request.internal,
        attachable=request.attachable,
        ipam_options=request.ipam_options,
        options=request.options,
        labels=request.labels,
        bridge=bridge,
    )
    return network, (*warnings, *ignored)


def _check_bridge_name(world: World, ifname: str) -> None:
    for other in world.networks.values():
        if other.bridge is not None and other.bridge.ifname == ifname:
            raise Conflict(
                f"bridge name {ifname} conflicts with network {short_id(other.id)} ({other.name}): "
                "networks have same bridge name",
                hint="choose another name, or leave it out",
                subject=ifname,
            )
