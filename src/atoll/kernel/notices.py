"""Netlink notifications turned into notices: one value for all that can happen to what we made.

Law: pure; bytes in, values out. Fields are read by struct, only those that a reader can use.
Source: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/neighbour.h, linux/netfilter/nf_tables.h.
"""

import socket
import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from ipaddress import ip_address
from types import MappingProxyType

from atoll.kernel.nlmsg import HEADER, Message, attributes, picked, text


class Subject(StrEnum):
    """What a notice is about."""

    LINK = "link"
    ADDRESS = "address"
    ROUTE = "route"
    NEIGHBOUR = "neighbour"
    NETNS = "netns"
    RULES = "rules"


class Event(StrEnum):
    """NEW: made or changed. DEL: gone."""

    NEW = "new"
    DEL = "del"


@dataclass(frozen=True, slots=True)
class Notice:
    """One change in a network namespace. Fields that the kernel doesn't tell are empty or 0.

    `nsid`: the namespace's id as the monitor's namespace numbers it, None for that one itself; of
    NETNS it is the namespace that got or lost its number. `own`: one of ours asked for it; the
    kernel tells who only of some changes, so False proves nothing. `address` is `10.0.0.1/24` for
    an ADDRESS, `10.0.0.0/24` or `default` for a ROUTE, `10.0.0.1` for a NEIGHBOUR. `alias` comes with
    a LINK.

    RULES come once for each table and transaction: `table` is `inet filter`, DEL when anything of it
    was taken away. `pid` and `process` are the thread that did it, as the first pid namespace numbers it.
    """

    subject: Subject
    event: Event
    nsid: int | None = None
    own: bool = False
    ifindex: int = 0
    ifname: str = ""
    alias: str = ""
    address: str = ""
    table: str = ""
    pid: int = 0
    process: str = ""


class _Kind(IntEnum):
    """RTM_* of the notifications that are read."""

    NEWLINK = 16
    DELLINK = 17
    NEWADDR = 20
    DELADDR = 21
    NEWROUTE = 24
    DELROUTE = 25
    NEWNEIGH = 28
    DELNEIGH = 29
    NEWNSID = 88
    DELNSID = 89


_DELETIONS = frozenset({_Kind.DELLINK, _Kind.DELADDR, _Kind.DELROUTE, _Kind.DELNEIGH, _Kind.DELNSID})

_IFINFOMSG = struct.Struct("=BxHiII")
_IFADDRMSG = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")
_RTGENMSG_BYTES = 4
_IFLA_IFNAME, _IFLA_IFALIAS = 3, 20
_LINK_TEXTS = frozenset({_IFLA_IFNAME, _IFLA_IFALIAS})
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL = 1, 2, 3
_RTA_DST, _RTA_OIF = 1, 4
_NDA_DST = 1
_NETNSA_NSID = 1
_S32 = struct.Struct("=i")

