"""Forwarding that is switched off, for the host or for one of its interfaces."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.remedies import set_sysctl
from atoll.doctor.snapshot import Snapshot
from atoll.model.addresses import Family

_HOST: Mapping[Family, str] = MappingProxyType(
    {Family.V4: "net/ipv4/ip_forward", Family.V6: "net/ipv6/conf/all/forwarding"}
)


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for each switch that is off, of a family that a network needs."""
    for family in snapshot.families():
        if snapshot.view.sysctls.get(_HOST[family], "1") == "0":
            yield _off(_HOST[family], f"all traffic of networks with IPv{family} through this host")
        elif family is Family.V4:
            # IPv6 asks only the host's switch, or conf.IF.force_forwarding where that is off.
            yield from _interfaces(snapshot)


def _interfaces(snapshot: Snapshot) -> Iterator[Finding]:
    uplinks = [(ifname, "what comes in from this uplink: answers, and published ports") for ifname in
               snapshot.uplinks(Family.V4)]  # fmt: skip
    bridges = [(ifname, f"the way out of network {network.name}") for network, ifname in snapshot.bridges()]
    for ifname, breaks in uplinks + bridges:
        path = f"net/ipv4/conf/{ifname}/forwarding"
        if snapshot.view.sysctls.get(path, "1") == "0":
            yield _off(path, breaks)


def _off(path: str, breaks: str) -> Finding:
    shown = path.removeprefix("net/").replace("/", ".")
    return Finding(
        Severity.ERROR, Kind.FORWARDING, shown, f"net.{shown} is 0: forwarding is off", breaks, (set_sysctl(path, "1"),)
    )
