"""Links as rtnetlink messages: bridges, veth pairs and their ends.

Law: pure codec; every function returns requests, or decodes one payload.

Source: linux/if_link.h (attributes), linux/rtnetlink.h (struct ifinfomsg, RTM_*), linux/if.h.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from atoll.kernel.nlmsg import NESTED, attribute, attributes, picked, text
from atoll.kernel.rtnetlink import CREATE, EXCL, REPLACE, Request
from atoll.model.items import Bridge, Interface, Joint, Veth
from atoll.model.options import MTU_MIN_V6_BYTES

GONE_ALIAS = "atoll:gone"
"""Alias of a detached link that waits to be deleted."""
GONE_GROUP = 0xA701
"""Link group of detached veths: one message deletes them all, and waits for the kernel as for one. Bridges have
nothing of that: br_multicast_dev_del waits for each by itself (rcu_barrier)."""

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_IFINFO = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, hardware type, index, flags, which flags to change."""
_U8, _U16, _U32 = struct.Struct("=B"), struct.Struct("=H"), struct.Struct("=I")
_I32 = struct.Struct("=i")
_IFF_UP = 0x1
_AF_BRIDGE, _AF_INET6 = 7, 10

_NEWNEIGH, _NDA_LLADDR, _NUD_REACHABLE, _NTF_MASTER, _NTF_EXT_LEARNED = 28, 2, 0x02, 0x04, 0x10
"""Of an entry in the forwarding table of a port's bridge that others have learned for it, and that doesn't age;
linux/neighbour.h. A static one would make the kernel walk all ports."""
_NDMSG = struct.Struct("=BxxxiHBB")
"""struct ndmsg: family, index, state, flags, type."""

_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _IFALIAS = 1, 3, 4, 5, 10, 18, 20
_AF_SPEC, _GROUP, _NET_NS_FD, _EXT_MASK, _LINK_NETNSID, _TARGET_NETNSID = 26, 27, 28, 29, 37, 46
"""IFLA_*"""
_COMPARED = frozenset({_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _IFALIAS, _GROUP, _LINK_NETNSID})
_KIND, _DATA, _SLAVE_DATA = 1, 2, 5
"""IFLA_INFO_*"""
_VETH_PEER = 1
"""VETH_INFO_PEER"""
_BRIDGE_FORWARD_DELAY, _BRIDGE_STP, _BRIDGE_SNOOPING, _BRIDGE_OPTIONS = 1, 5, 23, 46
"""IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BR_MCAST_SNOOPING, IFLA_BR_MULTI_BOOLOPT"""
_NO_LINK_LOCAL_LEARNING = struct.pack("=II", 1, 1)
"""struct br_boolopt_multi with BR_BOOLOPT_NO_LL_LEARN: value, mask; linux/if_bridge.h."""
_PORT_HAIRPIN, _PORT_ISOLATED = 4, 33
"""IFLA_BRPORT_MODE, _ISOLATED"""
_ADDR_GEN_MODE, _ADDR_GEN_NONE = 8, 1
"""IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE"""
_SKIP_STATISTICS = attribute(_EXT_MASK, _U32.pack(1 << 3))
"""RTEXT_FILTER_SKIP_STATS"""


@dataclass(frozen=True, slots=True)
class Link:
    """What we compare of a link.

    `master` is 0 without one; `peer_index` is IFLA_LINK, `peer_nsid` None when the peer is in the same
    namespace. `hairpin` and `isolated` are a bridge port's flags.
    """

    index: int
    ifname: str
    up: bool = False
    mac: str = ""
    mtu_bytes: int = 0
    alias: str = ""
    group: int = 0
    kind: str = ""
    master: int = 0
    peer_index: int = 0
    peer_nsid: int | None = None
    hairpin: bool = False
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """Indexes of the two ends of a joint, or of their bridges."""

    near: int
    far: int


