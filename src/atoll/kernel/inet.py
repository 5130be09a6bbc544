"""Addresses, routes and neighbours as rtnetlink messages.

Law: pure codec; every function returns a request, or decodes one payload. Links are named by their index.

Everything we add carries our protocol number: routes since ever, neighbours since Linux 4.20 and
addresses since 5.18. That, and not the link it is on, says that a thing is ours.

Source: linux/rtnetlink.h, linux/if_addr.h, linux/neighbour.h.
"""

import ipaddress
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from atoll.kernel.nlmsg import attribute, attributes
from atoll.kernel.rtnetlink import APPEND, CREATE, EXCL, REPLACE, Request
from atoll.model.addresses import Family, IPAddress, IPInterface, IPNetwork, family_of
from atoll.model.items import ROUTE_PROTOCOL, Address, Neighbour, Route

_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWNEIGH, _DELNEIGH, _GETNEIGH = 28, 29, 30
_GETNSID = 90
"""RTM_*"""

_IFADDR = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
_ROUTE = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, destination and source length, tos, table, protocol, scope, type, flags."""
_NEIGH = struct.Struct("=BxxxiHBB")
"""struct ndmsg: family, index, state, flags, type."""
_NSID = struct.Struct("=Bxxx")
"""struct rtgenmsg, padded."""
_U8, _U32, _I32 = struct.Struct("=B"), struct.Struct("=I"), struct.Struct("=i")

_FAMILIES: Mapping[Family, int] = MappingProxyType({Family.V4: 2, Family.V6: 10})
"""AF_INET, AF_INET6"""
_VERSIONS: Mapping[int, Family] = MappingProxyType({number: family for family, number in _FAMILIES.items()})

_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_PROTO = 1, 2, 4, 11
_NODAD = 0x02
"""IFA_F_NODAD: no duplicate address detection, so usable at once."""
_BROADCAST_PREFIX_MAX = 30
"""Longer IPv4 prefixes have no broadcast address, RFC 3021."""

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_TABLE = 1, 4, 5, 6, 15
_TABLE_MAIN, _TABLE_LOCAL = 254, 255
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_HOST, _SCOPE_NOWHERE = 0, 253, 254, 255
_UNICAST, _LOCAL = 1, 2
"""RTN_UNICAST, RTN_LOCAL"""
_METRIC_V6_DEFAULT = 1024
"""IP6_RT_PRIO_USER, net/ip6_route.h: what metric 0 becomes."""

_NDA_DST, _NDA_LLADDR, _NDA_PROTOCOL = 1, 2, 12
_PERMANENT = 0x80
"""NUD_PERMANENT"""
_NETNSA_NSID, _NETNSA_FD = 1, 3
_NSID_NONE = -1
"""NETNSA_NSID_NOT_ASSIGNED"""


@dataclass(frozen=True, slots=True)
class AddressEntry:
    """One address of a link; `ours` when we made it."""

    index: int
    address: IPInterface
    ours: bool


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One route. `gateway` None: on-link; `index` 0: not over one link. `metric` is in the kernel's words."""

    destination: IPNetwork
    index: int
    gateway: IPAddress | None
    metric: int
    table: int
    protocol: int
    type: int

    @property
    def local(self) -> bool:
        """True of type local in table local."""
        return self.type == _LOCAL and self.table == _TABLE_LOCAL

    @property
    def unicast(self) -> bool:
        """True of type unicast, in any table."""
        return self.type == _UNICAST

    @property
    def main(self) -> bool:
        """True of a unicast route of the main table."""
        return self.unicast and self.table == _TABLE_MAIN

    @property
    def default(self) -> bool:
        """True of a route to everywhere of the main table, whatever its type."""
        return self.table == _TABLE_MAIN and self.destination.prefixlen == 0


@dataclass(frozen=True, slots=True)
class NeighbourEntry:
    """One neighbour; `ours` when we made it."""

    index: int
    address: IPAddress
    mac: str
    permanent: bool
    ours: bool


def add_address(item: Address, index: int) -> Request:
    """Add the address, or make the one that is there like it."""
    return Request(_NEWADDR, _address(item, index) + attribute(_IFA_PROTO, _U8.pack(ROUTE_PROTOCOL)), CREATE | REPLACE)


def delete_address(item: Address, index: int) -> Request:
    """Remove the address. EADDRNOTAVAIL: it was gone."""
    return Request(_DELADDR, _address(item, index))


def _address(item: Address, index: int) -> bytes:
    address = item.address
    family = family_of(address)
    body = _IFADDR.pack(_FAMILIES[family], address.network.prefixlen, _NODAD if family is Family.V6 else 0, 0, index)
    body += attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
    if family is Family.V4 and address.network.prefixlen <= _BROADCAST_PREFIX_MAX:
        body += attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
    return body


def addresses_of(index: int) -> Request:
    """Dump the addresses of a link, of all links when it is 0."""
    return Request(_GETADDR, _IFADDR.pack(0, 0, 0, 0, index))


def decode_address(payload: bytes) -> AddressEntry | None:
    """The address of an RTM_NEWADDR payload; None of another family."""
    number, length, _flags, _scope, index = _IFADDR.unpack_from(payload)
    found = attributes(payload, _IFADDR.size)
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if number not in _VERSIONS or packed is None:
        return None
    ours = found.get(_IFA_PROTO) == bytes([ROUTE_PROTOCOL])
    return AddressEntry(index, ipaddress.ip_interface((packed, length)), ours)


def add_route(item: Route, index: int) -> Request:
    """Add the route. EEXIST: one to the same destination, of the same metric and table, is there.

    Local ones may be there on several links, and EEXIST means the same one.
    """
    return Request(_NEWROUTE, _route(item, index), CREATE | (APPEND if item.local else EXCL))


