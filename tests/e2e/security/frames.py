"""Frames made by hand: Ethernet, IPv4 and IPv6, TCP with any flags, UDP, SCTP, ICMP, ARP. Law: pure.

Layouts: RFC 791, 8200, 9293, 768, 792, 4443, 4861, 826.
"""

import struct
from dataclasses import dataclass, replace
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address, ip_address

from atoll.lab.programs import sctp
from atoll.lab.programs.icmp import checksum

BROADCAST = "ff:ff:ff:ff:ff:ff"
ALL_NODES = "33:33:00:00:00:01"
TCP, UDP, SCTP, ICMP, ICMP6 = 6, 17, 132, 1, 58


class Flags(IntFlag):
    """TCP's flags."""

    FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


@dataclass(frozen=True, slots=True)
class Way:
    """Between whom a frame goes: MACs and IP addresses."""

    source_mac: str
    target_mac: str
    source: str
    target: str

    def spoofing(self, source: str) -> "Way":
        """The same with another source address."""
        return replace(self, source=source)

    def to(self, target: str) -> "Way":
        """The same to another address by the same next hop."""
        return replace(self, target=target)


def tcp(way: Way, source_port: int, target_port: int, flags: int, payload: bytes = b"") -> bytes:
    """A segment in the middle of nowhere."""
    acknowledged = 1000 if flags & Flags.ACK else 0
    head = struct.pack("!HHIIBBHHH", source_port, target_port, 4000, acknowledged, 5 << 4, flags, 65535, 0, 0)
    return _packet(way, TCP, _summed(way, TCP, head + payload, 16))


def udp(way: Way, source_port: int, target_port: int, payload: bytes) -> bytes:
    """A datagram."""
    head = struct.pack("!HHHH", source_port, target_port, 8 + len(payload), 0)
    return _packet(way, UDP, _summed(way, UDP, head + payload, 6))


def sctp_answer(way: Way, source_port: int, target_port: int, cookie: bytes) -> bytes:
    """An INIT ACK to nobody's INIT."""
    packet = sctp.SctpPacket(source_port, target_port, 7, sctp.INIT_ACK, 8, cookie)
    return _packet(way, SCTP, sctp.encode(packet))


def icmp(way: Way, kind: int, code: int, body: bytes) -> bytes:
    """An ICMP or ICMPv6 message; the body begins behind the checksum."""
    message = struct.pack("!BBH", kind, code, 0) + body
    if isinstance(ip_address(way.source), IPv6Address):
        return _packet(way, ICMP6, _summed(way, ICMP6, message, 2))
    return _packet(way, ICMP, message[:2] + struct.pack("!H", checksum(message)) + message[4:])


def echo(way: Way, number: int, payload: bytes, *, reply: bool = False) -> bytes:
    """An echo request or reply."""
    request, answer = (128, 129) if ":" in way.source else (8, 0)
    return icmp(way, answer if reply else request, 0, struct.pack("!HH", number, 1) + payload)


def unreachable(way: Way, about: bytes) -> bytes:
    """Port unreachable about a packet (without its Ethernet header) that nobody sent."""
    kind, code = (1, 4) if ":" in way.source else (3, 3)
    return icmp(way, kind, code, bytes(4) + about)


def router_advertisement(way: Way, prefix: IPv6Address) -> bytes:
    """A router that lives half an hour, and a /64 to take addresses from."""
    head = struct.pack("!BBHII", 64, 0, 1800, 0, 0)
    option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + prefix.packed
    return icmp(way, 134, 0, head + option)


def arp_request(way: Way) -> bytes:
    """Who has `way.target`?"""
    ends = _mac(way.source_mac) + _ip(way.source) + bytes(6) + _ip(way.target)
    return _mac(BROADCAST) + _mac(way.source_mac) + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + ends


def without_ethernet(frame: bytes) -> bytes:
    """The packet in a frame."""
    return frame[14:]


def arp_reply_from(frame: bytes) -> str:
    """The address that an ARP reply is about, "" for other frames."""
    if frame[12:14] != b"\x08\x06" or frame[20:22] != b"\0\x02":
        return ""
    return str(IPv4Address(frame[28:32]))


def source_of(frame: bytes) -> str:
    """Source address of an IP packet, "" for other frames."""
    if frame[12:14] == b"\x08\x00":
        return str(IPv4Address(frame[26:30]))
    return str(IPv6Address(frame[22:38])) if frame[12:14] == b"\x86\xdd" else ""


def _packet(way: Way, protocol: int, octets: bytes) -> bytes:
    ethernet = _mac(way.target_mac) + _mac(way.source_mac)
    if ":" in way.source:
        head = struct.pack("!IHBB", 6 << 28, len(octets), protocol, 255) + _ip(way.source) + _ip(way.target)
        return ethernet + b"\x86\xdd" + head + octets
    ends = _ip(way.source) + _ip(way.target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(octets), 0, 0, 64, protocol, 0) + ends
    return ethernet + b"\x08\x00" + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + octets


def _summed(way: Way, protocol: int, octets: bytes, at: int) -> bytes:
    """With the checksum over the pseudo header at this offset."""
    pseudo = _ip(way.source) + _ip(way.target) + struct.pack("!II", len(octets), protocol)
    value = checksum(pseudo + octets) or 0xFFFF
    return octets[:at] + struct.pack("!H", value) + octets[at + 2 :]


def _ip(address: str) -> bytes:
    return ip_address(address).packed


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
