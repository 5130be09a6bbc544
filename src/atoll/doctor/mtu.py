"""Frames that are too large for the way they have to go."""

from collections.abc import Iterator

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.remedies import make_anew
from atoll.doctor.snapshot import Snapshot
from atoll.model.network import Network

_CLAMP = (
    "nft add table inet atoll-user",
    "nft add chain inet atoll-user forward '{ type filter hook forward priority mangle; }'",
    "nft add rule inet atoll-user forward tcp flags syn tcp option maxseg size set rt mtu",
)


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Uplinks that carry less than a network, and ports of a bridge that differ from it."""
    clamped = any(rule.clamps for chain in snapshot.view.ruleset.base_chains("forward") for rule in chain.rules)
    for network, bridge in snapshot.bridges():
        link = snapshot.link(bridge)
        if link is None:
            continue
        for ifname in sorted({name for pool in network.pools for name in snapshot.uplinks(pool.family)}):
            uplink = snapshot.link(ifname)
            if uplink is not None and uplink.mtu_bytes < link.mtu_bytes and not network.internal:
                yield _uplink(snapshot, network, (ifname, uplink.mtu_bytes), (bridge, link.mtu_bytes), clamped)
        yield from _ports(snapshot, network, bridge)


def _ports(snapshot: Snapshot, network: Network, bridge: str) -> Iterator[Finding]:
    """Ports with less, or more, than the network's own MTU: a bridge without one follows its smallest port."""
    ports = [link for link in snapshot.view.links if link.master == bridge]
    wanted = (network.bridge.mtu_bytes if network.bridge else 0) or max((port.mtu_bytes for port in ports), default=0)
    for port in ports:
        if port.mtu_bytes != wanted:
            yield Finding(
                Severity.WARNING,
                Kind.MTU,
                port.ifname,
                f"{port.ifname}, a port of bridge {bridge}, has an MTU of {port.mtu_bytes} bytes, "
                f"network {network.name} one of {wanted}",
                f"larger frames between containers of network {network.name} are dropped, and nobody is told",
                (f"ip link set dev {port.ifname} mtu {wanted}",),
            )


def _uplink(
    snapshot: Snapshot, network: Network, uplink: tuple[str, int], bridge: tuple[str, int], clamped: bool
) -> Finding:
    (ifname, mtu), (name, carried) = uplink, bridge
    breaks = "connections that stall where messages about the path's MTU (ICMP) are filtered"
    remedy = _CLAMP if network.predefined else make_anew(snapshot, network, mtu_bytes=mtu)
    return Finding(
        Severity.NOTE if clamped else Severity.WARNING,
        Kind.MTU,
        ifname,
        f"uplink {ifname} has an MTU of {mtu} bytes, network {network.name} ({name}) one of {carried}",
        "nothing of TCP, whose segments are clamped; large datagrams may be lost" if clamped else breaks,
        () if clamped else remedy,
    )
