"""Settings of interfaces, and who else sets them."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.remedies import set_sysctl
from atoll.doctor.snapshot import Snapshot
from atoll.model.addresses import Family

_NAMES = ("atoll0", "at-*", "av*")
_UNMANAGED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "NetworkManager": (
            r"printf '[keyfile]\nunmanaged-devices="
            + ";".join(f"interface-name:{name}" for name in _NAMES)
            + r"\n' >/etc/NetworkManager/conf.d/90-atoll.conf",
            "nmcli general reload",
        ),
        "systemd-networkd": (
            rf"printf '[Match]\nName={' '.join(_NAMES)}\n[Link]\nUnmanaged=yes\n' "
            ">/etc/systemd/network/05-atoll.network",
            "networkctl reload",
        ),
    }
)
_STRICT = 1
"""RFC 3704 strict mode, Documentation/networking/ip-sysctl: the larger of conf.all's and the interface's counts."""


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Managers that configure our interfaces; reverse path filters; router advertisements; IPv6 switched off."""
    for manager in snapshot.view.managers:
        if manager.ifnames:
            yield Finding(
                Severity.WARNING,
                Kind.MANAGER,
                manager.name,
                f"{manager.name} manages {', '.join(manager.ifnames)}",
                "it may take addresses away or take interfaces down, against which atoll repairs in vain",
                _UNMANAGED.get(manager.name, ()),
            )
    yield from _reverse_path(snapshot)
    yield from _advertisements(snapshot)
    yield from _bridges_without_ipv6(snapshot)


def _reverse_path(snapshot: Snapshot) -> Iterator[Finding]:
    """With one way out, what comes in there passes a strict check. With two, what comes in by the other doesn't."""
    first, *others = snapshot.uplinks(Family.V4) or [""]
    for ifname in others:
        values = (snapshot.view.sysctls.get(f"net/ipv4/conf/{name}/rp_filter", "0") for name in ("all", ifname))
        if max(int(value) for value in values) == _STRICT:
            yield Finding(
                Severity.WARNING,
                Kind.REVERSE_PATH,
                ifname,
                f"reverse path filtering is strict on {ifname}, and the preferred way out is {first}",
                f"published ports for clients that come in over {ifname} from behind a router",
                (set_sysctl(f"net/ipv4/conf/{ifname}/rp_filter", "2"),),
            )


def _advertisements(snapshot: Snapshot) -> Iterator[Finding]:
    forwards = snapshot.view.sysctls.get("net/ipv6/conf/all/forwarding", "0") != "0"
    for ifname in snapshot.facts.router_advertised if forwards else ():
        path = f"net/ipv6/conf/{ifname}/accept_ra"
        if snapshot.view.sysctls.get(path) == "1":
            yield Finding(
                Severity.WARNING,
                Kind.ADVERTISEMENTS,
                ifname,
                f"{ifname} has its default route from a router advertisement, forwards, and has accept_ra 1",
                "IPv6 of the whole host, as soon as that route expires: with forwarding on, only accept_ra 2 renews it",
                (set_sysctl(path, "2"),),
            )


def _bridges_without_ipv6(snapshot: Snapshot) -> Iterator[Finding]:
    for network, bridge in snapshot.bridges():
        path = f"net/ipv6/conf/{bridge}/disable_ipv6"
        if network.pool(Family.V6) is not None and snapshot.view.sysctls.get(path) == "1":
            yield Finding(
                Severity.ERROR,
                Kind.IPV6_DISABLED,
                bridge,
                f"IPv6 is switched off on {bridge}: disable_ipv6 is 1",
                f"IPv6 of network {network.name}",
                (set_sysctl(path, "0"),),
            )
