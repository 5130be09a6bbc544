"""The `bridge` driver: a Linux bridge a network, a veth pair an endpoint, elements in constant rules.

host                                  sandbox
atoll0 (gateway/16) --- av1f... ======= eth0 (172.17.0.2/16, default via gateway)
"""

import ipaddress
from collections.abc import Iterator

from atoll.model.addresses import Family, family_of, interface_of, link_local_of, mac_of
from atoll.model.endpoint_options import sysctl_path
from atoll.model.facts import HostFacts
from atoll.model.items import (
    HOST,
    Address,
    Bridge,
    Element,
    Interface,
    Item,
    Neighbour,
    Route,
    Span,
    Sysctl,
    Veth,
    owner_alias,
)
from atoll.model.network import Network, Pool
from atoll.model.options import BridgeOptions, GatewayMode
from atoll.model.sandbox import Endpoint
from atoll.plan.segments import segment_ifname

ARP_IGNORE_ALL = "8"
"""Answer no ARP request at all. Source: the kernel's ip-sysctl.rst."""

LOOPBACK_ROUTE_METRIC = 4096
"""Behind the kernel's own route to ::1, which has metric 0."""


class BridgeCompiler:
    """Compiles networks of driver `bridge`."""

    def network(self, network: Network, facts: HostFacts) -> tuple[Item, ...]:
        """The bridge, its addresses and sysctls, and the elements that make the rules apply to it."""
        options = _options(network)
        items: list[Item] = [
            Bridge(options.ifname, owner_alias("network", network.id), bridge_mac(network), options.mtu_bytes),
            *_bridge_sysctls(network, options.ifname, facts),
        ]
        for pool in network.pools:
            if host_has_gateway(options, pool.family):
                items.append(Address(HOST, options.ifname, interface_of(pool.gateway, pool.subnet)))
        if _answers_loopback_v6(network, facts):
            loopback = ipaddress.IPv6Network("::1/128")
            items.append(Route(HOST, loopback, options.ifname, metric=LOOPBACK_ROUTE_METRIC, local=True))
        items.extend(_network_elements(network, options))
        return tuple(items)

    def endpoint(self, network: Network, endpoint: Endpoint, netns: str, facts: HostFacts) -> tuple[Item, ...]:
        """The cable, the addresses inside, and the permanent neighbours at both its ends.

        Those don't count among the 1,024 that the whole machine, all its namespaces together, may have, and nobody
        has to be asked for them.
        """
        options = _options(network)
        items: list[Item] = [
            Veth(
                endpoint.host_ifname,
                owner_alias("endpoint", endpoint.id),
                segment_ifname(network, endpoint.segment),
                netns,
                endpoint.ifname,
                endpoint.mac,
                options.mtu_bytes,
                isolated=not options.icc,
                # Frames that cross the inet hooks inside the bridge come back out of the port they came
                # from when a container calls its own published port.
                hairpin=any(facts.bridge_nf_call.values()),
            ),
            Interface(netns, endpoint.ifname, endpoint.mac, options.mtu_bytes),
        ]
        ipv6 = facts.ipv6 and options.allows_ipv6
        items.extend(Sysctl(netns, path, value) for path, value in _endpoint_sysctls(endpoint, ipv6=ipv6).items())
        items.extend(Address(netns, endpoint.ifname, address) for address in endpoint.addresses)
        items.extend(_neighbours(network, endpoint, netns))
        items.extend(guards(network, endpoint))
        return tuple(items)


def guards(network: Network, endpoint: Endpoint) -> Iterator[Element]:
    """What keeps an endpoint from speaking for others, where the network wants that.

    It may use its MAC with its own addresses and the link-local one that this MAC gives; not with others that
    somebody puts on the interface inside.
    """
    if not _options(network).anti_spoofing:
        return
    port, mac = endpoint.host_ifname, endpoint.mac
    yield Element("guarded", (port,))
    for address in endpoint.addresses:
        if family_of(address) is Family.V4:
            yield Element("arp4", (port, mac, address.ip))
            continue
        for mine in (address.ip, link_local_of(mac)):
            yield Element("nd6", (port, mac, mine))
            yield Element("nd6t", (port, mac, mine))


def _neighbours(network: Network, endpoint: Endpoint, netns: str) -> Iterator[Neighbour]:
    """First those of the endpoint's side, as steps in one namespace next to each other are done together."""
    options = _options(network)
    known = [address.ip for address in endpoint.addresses if host_has_gateway(options, family_of(address))]
    for address in known:
        pool = network.pool(family_of(address))
        assert pool is not None, f"endpoint {endpoint.id} has an address of a family its network lacks"
        yield Neighbour(netns, endpoint.ifname, pool.gateway, bridge_mac(network))
    for address in known:
        yield Neighbour(HOST, options.ifname, address, endpoint.mac)


