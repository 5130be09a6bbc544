"""Subnets of networks that the host reaches, or believes to reach, somewhere else by now."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.remedies import make_anew
from atoll.doctor.snapshot import DEFAULT_LIKE_LENGTH_MAX, MAIN_TABLE, Snapshot
from atoll.model.addresses import Family, IPNetwork, family_of
from atoll.model.hostview import RouteView
from atoll.model.network import Network, Pool

_SPARE: dict[Family, tuple[IPNetwork, int]] = {
    Family.V4: (IPv4Network("10.192.0.0/10"), 24),
    Family.V6: (IPv6Network("fd61:746f:6c6c::/48"), 64),
}
"""Where a subnet to move to is looked for, and how long it is."""


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for each prefix of the host and network that overlap."""
    for network, bridge in snapshot.bridges():
        for pool in network.pools:
            for found in snapshot.view.addresses:
                if _overlap(pool.subnet, found.address.network):
                    yield Finding(
                        Severity.ERROR,
                        Kind.OVERLAP,
                        f"{pool.subnet} {found.ifname}",
                        f"interface {found.ifname} has address {found.address}, and network {network.name} "
                        f"({bridge}) has {pool.subnet}",
                        "hosts behind the interface and containers with addresses in both: one side is not reached",
                        _move(snapshot, network, pool, f"ip address del {found.address} dev {found.ifname}"),
                    )
            for route in snapshot.view.routes:
                if route.destination.prefixlen > DEFAULT_LIKE_LENGTH_MAX and _overlap(pool.subnet, route.destination):
                    yield _routed(snapshot, network, pool, route)


def _routed(snapshot: Snapshot, network: Network, pool: Pool, route: RouteView) -> Finding:
    # The longer prefix wins, and another table may be asked before main.
    loses = route.table == MAIN_TABLE and route.destination.prefixlen <= pool.subnet.prefixlen
    via = f" via {route.gateway}" if route.gateway else ""
    table = "" if route.table == MAIN_TABLE else f" table {route.table}"
    text = f"{route.destination}{via} dev {route.ifname}{table}"
    return Finding(
        Severity.WARNING if loses else Severity.ERROR,
        Kind.OVERLAP,
        f"{pool.subnet} {route.ifname}",
        f"route {text}, and network {network.name} has {pool.subnet}",
        f"hosts behind {route.ifname} with addresses in {pool.subnet} are not reached any more"
        if loses
        else f"containers of network {network.name} with addresses in {route.destination}: packets for them go to "
        f"{route.ifname}",
        _move(snapshot, network, pool, f"ip route del {text}"),
    )


def _move(snapshot: Snapshot, network: Network, pool: Pool, away: str) -> tuple[str, ...]:
    """Move the network; the default one can't be, so there it is the host's side that has to go."""
    if network.predefined:
        return (away,)
    return make_anew(snapshot, network, moved={pool.family: _free_subnet(snapshot, pool.family)})


def _free_subnet(snapshot: Snapshot, family: Family) -> IPNetwork:
    base, length = _SPARE[family]
    taken = [pool.subnet for network, _ in snapshot.bridges() for pool in network.pools]
    taken += [found.address.network for found in snapshot.view.addresses]
    taken += [r.destination for r in snapshot.view.routes if r.destination.prefixlen > DEFAULT_LIKE_LENGTH_MAX]
    free = (subnet for subnet in base.subnets(new_prefix=length) if not any(_overlap(subnet, t) for t in taken))
    return next(free, base)


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return family_of(one) is family_of(other) and one.overlaps(other)
