"""ICMP echo, RFC 792 and RFC 4443. Law: pure codec."""

import socket
import struct

_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}


def protocol_of(family: socket.AddressFamily) -> int:
    """The IP protocol number."""
    return socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP


def encode_request(family: socket.AddressFamily, identifier: int, sequence: int) -> bytes:
    """An echo request; for IPv6 the kernel puts the checksum in, raw(7) and RFC 3542 section 3.1."""
    whole = _HEADER.pack(_REQUEST[family], 0, 0, identifier, sequence)
    if family == socket.AF_INET6:
        return whole
    return _HEADER.pack(_REQUEST[family], 0, checksum(whole), identifier, sequence)


def is_reply(family: socket.AddressFamily, octets: bytes, identifier: int, sequence: int) -> bool:
    """True of the reply to exactly that request."""
    if len(octets) < _HEADER.size:
        return False
    kind, _, _, *mark = _HEADER.unpack_from(octets)
    return kind == _REPLY[family] and mark == [identifier, sequence]


def checksum(octets: bytes) -> int:
    """The internet checksum, RFC 1071."""
    padded = octets + bytes(len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
