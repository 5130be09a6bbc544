"""What serves a network in the firewall, for people: its elements with their meaning, and the old tools' view."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atoll.kernel.kernel import Count, RuleCount
from atoll.model.addresses import Family
from atoll.model.facts import HostFacts
from atoll.model.firewall import SETS, element_text
from atoll.model.items import Element, Key
from atoll.model.network import Driver, Network
from atoll.model.sandbox import Sandbox
from atoll.model.world import World
from atoll.plan.bridge import guards
from atoll.plan.compile import Scope, compile_scope
from atoll.plan.gateway import gateway_endpoint
from atoll.plan.publish import published
from atoll.plan.segments import SEGMENTS_MAX, segment_ifname

_MEANINGS: Mapping[str, str] = {
    "nets": "the bridge of a network: packets of its interface meet the rules",
    "internal": "no way out, and nothing comes in",
    "masq": "the way out has the host's address as source",
    "pairs": "new connections may be opened from the first bridge to the second",
    "lan4": "the subnet: no other source address may come from this bridge",
    "lan6": "the subnet: no other source address may come from this bridge",
    "subnet4": "the host is the gateway here: closed to other hosts, and no source of theirs",
    "subnet6": "the host is the gateway here: closed to other hosts, and no source of theirs",
    "isolated": "nothing from this bridge is for the host",
    "any4": "published on every address of the host",
    "any6": "published on every address of the host",
    "addr4": "published on one address",
    "addr6": "published on one address",
    "span4": "a range of same-numbered ports, published as one element",
    "span6": "a range of same-numbered ports, published as one element",
    "unprotected": "every port can be reached at the container's own address",
    "routed": "addresses are routed, not translated; pings are answered",
    "snat4": "the way out has this source address",
    "snat6": "the way out has this source address",
    "open4": "published, at the container's own address",
    "open6": "published, at the container's own address",
    "trusted": "from this interface published ports can be reached at the container's own address",
    "direct4": "such a published port",
    "direct6": "such a published port",
    "by_relay": "clients on ::1 are served by the relay",
    "closed": "atoll switched forwarding on, so the host routes for nobody else",
    "segments": "a further bridge of the network: frames pass, the host itself isn't reached by it",
    "guarded": "a port whose endpoint speaks for itself alone",
    "arp4": "a MAC and an IPv4 address that may speak at this port",
    "nd6": "a MAC and an IPv6 address that may speak at this port",
    "nd6t": "the same, for what neighbour advertisements are about",
}


@dataclass(frozen=True, slots=True)
class ElementView:
    """One element: its table and set, its text as nft writes it, what it is for, and its count when known."""

    table: str
    set: str
    text: str
    meaning: str
    count: Count | None = None


@dataclass(frozen=True, slots=True)
class NetworkView:
    """What serves one network.

    `ports` are endpoints' ports of the bridge, `segments` the further bridges with theirs, `iptables` the lines
    that `iptables -t nat -vnL` would show, with `-` for counts that are not known.
    """

    name: str
    bridge: str
    bridge_id: str
    ports: tuple[str, ...]
    segments: tuple[tuple[str, tuple[str, ...]], ...]
    elements: tuple[ElementView, ...]
    iptables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole answer of `atoll rules`. `counters` is empty unless asked for."""

    tables: tuple[str, ...]
    owned: bool
    networks: tuple[NetworkView, ...]
    counters: tuple[RuleCount, ...] = ()


def network_views(
    world: World, facts: HostFacts, closed: frozenset[Family], counts: Mapping[Key, Count]
) -> tuple[NetworkView, ...]:
    """A view of every bridge network, by name. `counts` has those elements that the kernel counts."""
    bridges = (network for network in world.networks.values() if network.driver is Driver.BRIDGE)
    return tuple(
        _network_view(world, network, facts, closed, counts) for network in sorted(bridges, key=lambda n: n.name)
    )


def _network_view(
    world: World, network: Network, facts: HostFacts, closed: frozenset[Family], counts: Mapping[Key, Count]
) -> NetworkView:
    assert network.bridge is not None, f"bridge network {network.name} without parsed options"
    members = world.endpoints_on(network.id)
    allowed = frozenset(a.id for a in world.allowances.values() if network.id in (a.source_id, a.target_id))
    own = compile_scope(world, Scope(networks=frozenset({network.id}), allowances=allowed), facts, closed)
    elements = [item for item in own.values() if isinstance(item, Element)]
    sandboxes = [world.sandboxes[endpoint.sandbox_id] for endpoint in members]
    elements += [element for sandbox in sandboxes for element in _led_here(world, network, sandbox)]
    elements += [element for endpoint in members for element in guards(network, endpoint)]
    ports: dict[int, list[str]] = {}
    for endpoint in members:
        ports.setdefault(endpoint.segment, []).append(endpoint.host_ifname)
    mac = next((pool.gateway for pool in network.pools), None)
    return NetworkView(
        name=network.name,
        bridge=network.bridge.ifname,
        bridge_id=f"8000.0242{mac.packed[-4:].hex()}" if mac else "",
        ports=tuple(sorted(ports.get(0, ()))),
        segments=tuple(
            (segment_ifname(network, segment), tuple(sorted(ports[segment])))
            for segment in range(1, SEGMENTS_MAX)
            if segment in ports
        ),
        elements=tuple(_element_view(element, counts) for element in elements),
        iptables=tuple(_iptables_lines(network, elements, counts)),
    )


def _element_view(element: Element, counts: Mapping[Key, Count]) -> ElementView:
    table = SETS[element.set].family.table
    meaning = _MEANINGS.get(element.set, "")
    return ElementView(table, element.set, element_text(element), meaning, counts.get(element.key))


def _led_here(world: World, network: Network, sandbox: Sandbox) -> Iterator[Element]:
    for family in Family:
        found = gateway_endpoint(world, sandbox.id, family)
        if found is not None and found[0].id == network.id:
            yield from (element for element in published(world, sandbox) if element.set.endswith(str(int(family))))


def _iptables_lines(network: Network, elements: list[Element], counts: Mapping[Key, Count]) -> Iterator[str]:
    assert network.bridge is not None
    bridge = network.bridge.ifname
    pool = network.pool(Family.V4)
    for element in elements:
        count = counts.get(element.key)
        packets, octets = (count.packets, count.octets) if count else ("-", "-")
        columns = f"{packets:>8} {octets:>8}"
        if element.set == "masq" and element.parts[0] == Family.V4.nfproto and pool is not None:
            yield f"{columns} MASQUERADE  all  --  *      !{bridge}  {pool.subnet}        0.0.0.0/0"
        elif element.set == "any4":
            protocol, port = element_text(element)[2:-2].split(" : ")[0].split(" . ")
            target = ":".join(str(part) for part in element.data)
            match = f"{protocol} dpt:{port} to:{target}"
            yield f"{columns} DNAT        {protocol}  --  !{bridge} *       0.0.0.0/0            0.0.0.0/0  {match}"
