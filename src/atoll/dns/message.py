"""DNS messages, as far as answering from pre-encoded records needs them.

    0  id   flags   questions   answers   authorities   additionals        12 bytes
    12 name  type  class                                                    the question, which the answer repeats
       0xc00c  type  class  ttl  length  data                               a record: its name is a pointer to offset 12

Law: pure. Every byte string ends as a value; nothing is followed but what lies ahead, so parsing ends with the message.
Source: RFC 1035, section 4.1; RFC 6891, section 6.1 (OPT).
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from atoll.model.addresses import Family, IPAddress, family_of

HEADER_BYTES = 12
MESSAGE_BYTES_MAX = 65535
UDP_BYTES = 512
"""What an asker without EDNS takes by UDP; RFC 1035, section 2.3.4."""
EDNS_UDP_BYTES_MAX = 4096
"""What we send by UDP to those who take as much: it stays on a loopback interface."""
TTL_S = 0
"""Names follow their containers at once, so nobody shall remember an answer: nginx, Java and nscd do as told."""
CLASS_IN = 1
LABEL_BYTES_MAX = 63
NAME_BYTES_MAX = 255

_QR, _TC, _RD, _RA, _CD = 0x8000, 0x0200, 0x0100, 0x0080, 0x0010
_OPCODE = 0x7800
_OWNER = b"\xc0\x0c"
"""A pointer to the name of the question."""
_HEADER = struct.Struct(">6H")
_TYPE_CLASS = struct.Struct(">2H")
_RECORD = struct.Struct(">2HIH")
_ARPA = {".in-addr.arpa": 4, ".ip6.arpa": 32}
"""Labels of an address below each; RFC 1035, section 3.5, and RFC 3596, section 2.5."""


class RRType(IntEnum):
    """Types of records that are told apart; RFC 1035, section 3.2.2, RFC 3596, RFC 6891."""

    A = 1
    PTR = 12
    AAAA = 28
    OPT = 41


class Rcode(IntEnum):
    """What an answer says of how it went; RFC 1035, section 4.1.1, RFC 6891, section 9."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `name` is in lower case without a trailing dot, "" for the root; a dot that is inside of a label
    has a backslash before it. `question_end` is where the question ends in its packet. `udp_bytes` is what the asker
    takes by UDP, None without EDNS.
    """

    name: str
    rrtype: int
    rrclass: int
    question_end: int
    flags: int = 0
    udp_bytes: int | None = None

    @property
    def udp_limit(self) -> int:
        """The length of an answer by UDP."""
        return max(UDP_BYTES, min(self.udp_bytes or 0, EDNS_UDP_BYTES_MAX))


class _Broken(Exception):
    """The message ends in the middle of something, or has what we don't read."""


def parse_query(packet: bytes) -> Query | Rcode | None:
    """The question that a packet asks; an Rcode when it has to be refused with it; None when it wants no answer."""
    if len(packet) < HEADER_BYTES:
        return None
    _id, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(packet)
    if flags & _QR:
        return None
    if flags & _OPCODE:
        return Rcode.NOTIMP
    if questions != 1:
        return Rcode.FORMERR
    try:
        name, end = _read_name(packet)
        rrtype, rrclass = _unpack(_TYPE_CLASS, packet, end)
        option = _find_option(packet, end + 4, answers + authorities + additionals)
    except _Broken:
        return Rcode.FORMERR
    query = Query(name, rrtype, rrclass, end + 4, flags)
    if option is None:
        return query
    udp_bytes, version = option
    if version:
        return Rcode.BADVERS
    return Query(name, rrtype, rrclass, end + 4, flags, udp_bytes)


def respond(
    packet: bytes, query: Query, records: Iterable[bytes] = (), *, limit: int, rcode: Rcode = Rcode.NOERROR
) -> bytes:
    """The answer with as many of the records as `limit` bytes hold; TC says that some are missing."""
    option = b"" if query.udp_bytes is None else _option(rcode)
    room = limit - query.question_end - len(option)
    flags = _QR | query.flags & (_RD | _CD) | _RA | rcode & 0xF
    kept: list[bytes] = []
    for record in records:
        room -= len(record)
        if room < 0:
            flags |= _TC
            break
        kept.append(record)
    header = _HEADER.pack(0, flags, 1, len(kept), 0, 1 if option else 0)
    return b"".join((packet[:2], header[2:], packet[HEADER_BYTES : query.question_end], *kept, option))


def truncated(packet: bytes, query: Query) -> bytes:
    """An answer without records that says to ask by TCP."""
    return respond(packet, query, (b"",), limit=-1)


