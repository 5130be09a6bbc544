"""Whether the kernel has what atoll stands on, found by trying in a namespace that is thrown away."""

import subprocess
from collections.abc import Mapping
from types import MappingProxyType

from atoll.kernel import netns, sysctl
from atoll.kernel.diagnosis.rulesets import PROGRAM_TIMEOUT_S
from atoll.model.hostview import Feature

_SCRIPTS: Mapping[Feature, str] = MappingProxyType(
    {
        Feature.NFTABLES: "table inet one { chain c { type filter hook forward priority 0; counter accept; }; }",
        Feature.CONNTRACK: "table inet two { chain c { type filter hook forward priority 0; ct state new accept; }; }",
        Feature.NAT: "table inet three { chain c { type nat hook postrouting priority 0; masquerade; }; }",
        Feature.FIB: "table inet four { chain c { type nat hook prerouting priority 0; fib daddr type local drop; }; }",
        Feature.INTERVALS: "table inet five { map m { type ipv4_addr . inet_service : ipv4_addr; flags interval; "
        "elements = { 0.0.0.0/0 . 1-9 : 192.0.2.1 }; }; }",
    }
)
_LINKS: Mapping[Feature, tuple[str, ...]] = MappingProxyType(
    {
        Feature.BRIDGE: ("ip", "link", "add", "try0", "type", "bridge"),
        Feature.VETH: ("ip", "link", "add", "try1", "type", "veth", "peer", "name", "try2"),
    }
)


def absent_features() -> frozenset[Feature]:
    """The features that this kernel refuses; one whose program isn't installed counts as there. Raises KernelError."""
    return netns.run_apart(_absent_here)


def _absent_here() -> frozenset[Feature]:
    absent = {feature for feature, command in _LINKS.items() if not _works(*command)}
    absent |= {feature for feature, script in _SCRIPTS.items() if not _works("nft", "-f", "-", stdin=script)}
    if sysctl.read("net/ipv6/conf/all/disable_ipv6") is None:
        absent.add(Feature.IPV6)
    return frozenset(absent)


def _works(*command: str, stdin: str = "") -> bool:
    try:
        done = subprocess.run(
            command, input=stdin.encode(), capture_output=True, timeout=PROGRAM_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode == 0
