"""Reading what is true of the host and isn't ours. Changes nothing."""

from collections.abc import Mapping
from types import MappingProxyType

from atoll.kernel import inet, links, netns, sysctl
from atoll.kernel.look import LinkNames
from atoll.kernel.rtnetlink import RouteSocket
from atoll.model.addresses import Family, IPNetwork
from atoll.model.facts import HostFacts
from atoll.model.items import OURS, ROUTE_PROTOCOL
from atoll.model.ports import PortRange

_BRIDGE_NF_CALL: Mapping[Family, str] = MappingProxyType(
    {Family.V4: "net/bridge/bridge-nf-call-iptables", Family.V6: "net/bridge/bridge-nf-call-ip6tables"}
)
_FORWARDING: Mapping[Family, str] = MappingProxyType(
    {Family.V4: "net/ipv4/ip_forward", Family.V6: "net/ipv6/conf/all/forwarding"}
)
_BY_KERNEL, _BY_ADVERTISEMENT = 2, 9
"""RTPROT_KERNEL, RTPROT_RA, linux/rtnetlink.h."""


def read_facts() -> HostFacts:
    """One look at the host: the network namespace that the calling thread is in. Raises KernelError, Unsupported."""
    with RouteSocket() as socket:
        everything = [links.decode_link(payload) for payload in socket.dump(links.all_links())]
        names = LinkNames(socket, everything)
        ours = {link.index for link in everything if link.alias.startswith(OURS)}
        onlink = _onlink(socket, ours)
        routes = [route for family in Family for route in _foreign_routes(socket, family, ours)]
    first, last = (sysctl.read("net/ipv4/ip_local_port_range") or "32768 60999").split()
    return HostFacts(
        boot_id=netns.boot_id(),
        netns_cookie=netns.own_cookie(),
        bridge_nf_call={family: _is_on(path) for family, path in _BRIDGE_NF_CALL.items()},
        ipv6=sysctl.read("net/ipv6/conf/all/disable_ipv6") is not None,
        onlink=onlink,
        routed=tuple((route.destination, names.of(route.index)) for route in routes if _leads_elsewhere(route)),
        forwarding={family: _is_on(path) for family, path in _FORWARDING.items()},
        router_advertised=tuple(
            sorted(
                {
                    names.of(route.index)
                    for route in routes
                    if route.protocol == _BY_ADVERTISEMENT and not route.destination.prefixlen
                }
            )
        ),
        force_forwarding=sysctl.read("net/ipv6/conf/all/force_forwarding") is not None,
        ephemeral=PortRange(int(first), int(last)),
    )


def _is_on(path: str) -> bool:
    return (sysctl.read(path) or "0") != "0"


def _onlink(socket: RouteSocket, ours: set[int]) -> tuple[IPNetwork, ...]:
    """Prefixes of addresses on interfaces that aren't ours, but for IPv6's link-local one."""
    found = (inet.decode_address(payload) for payload in socket.dump(inet.addresses_of(0)))
    prefixes = {entry.address.network for entry in found if entry is not None and entry.index not in ours}
    return tuple(sorted((each for each in prefixes if not each.is_link_local), key=_order))


def _foreign_routes(socket: RouteSocket, family: Family, ours: set[int]) -> list[inet.RouteEntry]:
    """Unicast routes of the main table that neither we made nor lead to an interface of ours."""
    found = (inet.decode_route(payload) for payload in socket.dump(inet.routes(family)))
    return [
        route
        for route in found
        if route is not None and route.main and route.protocol != ROUTE_PROTOCOL and route.index not in ours
    ]


def _leads_elsewhere(route: inet.RouteEntry) -> bool:
    """True of a route that isn't default, and isn't just an interface's own prefix."""
    own_prefix = route.protocol == _BY_KERNEL and route.gateway is None
    return route.destination.prefixlen > 0 and not own_prefix and not route.destination.is_link_local


def _order(prefix: IPNetwork) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen
