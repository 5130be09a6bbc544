"""SCTP's first two packets, for kernels that have no SCTP sockets: INIT, and INIT ACK with a text in its cookie.

Layout (RFC 9260 section 3): ports, verification tag, CRC32c; then one chunk.
"""

import socket
import struct
from dataclasses import dataclass

IPPROTO_SCTP = 132
INIT = 1
INIT_ACK = 2

_BUFFER_BYTES = 8 << 20
_SO_RCVBUFFORCE = 33
"""asm-generic/socket.h"""

_HEADER = struct.Struct("!HHII")
_CHUNK = struct.Struct("!BBHIIHHI")  # type, flags, length, tag, receiver window, streams out and in, first TSN
_PARAMETER = struct.Struct("!HH")
_STATE_COOKIE = 7
_WINDOW_BYTES = 65536
_POLYNOMIAL = 0x82F63B78  # CRC32c reflected, RFC 9260 appendix A


@dataclass(frozen=True, slots=True)
class SctpPacket:
    """An INIT or INIT ACK. `tag` is the sender's own initiate tag; `verification` the receiver's, 0 in an INIT."""

    source_port: int
    target_port: int
    verification: int
    kind: int
    tag: int
    cookie: bytes = b""


def open_raw(family: socket.AddressFamily) -> socket.socket:
    """A raw socket. It gets every SCTP packet of its namespace and nobody sends any twice, so it has room for many."""
    raw = socket.socket(family, socket.SOCK_RAW, IPPROTO_SCTP)
    raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    return raw


def encode(packet: SctpPacket) -> bytes:
    """The packet with its checksum."""
    parameter = b""
    if packet.kind == INIT_ACK:
        cookie = packet.cookie
        parameter = _PARAMETER.pack(_STATE_COOKIE, _PARAMETER.size + len(cookie)) + cookie
    length = _CHUNK.size + len(parameter)
    chunk = _CHUNK.pack(packet.kind, 0, length, packet.tag, _WINDOW_BYTES, 1, 1, 1) + parameter
    chunk += bytes(-len(chunk) % 4)
    header = _HEADER.pack(packet.source_port, packet.target_port, packet.verification, 0)
    checksum = struct.pack("<I", crc32c(header + chunk))
    return header[:8] + checksum + chunk


def decode(octets: bytes) -> SctpPacket | None:
    """Read an INIT or INIT ACK; None for anything else or a wrong checksum."""
    if len(octets) < _HEADER.size + _CHUNK.size:
        return None
    source, target, verification, _ = _HEADER.unpack_from(octets)
    if struct.pack("<I", crc32c(octets[:8] + bytes(4) + octets[12:])) != octets[8:12]:
        return None
    kind, _, length, tag, *_ = _CHUNK.unpack_from(octets, _HEADER.size)
    if kind not in (INIT, INIT_ACK):
        return None
    cookie = octets[_HEADER.size + _CHUNK.size + _PARAMETER.size : _HEADER.size + length]
    return SctpPacket(source, target, verification, kind, tag, cookie)


def crc32c(octets: bytes) -> int:
    """CRC32c."""
    value = 0xFFFFFFFF
    for octet in octets:
        value = value >> 8 ^ _OF_OCTET[(value ^ octet) & 0xFF]
    return value ^ 0xFFFFFFFF


def _after_octet(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_OF_OCTET = tuple(map(_after_octet, range(256)))