def refuse(packet: bytes, rcode: Rcode) -> bytes:
    """The answer to a packet that could not be read: a header, and OPT where it has to carry the code."""
    (flags,) = struct.unpack_from(">H", packet, 2)
    option = _option(rcode) if rcode > 0xF else b""
    head = _QR | flags & (_OPCODE | _RD | _CD) | _RA | rcode & 0xF
    return packet[:2] + _HEADER.pack(0, head, 0, 0, 0, 1 if option else 0)[2:] + option


def address_record(address: IPAddress) -> bytes:
    """An A or AAAA record."""
    rrtype = RRType.A if family_of(address) is Family.V4 else RRType.AAAA
    return _record(rrtype, address.packed)


def pointer_record(name: str) -> bytes | None:
    """A PTR record to a name of plain labels; None when DNS has no room for it."""
    wire = encode_name(name)
    return None if wire is None else _record(RRType.PTR, wire)


def encode_name(name: str) -> bytes | None:
    """A name as labels; None when one of them is empty or too long, or all together are."""
    labels = name.encode("latin-1", "replace").split(b".")
    if not all(0 < len(label) <= LABEL_BYTES_MAX for label in labels):
        return None
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return wire if len(wire) <= NAME_BYTES_MAX else None


def reversed_address(name: str) -> IPAddress | None:
    """The address that a name below in-addr.arpa or ip6.arpa stands for; None for any other name."""
    for suffix, count in _ARPA.items():
        if name.endswith(suffix):
            labels = name.removesuffix(suffix).split(".")[::-1]
            if len(labels) != count:
                return None
            return _address_of(labels)
    return None


def is_answer(reply: bytes, request: bytes, query: Query) -> bool:
    """Whether `reply` answers `request`, which asked `query`: the same id and question. Errors may come without one."""
    if len(reply) < HEADER_BYTES or reply[:2] != request[:2] or not reply[2] & 0x80:
        return False
    questions = reply[4:6]
    if questions == b"\0\0":
        return rcode_of(reply) != Rcode.NOERROR
    asked = request[HEADER_BYTES : query.question_end]
    return questions == b"\0\1" and reply[HEADER_BYTES : query.question_end].lower() == asked.lower()


def rcode_of(reply: bytes) -> int:
    """The code in a header, without what OPT adds to it."""
    return reply[3] & 0xF


def _address_of(labels: list[str]) -> IPAddress | None:
    try:
        if len(labels) == 4:
            return IPv4Address(".".join(labels))
        if any(len(label) != 1 for label in labels):
            return None
        return IPv6Address(int("".join(labels), 16).to_bytes(16, "big"))
    except ValueError:
        return None


def _read_name(packet: bytes) -> tuple[str, int]:
    """The name of the question, and where it ends. Nothing precedes it that a pointer could lead to."""
    labels = []
    at = HEADER_BYTES
    while True:
        if at >= len(packet):
            raise _Broken
        length = packet[at]
        at += 1
        if not length:
            break
        if length > LABEL_BYTES_MAX or at + length >= len(packet):
            raise _Broken
        labels.append(packet[at : at + length])
        at += length
    if at - HEADER_BYTES > NAME_BYTES_MAX:
        raise _Broken
    # Names of ours have no backslash, so a label with a dot is never taken for two.
    written = (label.replace(b"\\", b"\\\\").replace(b".", b"\\.") for label in labels)
    return b".".join(written).lower().decode("latin-1"), at


def _find_option(packet: bytes, at: int, count: int) -> tuple[int, int] | None:
    """What OPT says among the records from `at` on: (bytes by UDP, version). Signatures and others are passed over."""
    found = None
    for _ in range(count):
        at = _skip_name(packet, at)
        rrtype, rrclass, ttl, length = _unpack(_RECORD, packet, at)
        at += _RECORD.size + length
        if at > len(packet):
            raise _Broken
        if rrtype == RRType.OPT:
            if found is not None:
                raise _Broken
            found = rrclass, ttl >> 16 & 0xFF
    return found


def _skip_name(packet: bytes, at: int) -> int:
    while at < len(packet):
        length = packet[at]
        if length > LABEL_BYTES_MAX:
            # A pointer ends a name; what it leads to doesn't matter here.
            return at + 2
        at += 1 + length
        if not length:
            return at
    raise _Broken


def _unpack(layout: struct.Struct, packet: bytes, at: int) -> tuple[int, ...]:
    if at + layout.size > len(packet):
        raise _Broken
    values: tuple[int, ...] = layout.unpack_from(packet, at)
    return values


def _record(rrtype: RRType, rdata: bytes) -> bytes:
    return _OWNER + _RECORD.pack(rrtype, CLASS_IN, TTL_S, len(rdata)) + rdata


def _option(rcode: Rcode) -> bytes:
    return b"\0" + _RECORD.pack(RRType.OPT, EDNS_UDP_BYTES_MAX, (rcode >> 4) << 24, 0)
