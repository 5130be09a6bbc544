"""Further bridges of a network that has outgrown one: segments, in a star around the first.

    at-1f2e... (gateway) --ad1-...===au1-...-- a1-1f2e... --- av77... === eth0
        |  \\-----------ad2-...===au2-...-- a2-1f2e... --- av91... === eth0
       av03... === eth0

The gateway's addresses, the host's neighbours and the elements of the network stay with the first bridge, so that
the rules and routes know only that one. A segment exists while an endpoint is on it.

Isolation holds across: the near end of a joint is an isolated port where the endpoints' are, and the far end is
not. So endpoints of the first bridge don't reach the joint, nor does one joint the other, while the gateway, which is
no port, reaches all. That takes no rule and no trust in what senders say who they are.
"""

from collections.abc import Iterator

from atoll.model.facts import HostFacts
from atoll.model.items import HOST, Bridge, Element, Item, Joint, Sysctl, owner_alias
from atoll.model.network import Network
from atoll.model.options import BridgeOptions

SEGMENTS_MAX = 24
"""Bridges of a network: the first has room for 23 joints besides 1,000 endpoints (BR_MAX_PORTS in net/bridge)."""

_IFNAME_LENGTH = 15


def segment_ifname(network: Network, segment: int) -> str:
    """The bridge of a segment; of segment 0, the first, it is the network's own."""
    assert network.bridge is not None, f"bridge network {network.name} without parsed options"
    return _ifname("a", network, segment) if segment else network.bridge.ifname


def compile_segment(network: Network, segment: int, facts: HostFacts) -> Iterator[Item]:
    """What a segment above 0 needs besides its endpoints' cables."""
    options = network.bridge
    assert options is not None, f"bridge network {network.name} without parsed options"
    bridge, alias = segment_ifname(network, segment), owner_alias("network", network.id)
    yield Bridge(bridge, alias, _mac(network, segment), options.mtu_bytes)
    yield Joint(
        _ifname("ad", network, segment),
        alias,
        options.ifname,
        _ifname("au", network, segment),
        bridge,
        options.mtu_bytes,
        isolated=not options.icc,
    )
    yield from _silence(bridge, options, facts)


def _silence(bridge: str, options: BridgeOptions, facts: HostFacts) -> Iterator[Item]:
    """Keep the host from being reached by a segment's own interface, to which no rule of the network applies."""
    yield Element("segments", (bridge,))
    # 8: not for any local address. Otherwise the host gives its gateway address the segment's MAC too.
    yield Sysctl(HOST, f"net/ipv4/conf/{bridge}/arp_ignore", "8")
    if facts.ipv6 and options.allows_ipv6:
        yield Sysctl(HOST, f"net/ipv6/conf/{bridge}/disable_ipv6", "1")


def _ifname(prefix: str, network: Network, segment: int) -> str:
    return f"{prefix}{segment}-{network.id}"[:_IFNAME_LENGTH]


def _mac(network: Network, segment: int) -> str:
    # Nobody speaks from it; fixed, as a bridge's own would follow its ports. 06: administered locally, unlike 02:42.
    return f"06:{segment:02x}:" + ":".join(network.id[place : place + 2] for place in range(0, 8, 2))
