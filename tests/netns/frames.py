"""Frames written by hand, for senders that don't keep to what their kernel would send. All of them end in a `mark`."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

BROADCAST = "ff:ff:ff:ff:ff:ff"
REQUEST, REPLY = 1, 2
HOP_BY_HOP, TCP, UDP, FRAGMENT, ICMPV6, DESTINATION_OPTIONS = 0, 6, 17, 44, 58, 60
ECHO, MLD_REPORT, ROUTER_ADVERT, SOLICIT, ADVERT, REDIRECT, MLD2_REPORT = 128, 131, 134, 135, 136, 137, 143


def ethernet(source: str, target: str, kind: int, payload: bytes) -> bytes:
    return _mac(target) + _mac(source) + struct.pack(">H", kind) + payload


def ip(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    """A packet of the addresses' family; `protocol` is the next header."""
    first, second = ip_address(source), ip_address(target)
    if isinstance(first, IPv6Address):
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 255) + first.packed + second.packed + payload
    head = struct.pack(">BBHHHBB", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol)
    body = head + b"\0\0" + first.packed + second.packed
    return head + struct.pack(">H", _checksum(body)) + body[12:] + payload


def packet(source_mac: str, target_mac: str, payload: bytes) -> bytes:
    """A frame that carries an IP packet."""
    return ethernet(source_mac, target_mac, 0x86DD if payload[0] >> 4 == 6 else 0x0800, payload)


def udp(port: int, mark: bytes) -> bytes:
    # No checksum: nobody on the way looks.
    return struct.pack(">HHHH", 7, port, 8 + len(mark), 0) + mark


def tcp(mark: bytes) -> bytes:
    """A segment in the middle of a connection that nobody has."""
    return struct.pack(">HHIIBBHHH", 7, 9, 1, 1, 5 << 4, 0x10, 1000, 0, 0) + mark


def arp(operation: int, sender_mac: str, sender: str, target: str, mark: bytes) -> bytes:
    """An ARP message, filled up to the shortest frame."""
    head = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation)
    body = _mac(sender_mac) + IPv4Address(sender).packed + bytes(6) + IPv4Address(target).packed
    return head + body + bytes(10) + mark


def icmp6(kind: int, mark: bytes, *, target: str = "") -> bytes:
    """An ICMPv6 message; `target` is what neighbour discovery is about."""
    return struct.pack(">BBHI", kind, 0, 0, 0) + (IPv6Address(target).packed if target else b"") + mark


def checked(source: str, target: str, message: bytes) -> bytes:
    """An ICMPv6 message with its checksum, without which a bridge drops what might be of MLD."""
    pseudo = IPv6Address(source).packed + IPv6Address(target).packed + struct.pack(">II", len(message), ICMPV6)
    return message[:2] + struct.pack(">H", _checksum(pseudo + message)) + message[4:]


def options(following: int, payload: bytes) -> bytes:
    """A header of options (padding alone) before something else."""
    return bytes((following, 0, 1, 4, 0, 0, 0, 0)) + payload


def fragment(following: int, offset_octets: int, *, more: bool, payload: bytes) -> bytes:
    return struct.pack(">BBHI", following, 0, offset_octets | more, 0x5EED) + payload


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
