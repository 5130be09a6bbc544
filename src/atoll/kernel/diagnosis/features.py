"""Whether the kernel has what atoll stands on, found by trying in a namespace that is thrown away."""

import socket
import struct
import subprocess
from collections.abc import Mapping
from types import MappingProxyType

from atoll.kernel import netns, sysctl
from atoll.kernel.diagnosis.rulesets import PROGRAM_TIMEOUT_S
from atoll.kernel.nlmsg import ACK, DATAGRAM_BYTES_MAX, ERROR, REQUEST, attribute, message, messages
from atoll.kernel.rtnetlink import CREATE
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

_NETLINK_NETFILTER = 12
"""linux/netlink.h"""
_GENERIC = struct.Struct(">BBH")
"""struct nfgenmsg: family, version, resource id; linux/netfilter/nfnetlink.h, as are the next three."""
_NFTABLES, _BATCH_BEGIN, _BATCH_END = 10, 0x10, 0x11
_INET = 1
"""NFPROTO_INET, linux/netfilter.h"""
_TABLE_NAME, _TABLE_FLAGS, _OWNER, _PERSIST = 1, 2, 0x2, 0x4
"""NFTA_TABLE_*, NFT_TABLE_F_*, linux/netfilter/nf_tables.h; NFT_MSG_NEWTABLE is 0."""


def absent_features() -> frozenset[Feature]:
    """The features that this kernel refuses; one whose program isn't installed counts as there. Raises KernelError."""
    return netns.run_apart(_absent_here)


def _absent_here() -> frozenset[Feature]:
    absent = {feature for feature, command in _LINKS.items() if not _works(*command)}
    absent |= {feature for feature, script in _SCRIPTS.items() if not _works("nft", "-f", "-", stdin=script)}
    if not _owns_a_table():
        absent.add(Feature.OWNERSHIP)
    if sysctl.read("net/ipv6/conf/all/disable_ipv6") is None:
        absent.add(Feature.IPV6)
    return frozenset(absent)


def _owns_a_table() -> bool:
    """Make a table as ours is made: nft can't spell all of its flags."""
    table = attribute(_TABLE_NAME, b"try\0") + attribute(_TABLE_FLAGS, struct.pack(">I", _OWNER | _PERSIST))
    frames = (
        message(_BATCH_BEGIN, REQUEST, 1, _GENERIC.pack(0, 0, _NFTABLES)),
        message(_NFTABLES << 8, REQUEST | CREATE | ACK, 2, _GENERIC.pack(_INET, 0, 0) + table),
        message(_BATCH_END, REQUEST, 3, _GENERIC.pack(0, 0, _NFTABLES)),
    )
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as opened:
            opened.settimeout(PROGRAM_TIMEOUT_S)
            opened.send(b"".join(frames))
            answers = messages(opened.recv(DATAGRAM_BYTES_MAX))
    except OSError:
        return False
    return [answer.payload[:4] for answer in answers if answer.type == ERROR] == [bytes(4)]


def _works(*command: str, stdin: str = "") -> bool:
    try:
        done = subprocess.run(
            command, input=stdin.encode(), capture_output=True, timeout=PROGRAM_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode == 0