def change_route(item: Route, index: int) -> Request:
    """Add the route, or put it in the place of the one with its destination and metric."""
    return Request(_NEWROUTE, _route(item, index), CREATE | REPLACE)


def delete_route(item: Route, index: int) -> Request:
    """Remove the route, if it is ours. ESRCH: it was gone."""
    return Request(_DELROUTE, _route(item, index, scope=_SCOPE_NOWHERE))


def _route(item: Route, index: int, *, scope: int | None = None) -> bytes:
    family = family_of(item.destination)
    if scope is None:
        scope = _SCOPE_HOST if item.local else _SCOPE_UNIVERSE if item.gateway else _SCOPE_LINK
    metric = wire_metric(item)
    parts = [
        _ROUTE.pack(
            _FAMILIES[family],
            item.destination.prefixlen,
            0,
            0,
            _TABLE_LOCAL if item.local else _TABLE_MAIN,
            ROUTE_PROTOCOL,
            scope,
            _LOCAL if item.local else _UNICAST,
            0,
        )
    ]
    if item.destination.prefixlen:
        parts.append(attribute(_RTA_DST, item.destination.network_address.packed))
    if item.gateway is not None:
        parts.append(attribute(_RTA_GATEWAY, item.gateway.packed))
    parts.append(attribute(_RTA_OIF, _U32.pack(index)))
    if metric:
        parts.append(attribute(_RTA_PRIORITY, _U32.pack(metric)))
    return b"".join(parts)


def wire_metric(item: Route) -> int:
    """The metric as the kernel tells it."""
    if family_of(item.destination) is Family.V6 and item.metric == 0:
        return _METRIC_V6_DEFAULT
    return item.metric


def model_metric(family: Family, metric: int) -> int:
    """A metric of the kernel's as an item has it, where 0 means the default."""
    return 0 if family is Family.V6 and metric == _METRIC_V6_DEFAULT else metric


def routes(family: Family, *, protocol: int = 0) -> Request:
    """Dump routes of every table; with `protocol` only its own."""
    return Request(_GETROUTE, _ROUTE.pack(_FAMILIES[family], 0, 0, 0, 0, protocol, 0, 0, 0))


def decode_route(payload: bytes) -> RouteEntry | None:
    """The route of an RTM_NEWROUTE payload; None of another family."""
    number, length, _source, _tos, table, protocol, _scope, kind, _flags = _ROUTE.unpack_from(payload)
    if number not in _VERSIONS:
        return None
    family = _VERSIONS[number]
    found = attributes(payload, _ROUTE.size)
    destination = found.get(_RTA_DST, family.unspecified.packed)
    gateway = found.get(_RTA_GATEWAY)
    return RouteEntry(
        ipaddress.ip_network((destination, length)),
        _number(found.get(_RTA_OIF)),
        ipaddress.ip_address(gateway) if gateway else None,
        _number(found.get(_RTA_PRIORITY)),
        _number(found.get(_RTA_TABLE)) or table,
        protocol,
        kind,
    )


def _number(value: bytes | None) -> int:
    return int(_U32.unpack(value)[0]) if value is not None else 0


def add_neighbour(item: Neighbour, index: int) -> Request:
    """Add the permanent neighbour, in the place of one that the kernel has learned or was told before."""
    parts = attribute(_NDA_LLADDR, bytes.fromhex(item.mac.replace(":", "")))
    parts += attribute(_NDA_PROTOCOL, _U8.pack(ROUTE_PROTOCOL))
    return Request(_NEWNEIGH, _neighbour(item.address, index, _PERMANENT) + parts, CREATE | REPLACE)


def delete_neighbour(item: Neighbour, index: int) -> Request:
    """Remove the neighbour. ENOENT: it was gone."""
    return Request(_DELNEIGH, _neighbour(item.address, index, 0))


def get_neighbour(address: IPAddress, index: int) -> Request:
    """Ask for one neighbour."""
    return Request(_GETNEIGH, _neighbour(address, index, 0))


def neighbours(family: Family) -> Request:
    """Dump all neighbours of a family."""
    return Request(_GETNEIGH, _NEIGH.pack(_FAMILIES[family], 0, 0, 0, 0))


def _neighbour(address: IPAddress, index: int, state: int) -> bytes:
    return _NEIGH.pack(_FAMILIES[family_of(address)], index, state, 0, 0) + attribute(_NDA_DST, address.packed)


def decode_neighbour(payload: bytes) -> NeighbourEntry | None:
    """The neighbour of an RTM_NEWNEIGH payload; None of another family."""
    number, index, state, _flags, _type = _NEIGH.unpack_from(payload)
    found = attributes(payload, _NEIGH.size)
    if number not in _VERSIONS or _NDA_DST not in found:
        return None
    ours = found.get(_NDA_PROTOCOL) == bytes([ROUTE_PROTOCOL])
    mac = found.get(_NDA_LLADDR, b"").hex(":")
    return NeighbourEntry(index, ipaddress.ip_address(found[_NDA_DST]), mac, bool(state & _PERMANENT), ours)


def get_nsid(descriptor: int) -> Request:
    """Ask by which number the socket's namespace knows the one of this descriptor."""
    return Request(_GETNSID, _NSID.pack(0) + attribute(_NETNSA_FD, _U32.pack(descriptor)))


def decode_nsid(payload: bytes) -> int | None:
    """The number of an RTM_NEWNSID payload; None when it has none: no link leads there."""
    value = attributes(payload, _NSID.size).get(_NETNSA_NSID)
    nsid = int(_I32.unpack(value)[0]) if value is not None else _NSID_NONE
    return None if nsid == _NSID_NONE else nsid
