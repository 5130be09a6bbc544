"""The sets and maps of our nftables tables, `inet atoll` and `bridge atoll`: names, types, and elements as nft text.

The single source of truth for `plan/`, which makes elements, and `kernel/nft/`, which encodes
them; a test holds it equal to `kernel/nft/*.nft`. Law: pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import summarize_address_range
from types import MappingProxyType

from atoll.model.addresses import Family, IPAddress, IPNetwork
from atoll.model.items import Element, Part, Span
from atoll.model.ports import PortRange, Protocol

TABLE = "atoll"
"""Name of each of our tables."""


class TableFamily(StrEnum):
    """A family in which we have a table: what hosts exchange over the host, and what ports of its bridges send."""

    INET = "inet"
    BRIDGE = "bridge"

    @property
    def table(self) -> str:
        """Our table in it, as nft names it: `inet atoll`."""
        return f"{self} {TABLE}"


TABLES = tuple(family.table for family in TableFamily)
"""Our tables, as nft names them."""

NFPROTO: Mapping[Family, int] = MappingProxyType({Family.V4: 2, Family.V6: 10})
"""Value of an `nf_proto` part for a family. Source: NFPROTO_IPV4, NFPROTO_IPV6, linux/netfilter.h."""

_IFNAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14}\Z")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")


class PartType(StrEnum):
    """Type of one part of a key or of a map's data; the value is nft's name for it.

    IFNAME and ETHER (a MAC) parts are str; PROTOCOL, SERVICE (a port) and NFPROTO parts int; address parts
    `ipaddress` objects, TARGET's too: the address that a neighbour advertisement or solicitation is about, for which
    nft 1.0.6 has only these bits of the packet. In an interval set any part but IFNAME and ETHER may be a Span.
    """

    IFNAME = "ifname"
    ETHER = "ether_addr"
    TARGET = "@th,64,128"
    IPV4 = "ipv4_addr"
    IPV6 = "ipv6_addr"
    PROTOCOL = "inet_proto"
    SERVICE = "inet_service"
    NFPROTO = "nf_proto"


@dataclass(frozen=True, slots=True)
class SetType:
    """A set, or a map when it has `data`.

    `interval`: parts of its keys may be Spans. `counted`: each element has a counter of what matched it.
    """

    name: str
    parts: tuple[PartType, ...]
    data: tuple[PartType, ...] = ()
    interval: bool = False
    counted: bool = False
    family: TableFamily = TableFamily.INET


def _set(
    name: str,
    key: str,
    data: str = "",
    *,
    interval: bool = False,
    counted: bool = False,
    family: TableFamily = TableFamily.INET,
) -> tuple[str, SetType]:
    def parts(text: str) -> tuple[PartType, ...]:
        return tuple(PartType(word) for word in text.split(" . ")) if text else ()

    return name, SetType(name, parts(key), parts(data), interval, counted, family)


SETS: Mapping[str, SetType] = MappingProxyType(
    dict(
        [
            _set("nets", "ifname"),
            _set("internal", "ifname"),
            _set("isolated", "nf_proto . ifname"),
            _set("unprotected", "nf_proto . ifname"),
            _set("routed", "nf_proto . ifname"),
            _set("masq", "nf_proto . ifname", counted=True),
            _set("pairs", "ifname . ifname", counted=True),
            _set("closed", "nf_proto"),
            _set("by_relay", "nf_proto"),
            _set("segments", "ifname"),
            _set("snat4", "ifname", "ipv4_addr", counted=True),
            _set("snat6", "ifname", "ipv6_addr", counted=True),
            _set("lan4", "ifname . ipv4_addr", interval=True),
            _set("lan6", "ifname . ipv6_addr", interval=True),
            _set("subnet4", "nf_proto . ipv4_addr", interval=True),
            _set("subnet6", "nf_proto . ipv6_addr", interval=True),
            _set("any4", "inet_proto . inet_service", "ipv4_addr . inet_service", counted=True),
            _set("any6", "inet_proto . inet_service", "ipv6_addr . inet_service", counted=True),
            _set("addr4", "ipv4_addr . inet_proto . inet_service", "ipv4_addr . inet_service", counted=True),
            _set("addr6", "ipv6_addr . inet_proto . inet_service", "ipv6_addr . inet_service", counted=True),
            _set(
                "span4", "ipv4_addr . ipv4_addr . inet_proto . inet_service", "ipv4_addr", interval=True, counted=True
            ),
            _set(
                "span6", "ipv6_addr . ipv6_addr . inet_proto . inet_service", "ipv6_addr", interval=True, counted=True
            ),
            _set(
                "from4",
                "ipv4_addr . ipv4_addr . inet_proto . inet_service",
                "ipv4_addr . inet_service",
                interval=True,
                counted=True,
            ),
            _set(
                "from6",
                "ipv6_addr . ipv6_addr . inet_proto . inet_service",
                "ipv6_addr . inet_service",
                interval=True,
                counted=True,
            ),
            _set("open4", "ipv4_addr . inet_proto . inet_service", interval=True, counted=True),
            _set("open6", "ipv6_addr . inet_proto . inet_service", interval=True, counted=True),
            _set("trusted", "ifname . ifname"),
            _set("direct4", "ipv4_addr . inet_proto . inet_service", interval=True, counted=True),
            _set("direct6", "ipv6_addr . inet_proto . inet_service", interval=True, counted=True),
            _set("guarded", "ifname", family=TableFamily.BRIDGE),
            _set("arp4", "ifname . ether_addr . ipv4_addr", family=TableFamily.BRIDGE),
            _set("nd6", "ifname . ether_addr . ipv6_addr", family=TableFamily.BRIDGE),
            _set("nd6t", "ifname . ether_addr . @th,64,128", family=TableFamily.BRIDGE),
        ]
    )
)
"""Every named set and map by name, which is of one table alone; what each means stands in `kernel/nft/*.nft`."""


def address_part(network: IPNetwork) -> Part:
    """A prefix as a part of an interval set's key: a Span, or the plain address of a /32 or /128."""
    if network.num_addresses == 1:
        return network.network_address
    return Span(network.network_address, network.broadcast_address)