_SUBSYSTEM_NFTABLES = 10
"""NFNL_SUBSYS_NFTABLES, the upper byte of the message type."""
_NFGENMSG = struct.Struct("=BBH")
_NEWGEN = 15
_REMOVALS = frozenset({2, 5, 8, 11, 14, 20, 24})
"""NFT_MSG_DELTABLE, DELCHAIN, DELRULE, DELSET, DELSETELEM, DELOBJ, DELFLOWTABLE."""
_NFTA_TABLE = 1
"""Whatever the object, attribute 1 is the name of its table."""
_GEN_PROC_PID, _GEN_PROC_NAME = 2, 3
_BE32 = struct.Struct(">I")
_FAMILY_NAMES = MappingProxyType({1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"})


def link_told_of(datagram: bytes) -> bytes | None:
    """Which link the datagram tells the state of, and nothing else: of several only the last matters."""
    if len(datagram) < HEADER.size + _IFINFOMSG.size:
        return None
    length, kind, *_ = HEADER.unpack_from(datagram)
    if kind != _Kind.NEWLINK or length + 3 & ~3 < len(datagram):
        return None
    return datagram[HEADER.size : HEADER.size + 8]  # family, hardware type, index


def decode_route(part: Message, nsid: int | None, *, own: bool) -> Notice | None:
    """The notice of one rtnetlink message; None for a kind that is not read, or one that is cut off."""
    try:
        event = Event.DEL if part.type in _DELETIONS else Event.NEW
        match part.type:
            case _Kind.NEWLINK | _Kind.DELLINK:
                return _link(part.payload, event, nsid, own)
            case _Kind.NEWADDR | _Kind.DELADDR:
                return _address(part.payload, event, nsid, own)
            case _Kind.NEWROUTE | _Kind.DELROUTE:
                return _route(part.payload, event, nsid, own)
            case _Kind.NEWNEIGH | _Kind.DELNEIGH:
                return _neighbour(part.payload, event, nsid, own)
            case _Kind.NEWNSID | _Kind.DELNSID if nsid is None:
                return _netns(part.payload, event, own)
    except (struct.error, ValueError):
        pass
    return None


class Transactions:
    """nftables messages gathered until the transaction that they are of is told: it says who made it."""

    def __init__(self) -> None:
        self._touched: dict[int | None, dict[str, bool]] = {}
        """By namespace and table: whether something was taken away."""

    def forget(self) -> None:
        """Messages were lost: what is gathered can't be completed."""
        self._touched.clear()

    def feed(self, part: Message, nsid: int | None, *, own: bool) -> list[Notice]:
        """Take one message; the notices of a transaction when that was its last."""
        if part.type >> 8 != _SUBSYSTEM_NFTABLES or len(part.payload) < _NFGENMSG.size:
            return []
        found = attributes(part.payload, _NFGENMSG.size)
        kind = part.type & 0xFF
        if kind != _NEWGEN:
            family = part.payload[0]
            table = f"{_FAMILY_NAMES.get(family, family)} {text(found.get(_NFTA_TABLE, b''))}"
            touched = self._touched.setdefault(nsid, {})
            touched[table] = touched.get(table, False) or kind in _REMOVALS
            return []
        pid = _BE32.unpack(found[_GEN_PROC_PID])[0] if _GEN_PROC_PID in found else 0
        process = text(found.get(_GEN_PROC_NAME, b""))
        return [
            Notice(
                Subject.RULES,
                Event.DEL if removed else Event.NEW,
                nsid,
                own,
                table=table,
                pid=pid,
                process=process,
            )
            for table, removed in self._touched.pop(nsid, {}).items()
        ]


def _link(payload: bytes, event: Event, nsid: int | None, own: bool) -> Notice:
    family, _, ifindex, _, _ = _IFINFOMSG.unpack_from(payload)
    if family == socket.AF_BRIDGE:
        event = Event.NEW  # DELLINK of this family: the link left its bridge
    found = picked(payload, _IFINFOMSG.size, _LINK_TEXTS, len(_LINK_TEXTS))
    return Notice(
        Subject.LINK,
        event,
        nsid,
        own,
        ifindex=ifindex,
        ifname=text(found.get(_IFLA_IFNAME, b"")),
        alias=text(found.get(_IFLA_IFALIAS, b"")),
    )


def _address(payload: bytes, event: Event, nsid: int | None, own: bool) -> Notice:
    _, length, _, _, ifindex = _IFADDRMSG.unpack_from(payload)
    found = attributes(payload, _IFADDRMSG.size)
    # On a point-to-point link IFA_ADDRESS is the other end; IPv6 has IFA_LOCAL only there.
    address = ip_address(found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b""))
    ifname = text(found.get(_IFA_LABEL, b""))
    return Notice(Subject.ADDRESS, event, nsid, own, ifindex, ifname, address=f"{address}/{length}")


def _route(payload: bytes, event: Event, nsid: int | None, own: bool) -> Notice:
    length = _RTMSG.unpack_from(payload)[1]
    found = attributes(payload, _RTMSG.size)
    destination = f"{ip_address(found[_RTA_DST])}/{length}" if _RTA_DST in found else "default"
    ifindex = _S32.unpack(found[_RTA_OIF])[0] if _RTA_OIF in found else 0
    return Notice(Subject.ROUTE, event, nsid, own, ifindex, address=destination)


def _neighbour(payload: bytes, event: Event, nsid: int | None, own: bool) -> Notice:
    ifindex = _NDMSG.unpack_from(payload)[1]
    address = ip_address(attributes(payload, _NDMSG.size).get(_NDA_DST, b""))
    return Notice(Subject.NEIGHBOUR, event, nsid, own, ifindex, address=str(address))


def _netns(payload: bytes, event: Event, own: bool) -> Notice:
    nsid = _S32.unpack(attributes(payload, _RTGENMSG_BYTES).get(_NETNSA_NSID, b""))[0]
    return Notice(Subject.NETNS, event, nsid, own)