def decode_link(payload: bytes) -> Link:
    """The link of an RTM_NEWLINK payload."""
    _family, _type, index, flags, _change = _IFINFO.unpack_from(payload)
    found = picked(payload, _IFINFO.size, _COMPARED, len(_COMPARED))
    info = attributes(found.get(_LINKINFO, b""))
    port = attributes(info.get(_SLAVE_DATA, b""))
    return Link(
        index,
        text(found.get(_IFNAME, b"")),
        up=bool(flags & _IFF_UP),
        mac=found.get(_ADDRESS, b"").hex(":"),
        mtu_bytes=_number(_U32, found.get(_MTU)),
        alias=text(found.get(_IFALIAS, b"")),
        group=_number(_U32, found.get(_GROUP)),
        kind=text(info.get(_KIND, b"")),
        master=_number(_U32, found.get(_MASTER)),
        peer_index=_number(_U32, found.get(_LINK)),
        peer_nsid=_I32.unpack(found[_LINK_NETNSID])[0] if _LINK_NETNSID in found else None,
        hairpin=bool(_number(_U8, port.get(_PORT_HAIRPIN))),
        isolated=bool(_number(_U8, port.get(_PORT_ISOLATED))),
    )


def _number(form: struct.Struct, value: bytes | None) -> int:
    return int(form.unpack(value)[0]) if value is not None and len(value) == form.size else 0


def get_by_name(ifname: str) -> Request:
    """Ask for one link."""
    return Request(_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0) + _name(ifname) + _SKIP_STATISTICS)


def get_by_index(index: int, *, nsid: int | None = None) -> Request:
    """Ask for one link, of the namespace that the socket's own namespace knows by `nsid`."""
    target = attribute(_TARGET_NETNSID, _I32.pack(nsid)) if nsid is not None else b""
    return Request(_GETLINK, _IFINFO.pack(0, 0, index, 0, 0) + _SKIP_STATISTICS + target)


def all_links() -> Request:
    """Dump every link."""
    return Request(_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0) + _SKIP_STATISTICS)


def add_bridge(item: Bridge, index: int) -> tuple[Request, ...]:
    """Make the bridge with this index, so that what follows names it before it is there.

    The alias can't be set on creation; sent in one datagram no one sees, or leaves, a bridge without.
    """
    data = attribute(_BRIDGE_FORWARD_DELAY, _U32.pack(0)) + attribute(_BRIDGE_STP, _U32.pack(0))
    # With it a querier would decide who hears a group, by reports that don't get here: see bridge.nft.
    data += attribute(_BRIDGE_SNOOPING, _U8.pack(0))
    # A frame to 01:80:c2:00:00:0e meets no rule, and would teach the bridge a MAC that isn't its sender's.
    data += attribute(_BRIDGE_OPTIONS, _NO_LINK_LOCAL_LEARNING)
    info = attribute(_LINKINFO | NESTED, attribute(_KIND, b"bridge\0"), attribute(_DATA | NESTED, data))
    body = _IFINFO.pack(0, 0, index, 0, 0) + _name(item.ifname) + _mac(item.mac) + info
    # An MTU given on creation would follow the ports'; one that is set later stays (BROPT_MTU_SET_BY_USER).
    parts = (_mtu(item.mtu_bytes), _alias(item.alias))
    return (Request(_NEWLINK, body, CREATE | EXCL), _set(index, up=True, parts=parts))


def change_bridge(item: Bridge, there: Link) -> tuple[Request, ...]:
    """Make a bridge that is there as it should be."""
    # Setting a MAC, even to what it is, makes the kernel forget the neighbours on that link.
    mac = b"" if there.mac == item.mac else _mac(item.mac)
    return (_set(there.index, up=True, parts=(mac, _mtu(item.mtu_bytes))),)