def port_part(ports: PortRange) -> Part:
    """Ports as a part of an interval set's key: a Span, or the plain number of a single port."""
    return ports.first if ports.first == ports.last else Span(ports.first, ports.last)


def element_text(element: Element, *, data: bool = True) -> str:
    """An element as nft reads it after `add element inet atoll SET`: `{ tcp . 8080 : 172.17.0.2 . 80 }`.

    Without `data` only the key, as `delete element` takes it. A person types it in single quotes; interface
    names are in double quotes, as `nft list` prints them. Raises ValueError for an interface name that is not
    made of letters, digits, _ . -, as one that was found in the kernel may be.
    """
    kind = SETS[element.set]
    text = _parts_text(kind.parts, element.parts)
    if kind.data and data:
        text += f" : {_parts_text(kind.data, element.data)}"
    return f"{{ {text} }}"


def _parts_text(types: tuple[PartType, ...], parts: tuple[Part, ...]) -> str:
    return " . ".join(_part_text(kind, part) for kind, part in zip(types, parts, strict=True))


def _part_text(kind: PartType, part: Part) -> str:
    if isinstance(part, Span):
        return _span_text(kind, part)
    match kind:
        case PartType.IFNAME:
            # A quote or a brace here would be read as nft syntax.
            if not isinstance(part, str) or not _IFNAME.match(part):
                raise ValueError(f"interface name {part!r} can't stand in nft text")
            return f'"{part}"'
        case PartType.ETHER:
            if not isinstance(part, str) or not _MAC.match(part):
                raise ValueError(f"MAC address {part!r} can't stand in nft text")
            return part
        case PartType.TARGET:
            assert isinstance(part, IPAddress)
            return f"{int(part):#x}"
        case PartType.PROTOCOL:
            assert isinstance(part, int)
            return Protocol(part).word if part in Protocol.__members__.values() else str(part)
        case PartType.NFPROTO:
            assert isinstance(part, int)
            return next((f"ipv{family}" for family, value in NFPROTO.items() if value == part), str(part))
        case PartType.SERVICE:
            assert isinstance(part, int)
            return str(part)
        case PartType.IPV4 | PartType.IPV6:
            assert isinstance(part, IPAddress)
            return str(part)


def _span_text(kind: PartType, span: Span) -> str:
    first, last = span.first, span.last
    if isinstance(first, IPAddress):
        assert isinstance(last, IPAddress)
        prefixes = list(summarize_address_range(first, last))
        if len(prefixes) == 1:
            return str(prefixes[0])
    return f"{_part_text(kind, first)}-{_part_text(kind, last)}"
