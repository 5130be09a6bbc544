"""Netlink messages by struct: for dumps and notices of which few fields matter.

Law: pure codec above `Exchange`, which is one socket with bounded answers. Integers of headers are in
host byte order. Source: linux/netlink.h; Documentation/userspace-api/netlink/intro.rst.
"""

import errno
import os
import socket
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import count
from types import TracebackType

from atoll.errors import KernelError

HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port id of the sender."""
ATTRIBUTE = struct.Struct("=HH")
"""struct nlattr: length, type."""

ERROR, DONE = 2, 3
REQUEST, ACK, DUMP, DUMP_INTERRUPTED = 0x1, 0x4, 0x300, 0x10
NESTED = 0x8000
TYPE_MASK = 0x3FFF
"""NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""

SOL_NETLINK = 270
CAP_ACK, GET_STRICT_CHK = 10, 12
"""NETLINK_CAP_ACK: acks carry no copy of the request. NETLINK_GET_STRICT_CHK: dumps filter by their header."""

DATAGRAM_BYTES_MAX = 1 << 17
"""No dump datagram is larger: the kernel allocates at most 32 KiB for one (af_netlink.c, netlink_dump)."""
DUMP_TRIES_MAX = 8
ANSWER_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message without its header; `port` is nlmsg_pid."""

    type: int
    flags: int
    sequence: int
    port: int
    payload: bytes


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram; a cut-off last one is left out."""
    offset = 0
    while offset + HEADER.size <= len(datagram):
        length, kind, flags, sequence, port = HEADER.unpack_from(datagram, offset)
        if length < HEADER.size or offset + length > len(datagram):
            return
        yield Message(kind, flags, sequence, port, datagram[offset + HEADER.size : offset + length])
        offset += length + 3 & ~3


def attributes(payload: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes from `offset` on, by type without its flag bits; of a repeated type the last."""
    found: dict[int, bytes] = {}
    while offset + ATTRIBUTE.size <= len(payload):
        length, kind = ATTRIBUTE.unpack_from(payload, offset)
        if length < ATTRIBUTE.size or offset + length > len(payload):
            break
        found[kind & TYPE_MASK] = payload[offset + ATTRIBUTE.size : offset + length]
        offset += length + 3 & ~3
    return found


def picked(payload: bytes, offset: int, kinds: Container[int], count: int) -> dict[int, bytes]:
    """The first `count` attributes of these types. For messages of many, such as those on links."""
    found: dict[int, bytes] = {}
    unpack, size, end = ATTRIBUTE.unpack_from, ATTRIBUTE.size, len(payload)
    while offset + size <= end and len(found) < count:
        length, kind = unpack(payload, offset)
        if length < size or offset + length > end:
            break
        kind &= TYPE_MASK
        if kind in kinds:
            found[kind] = payload[offset + size : offset + length]
        offset += length + 3 & ~3
    return found


def attribute(kind: int, *parts: bytes) -> bytes:
    """One attribute, padded to four bytes. Nested attributes are its parts, and `kind` has NESTED."""
    value = b"".join(parts)
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """One message; port id 0 leaves the sender's to the kernel."""
    return HEADER.pack(HEADER.size + len(payload), kind, flags, sequence, 0) + payload


def text(value: bytes) -> str:
    """A NUL-terminated string attribute."""
    return value.split(b"\0", 1)[0].decode(errors="replace")


class Exchange:
    """A netlink socket of the calling thread's namespace, for requests and their answers.

    A context manager: it lives for a few exchanges and holds no namespace open afterwards.
    """

    def __init__(self, protocol: int) -> None:
        """`protocol` is NETLINK_ROUTE and the like. Raises KernelError where the kernel lacks it."""
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise _refused(f"cannot open a netlink socket of protocol {protocol}", error.errno or 0) from error
        self._socket.setsockopt(SOL_NETLINK, CAP_ACK, 1)
        self._socket.settimeout(ANSWER_SECONDS)
        self._sequence = count(1)

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def dump(self, kind: int, payload: bytes) -> list[Message]:
        """All messages of a dump that nothing changed under, asked anew while something does.

        After DUMP_TRIES_MAX interrupted tries the last one is returned: it may lack what changed in
        those moments. Raises KernelError.
        """
        for _ in range(DUMP_TRIES_MAX):
            found, interrupted = self._dump_once(kind, payload)
            if not interrupted:
                break
        return found

    def _dump_once(self, kind: int, payload: bytes) -> tuple[list[Message], bool]:
        sequence = next(self._sequence)
        self._socket.send(message(kind, REQUEST | DUMP, sequence, payload))
        found: list[Message] = []
        interrupted = False
        while True:
            for part in messages(self._receive()):
                if part.sequence != sequence:
                    continue
                interrupted = interrupted or bool(part.flags & DUMP_INTERRUPTED)
                if part.type in (ERROR, DONE):
                    self._check(part, f"dump {kind:#x}")
                    return found, interrupted
                found.append(part)

    def request(self, kind: int, payload: bytes) -> Message:
        """Ask for one message and return it. Raises KernelError."""
        sequence = next(self._sequence)
        self._socket.send(message(kind, REQUEST, sequence, payload))
        while True:
            for part in messages(self._receive()):
                if part.sequence != sequence:
                    continue
                if part.type == ERROR:
                    self._check(part, f"request {kind:#x}")
                return part

    def change(self, kind: int, payloads: list[bytes], flags: int = 0) -> list[int]:
        """Send one message for each payload in one datagram; return each one's errno, 0 when done.

        Keep it under a few hundred: the acks have to fit the receive buffer.
        """
        sequences = [next(self._sequence) for _ in payloads]
        results: dict[int, int] = {}
        self._socket.send(
            b"".join(
                message(kind, REQUEST | ACK | flags, sequence, payload)
                for sequence, payload in zip(sequences, payloads, strict=True)
            )
        )
        while len(results) < len(payloads):
            for part in messages(self._receive()):
                if part.type == ERROR and part.sequence in sequences:
                    results[part.sequence] = _errno_of(part)
        return [results[sequence] for sequence in sequences]

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(DATAGRAM_BYTES_MAX)
        except TimeoutError as error:
            raise _refused(f"no answer over netlink in {ANSWER_SECONDS} s", errno.ETIMEDOUT) from error
        except OSError as error:
            raise _refused("cannot read a netlink answer", error.errno or 0) from error

    @staticmethod
    def _check(part: Message, what: str) -> None:
        code = _errno_of(part)
        if code:
            raise _refused(f"the kernel refused netlink {what}", code)


def _errno_of(part: Message) -> int:
    """The positive errno of an ERROR or DONE message, 0 for success."""
    return -struct.unpack_from("=i", part.payload)[0] if len(part.payload) >= 4 else 0


def _refused(what: str, code: int) -> KernelError:
    return KernelError(f"{what}: {os.strerror(code).lower()}", errno=code, detail=errno.errorcode.get(code, str(code)))