def add_veth(item: Veth, index: int, *, bridge: int, netns: int, ipv6: bool) -> tuple[Request, ...]:
    """Make the pair with this index on the host, the peer inside the namespace of descriptor `netns`.

    It goes up last, as a port whose flags are set. `ipv6`: the kernel has IPv6, whose addresses the
    host's end must not make for itself.
    """
    peer = _IFINFO.pack(0, 0, 0, 0, 0) + _name(item.peer_ifname) + _mac(item.peer_mac) + _mtu(item.mtu_bytes)
    peer += attribute(_NET_NS_FD, _U32.pack(netns))
    info = attribute(_KIND, b"veth\0") + attribute(_DATA | NESTED, attribute(_VETH_PEER | NESTED, peer))
    body = _IFINFO.pack(0, 0, index, 0, 0) + _name(item.ifname) + _mtu(item.mtu_bytes)
    body += attribute(_MASTER, _U32.pack(bridge)) + attribute(_LINKINFO | NESTED, info)
    return (Request(_NEWLINK, body, CREATE | EXCL), _veth_port(item, index, ipv6=ipv6), _behind(item.peer_mac, index))


def change_veth(item: Veth, index: int, *, bridge: int, ipv6: bool) -> tuple[Request, ...]:
    """Make the host's end of a pair that is there as it should be; the inner end is an Interface's business."""
    # The port's flags are set after it has its master, as a new port starts with the default ones.
    moved = _set(index, parts=(attribute(_MASTER, _U32.pack(bridge)), _mtu(item.mtu_bytes)))
    return (moved, _veth_port(item, index, ipv6=ipv6), _behind(item.peer_mac, index))


def add_joint(item: Joint, indexes: Joined, bridges: Joined, *, ipv6: bool) -> tuple[Request, ...]:
    """Make the pair with these indexes, each end a port of its bridge. `ipv6` as for `add_veth`."""
    peer = _IFINFO.pack(0, 0, indexes.far, 0, 0) + _name(item.far_ifname) + _mtu(item.mtu_bytes)
    info = attribute(_KIND, b"veth\0") + attribute(_DATA | NESTED, attribute(_VETH_PEER | NESTED, peer))
    body = _IFINFO.pack(0, 0, indexes.near, 0, 0) + _name(item.ifname) + _mtu(item.mtu_bytes)
    body += attribute(_LINKINFO | NESTED, info)
    return (Request(_NEWLINK, body, CREATE | EXCL), *change_joint(item, indexes, bridges, ipv6=ipv6))


def change_joint(item: Joint, indexes: Joined, bridges: Joined, *, ipv6: bool) -> tuple[Request, ...]:
    """Make both ends of a pair that is there as they should be."""
    near, far = (
        _set(index, parts=(attribute(_MASTER, _U32.pack(bridge)), _mtu(item.mtu_bytes)))
        for index, bridge in ((indexes.near, bridges.near), (indexes.far, bridges.far))
    )
    ipv6 = ipv6 and _allows_ipv6(item.mtu_bytes)
    near_port = _port(indexes.near, item.alias, isolated=item.isolated, hairpin=False, ipv6=ipv6)
    far_port = _port(indexes.far, item.far_alias, isolated=False, hairpin=False, ipv6=ipv6)
    return (near, near_port, far, far_port)


def _behind(mac: str, index: int) -> Request:
    """Have the bridge know whose MAC is at a port: it would send the first frames for it to all of them."""
    entry = _NDMSG.pack(_AF_BRIDGE, index, _NUD_REACHABLE, _NTF_MASTER | _NTF_EXT_LEARNED, 0)
    return Request(_NEWNEIGH, entry + attribute(_NDA_LLADDR, bytes.fromhex(mac.replace(":", ""))), CREATE | REPLACE)


def _veth_port(item: Veth, index: int, *, ipv6: bool) -> Request:
    ipv6 = ipv6 and _allows_ipv6(item.mtu_bytes)
    return _port(index, item.alias, isolated=item.isolated, hairpin=item.hairpin, ipv6=ipv6)


