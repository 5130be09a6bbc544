"""Telling neighbours of an address: an ARP announcement, or an unsolicited neighbour advertisement.

Neighbours that know the address under another MAC would send to the old one until their entry goes stale.
The frames are sent once: a bridge and its veths don't lose them.

Source: RFC 5227 section 3 (ARP announcement), RFC 4861 sections 4.4 and 7.2.6 (unsolicited NA).
"""

import errno
import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from atoll.errors import KernelError
from atoll.kernel.netns import run_at, run_in
from atoll.model.addresses import IPAddress

_ETHERNET = struct.Struct(">6s6sH")
_ETH_P_ARP, _ETH_P_IPV6 = 0x0806, 0x86DD
_BROADCAST = bytes.fromhex("ffffffffffff")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = IPv6Address("ff02::1")

_ARP = struct.Struct(">HHBBH6s4s6s4s")
_ARP_ETHERNET, _ARP_IPV4, _ARP_REQUEST = 1, 0x0800, 1

_IPV6 = struct.Struct(">IHBB16s16s")
_ICMPV6, _HOP_LIMIT = 58, 255
"""A neighbour advertisement with another hop limit is ignored."""
_ADVERTISEMENT = struct.Struct(">BBHI16sBB6s")
_ND_ADVERTISEMENT, _OVERRIDE, _TARGET_LINK_LAYER = 136, 0x20000000, 2


def arp_announcement(address: IPv4Address, mac: str) -> bytes:
    """The Ethernet frame: a broadcast ARP request for `address` from `address`. Effects: none."""
    own = _packed(mac)
    arp = _ARP.pack(_ARP_ETHERNET, _ARP_IPV4, 6, 4, _ARP_REQUEST, own, address.packed, bytes(6), address.packed)
    return _ETHERNET.pack(_BROADCAST, own, _ETH_P_ARP) + arp


def unsolicited_advertisement(address: IPv6Address, mac: str) -> bytes:
    """The Ethernet frame: an NA to all nodes with the override flag, not solicited. Effects: none."""
    own = _packed(mac)

    def advertisement(checksum: int) -> bytes:
        return _ADVERTISEMENT.pack(
            _ND_ADVERTISEMENT, 0, checksum, _OVERRIDE, address.packed, _TARGET_LINK_LAYER, 1, own
        )

    pseudo_header = address.packed + _ALL_NODES.packed + struct.pack(">II", _ADVERTISEMENT.size, _ICMPV6)
    body = advertisement(internet_checksum(pseudo_header + advertisement(0)))
    ipv6 = _IPV6.pack(6 << 28, len(body), _ICMPV6, _HOP_LIMIT, address.packed, _ALL_NODES.packed)
    return _ETHERNET.pack(_ALL_NODES_MAC, own, _ETH_P_IPV6) + ipv6 + body


def internet_checksum(octets: bytes) -> int:
    """The checksum of RFC 1071 over an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def announce(netns: str | int, ifname: str, addresses: Sequence[IPAddress], mac: str) -> None:
    """Announce `addresses` at `mac` from the interface `ifname`, which is up, in a namespace (path or fd).

    Nothing of the namespace is kept open. Raises InvalidRequest when the path leads to none, KernelError
    when the interface is gone or down.
    """
    frames = [_frame(address, mac) for address in addresses]

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
            link.bind((ifname, 0))
            for frame in frames:
                link.send(frame)

    try:
        if isinstance(netns, int):
            run_at(netns, send)
        else:
            run_in(netns, send)
    except OSError as error:
        code = error.errno or 0
        raise KernelError(
            f"cannot announce {', '.join(map(str, addresses))} on {ifname}: {os.strerror(code).lower()}",
            errno=code,
            detail=errno.errorcode.get(code, str(code)),
        ) from error


def _frame(address: IPAddress, mac: str) -> bytes:
    if isinstance(address, IPv4Address):
        return arp_announcement(address, mac)
    return unsolicited_advertisement(address, mac)


def _packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
