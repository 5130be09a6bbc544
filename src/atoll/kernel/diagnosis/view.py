"""The whole look: links, addresses, routes, rules of others, sysctls, limits, managers, ports."""

import os
import resource
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from atoll.errors import AtollError
from atoll.kernel import inet, links, sysctl
from atoll.kernel.diagnosis.features import absent_features
from atoll.kernel.diagnosis.managers import read_managers
from atoll.kernel.diagnosis.rulesets import read_ruleset
from atoll.kernel.listeners import BoundSocket, holder_of, listeners
from atoll.kernel.look import LinkNames
from atoll.kernel.rtnetlink import RouteSocket
from atoll.model.addresses import Family
from atoll.model.hostview import (
    AddressView,
    HostView,
    LinkView,
    NeighbourTable,
    PortHolder,
    RouteView,
    Usage,
)
from atoll.model.items import OURS, ROUTE_PROTOCOL
from atoll.model.ports import PortBinding

_Found = TypeVar("_Found")

_BY_LINK = (
    "net/ipv4/conf/{}/forwarding",
    "net/ipv4/conf/{}/rp_filter",
    "net/ipv6/conf/{}/forwarding",
    "net/ipv6/conf/{}/accept_ra",
    "net/ipv6/conf/{}/disable_ipv6",
)
_OF_HOST = (
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
)
_NEIGHBOUR_FILES = {Family.V4: ("arp_cache", "ipv4"), Family.V6: ("ndisc_cache", "ipv6")}
_KERNEL_MADE = 2
"""RTPROT_KERNEL, linux/rtnetlink.h."""


def read_view(bindings: Sequence[PortBinding]) -> HostView:
    """Look at the host that the calling thread is in; `bindings` are the ports whose other holders are wanted.

    Takes some dozens of milliseconds, and processes. What can't be read is left out. Effects: none.
    """
    with RouteSocket() as socket:
        decoded = [links.decode_link(payload) for payload in socket.dump(links.all_links())]
        names = LinkNames(socket, decoded)
        ours = {link.index for link in decoded if link.alias.startswith(OURS)}
        routes = tuple(_routes(socket, names, ours))
        addresses = tuple(_addresses(socket, names, ours))
    seen = tuple(
        LinkView(link.ifname, link.index, link.mtu_bytes, link.kind, names.of(link.master), link.index in ours)
        for link in decoded
    )
    return HostView(
        links=seen,
        addresses=addresses,
        routes=routes,
        ruleset=read_ruleset(),
        sysctls=dict(_sysctls(seen)),
        neighbours=dict(_neighbour_tables()),
        absent=_or(absent_features, frozenset()),
        managers=read_managers({link.index: link.ifname for link in seen if link.ours}),
        listeners=_or(lambda: tuple(_others(bindings)), ()),
        tracked=_tracked(),
        open_files=Usage(len(os.listdir("/proc/self/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)[0]),  # noqa: PTH208
        pid=os.getpid(),
    )


def _or(read: Callable[[], _Found], otherwise: _Found) -> _Found:
    try:
        return read()
    except (AtollError, OSError):
        return otherwise


def _routes(socket: RouteSocket, names: LinkNames, ours: set[int]) -> Iterator[RouteView]:
    """Unicast routes of every table but for those of ours, and those that just say which addresses an interface has."""
    for family in Family:
        for payload in socket.dump(inet.routes(family)):
            route = inet.decode_route(payload)
            if route is None or not route.unicast or route.protocol == ROUTE_PROTOCOL or route.index in ours:
                continue
            own_prefix = route.protocol == _KERNEL_MADE and route.gateway is None
            if not own_prefix and not route.destination.is_link_local and not route.destination.is_multicast:
                yield RouteView(route.destination, names.of(route.index), route.gateway, route.metric, route.table)


def _addresses(socket: RouteSocket, names: LinkNames, ours: set[int]) -> Iterator[AddressView]:
    for payload in socket.dump(inet.addresses_of(0)):
        entry = inet.decode_address(payload)
        if entry is not None and entry.index not in ours and not entry.address.is_link_local:
            yield AddressView(names.of(entry.index), entry.address)


def _sysctls(seen: Iterable[LinkView]) -> Iterator[tuple[str, str]]:
    """Those of the host, of its own interfaces and of our bridges. A port of a bridge has nothing to decide."""
    conf = ("all", *(link.ifname for link in seen if not link.master))
    for path in (*_OF_HOST, *(pattern.format(name) for name in conf for pattern in _BY_LINK)):
        value = sysctl.read(path)
        if value is not None:
            yield path, value


def _neighbour_tables() -> Iterator[tuple[Family, NeighbourTable]]:
    """What the first namespace tells: in others the limit isn't shown."""
    for family, (file, word) in _NEIGHBOUR_FILES.items():
        limit = sysctl.read(f"net/{word}/neigh/default/gc_thresh3")
        try:
            head, *rows = Path(f"/proc/net/stat/{file}").read_text().splitlines()
        except (OSError, ValueError):
            continue
        if limit is not None and rows:
            columns = head.split()
            # Each row is a processor's; the number of entries is the same in all of them.
            values = [dict(zip(columns, (int(word, 16) for word in row.split()), strict=False)) for row in rows]
            overflows = sum(row.get("table_fulls", 0) for row in values)
            yield family, NeighbourTable(values[0].get("entries", 0), int(limit), overflows)


def _tracked() -> Usage:
    used, limit = (sysctl.read(f"net/netfilter/nf_conntrack_{name}") for name in ("count", "max"))
    return Usage(int(used or 0), int(limit or 0))


def _others(bindings: Sequence[PortBinding]) -> Iterator[PortHolder]:
    """Sockets that aren't this process's and stand where a binding does."""
    mine = set(_own_sockets())
    single: dict[int, list[PortBinding]] = defaultdict(list)
    ranges: list[PortBinding] = []
    for binding in bindings:
        (ranges if len(binding.host) > 1 else single[binding.host.first]).append(binding)
    for found in listeners() if bindings else ():
        near = (*single.get(found.port, ()), *ranges)
        if found.holding and found.inode not in mine and any(_meets(found, binding) for binding in near):
            yield PortHolder(found.protocol, found.address, found.port, holder_of(found.inode))


def _meets(found: BoundSocket, binding: PortBinding) -> bool:
    return (
        found.protocol is binding.protocol
        and binding.host.first <= found.port <= binding.host.last
        and found.covers(binding.host_address)
    )


def _own_sockets() -> Iterator[int]:
    for entry in os.scandir("/proc/self/fd"):
        try:
            target = os.readlink(entry.path)  # noqa: PTH115
        except OSError:
            continue
        if target.startswith("socket:["):
            yield int(target[8:-1])