def _port(index: int, alias: str, *, isolated: bool, hairpin: bool, ipv6: bool) -> Request:
    """Set a port's flags, and it up; with `ipv6` without an address that it makes for itself."""
    flags = attribute(_PORT_HAIRPIN, _U8.pack(hairpin)) + attribute(_PORT_ISOLATED, _U8.pack(isolated))
    parts = [_alias(alias), attribute(_LINKINFO | NESTED, attribute(_SLAVE_DATA | NESTED, flags))]
    if ipv6:
        mode = attribute(_ADDR_GEN_MODE, _U8.pack(_ADDR_GEN_NONE))
        parts.append(attribute(_AF_SPEC | NESTED, attribute(_AF_INET6 | NESTED, mode)))
    # RTM_SETLINK would ignore the port's flags.
    return Request(_NEWLINK, _IFINFO.pack(0, 0, index, _IFF_UP, _IFF_UP) + b"".join(parts))


def _allows_ipv6(mtu_bytes: int) -> bool:
    """With an MTU below its minimum an interface has no IPv6 whose addresses could be switched off."""
    return not 0 < mtu_bytes < MTU_MIN_V6_BYTES


def set_interface(item: Interface, there: Link) -> tuple[Request, ...]:
    """Bring the inner end of a pair up, and change what differs."""
    mac = b"" if there.mac == item.mac else _mac(item.mac)
    mtu = b"" if there.mtu_bytes == item.mtu_bytes else _mtu(item.mtu_bytes)
    return (_set(there.index, up=True, parts=(mac, mtu)),)


def set_down(index: int) -> tuple[Request, ...]:
    """Take a link down."""
    return (_set(index, up=False),)


def delete_link(index: int) -> tuple[Request, ...]:
    """Delete a link: waits some 20 ms for the kernel, all the time with the lock that every change of links needs."""
    return (Request(_DELLINK, _IFINFO.pack(0, 0, index, 0, 0)),)


def detach(index: int) -> tuple[Request, ...]:
    """Cut a veth off at once and leave its name free; `delete_gone` deletes it."""
    return _set_aside(index, attribute(_MASTER, _U32.pack(0)), attribute(_GROUP, _U32.pack(GONE_GROUP)))


def detach_bridge(index: int) -> tuple[Request, ...]:
    """Take a bridge out of service at once and leave its name free; its addresses stay, `delete_link` deletes it."""
    return _set_aside(index)


def _set_aside(index: int, *parts: bytes) -> tuple[Request, ...]:
    # Renamed when it is down: before Linux 6.2 an interface that is up can't be.
    down = _set(index, up=False, parts=(*parts, _alias(GONE_ALIAS)))
    return (down, _set(index, parts=(_name(f"ag{index:x}"),)))


def delete_gone() -> Request:
    """Delete all detached veths, for the price of one. ENODEV: there were none."""
    return Request(_DELLINK, _IFINFO.pack(0, 0, 0, 0, 0) + attribute(_GROUP, _U32.pack(GONE_GROUP)))


def _set(index: int, *, up: bool | None = None, parts: Sequence[bytes] = ()) -> Request:
    flags = (_IFF_UP if up else 0, 0 if up is None else _IFF_UP)
    return Request(_SETLINK, _IFINFO.pack(0, 0, index, *flags) + b"".join(parts))


def _name(ifname: str) -> bytes:
    return attribute(_IFNAME, ifname.encode() + b"\0")


def _alias(alias: str) -> bytes:
    return attribute(_IFALIAS, alias.encode() + b"\0")


def _mac(mac: str) -> bytes:
    return attribute(_ADDRESS, bytes.fromhex(mac.replace(":", ""))) if mac else b""


def _mtu(mtu_bytes: int) -> bytes:
    return attribute(_MTU, _U32.pack(mtu_bytes)) if mtu_bytes else b""