def bridge_mac(network: Network) -> str:
    """The MAC of a network's bridge: its first gateway's."""
    return mac_of(network.pools[0].gateway)


def host_has_gateway(options: BridgeOptions, family: Family) -> bool:
    """False where the bridge is without an address: isolated from the host, or with a gateway elsewhere."""
    inhibited = family is Family.V4 and options.inhibit_ipv4
    return options.mode(family) is not GatewayMode.ISOLATED and not inhibited


def translates(network: Network, family: Family) -> bool:
    """True where published ports are ports of the host; in a routed family they are opened at the container."""
    return network.bridge is None or network.bridge.mode(family) is not GatewayMode.ROUTED


def _options(network: Network) -> BridgeOptions:
    assert network.bridge is not None, f"bridge network {network.name} without parsed options"
    return network.bridge


def _answers_loopback_v6(network: Network, facts: HostFacts) -> bool:
    # ::1 needs a route that names the bridge (IPv6 has no route_localnet); with bridge-nf-call the
    # answer is dropped all the same and the relay serves it.
    return (
        network.pool(Family.V6) is not None
        and not network.internal
        and facts.ipv6
        and not facts.bridge_nf_call.get(Family.V6, False)
        and translates(network, Family.V6)
    )


def _endpoint_sysctls(endpoint: Endpoint, *, ipv6: bool) -> dict[str, str]:
    """By path; what the user asked for wins over our own."""
    sysctls = {}
    if ipv6:
        conf = f"net/ipv6/conf/{endpoint.ifname}"
        sysctls = {
            f"{conf}/disable_ipv6": "0" if endpoint.address(Family.V6) is not None else "1",
            f"{conf}/accept_ra": "0",
            f"{conf}/accept_dad": "0",
        }
    return sysctls | {sysctl_path(template, endpoint.ifname): value for template, value in endpoint.sysctls}


def _bridge_sysctls(network: Network, ifname: str, facts: HostFacts) -> Iterator[Sysctl]:
    if network.pool(Family.V4) is not None:
        yield Sysctl(HOST, f"net/ipv4/conf/{ifname}/forwarding", "1")
        yield Sysctl(HOST, f"net/ipv4/conf/{ifname}/route_localnet", "1")
        if _options(network).mode4 is GatewayMode.ISOLATED:
            # Otherwise it would answer for its addresses on other interfaces.
            yield Sysctl(HOST, f"net/ipv4/conf/{ifname}/arp_ignore", ARP_IGNORE_ALL)
    if facts.ipv6 and _options(network).allows_ipv6:
        # Without a pool no link-local address either: an IPv4-only network has no IPv6, an isolated one no host.
        has_v6 = network.pool(Family.V6) is not None and host_has_gateway(_options(network), Family.V6)
        yield Sysctl(HOST, f"net/ipv6/conf/{ifname}/disable_ipv6", "0" if has_v6 else "1")
        yield Sysctl(HOST, f"net/ipv6/conf/{ifname}/accept_ra", "0")
        if has_v6:
            yield Sysctl(HOST, f"net/ipv6/conf/{ifname}/accept_dad", "0")


def _network_elements(network: Network, options: BridgeOptions) -> Iterator[Element]:
    bridge = options.ifname
    yield Element("nets", (bridge,))
    if network.internal:
        yield Element("internal", (bridge,))
    if options.icc:
        yield Element("pairs", (bridge, bridge))
    for pool in network.pools:
        yield _lan(bridge, pool)
        if host_has_gateway(options, pool.family):
            yield Element(f"subnet{int(pool.family)}", (pool.family.nfproto, _whole(pool)))
        if options.mode(pool.family) is GatewayMode.ISOLATED:
            yield Element("isolated", (pool.family.nfproto, bridge))
        if not network.internal:
            yield from _way_out(options, pool.family)
    for trusted in options.trusted:
        yield Element("trusted", (trusted, bridge))


def _way_out(options: BridgeOptions, family: Family) -> Iterator[Element]:
    bridge, mode, source = options.ifname, options.mode(family), options.snat(family)
    if mode is GatewayMode.ROUTED:
        yield Element("routed", (family.nfproto, bridge))
        return
    if mode is GatewayMode.UNPROTECTED:
        yield Element("unprotected", (family.nfproto, bridge))
    if options.masquerade:
        yield Element("masq", (family.nfproto, bridge))
    if options.masquerade and source is not None:
        yield Element(f"snat{int(family)}", (bridge,), (source,))


def _lan(bridge: str, pool: Pool) -> Element:
    return Element(f"lan{int(pool.family)}", (bridge, _whole(pool)))


def _whole(pool: Pool) -> Span:
    return Span(pool.subnet.network_address, pool.subnet.broadcast_address)
