"""nfnetlink on one socket: transactions, questions, dumps.

Messages are built and read by fixed layouts (linux/netlink.h, linux/netfilter/nfnetlink.h,
linux/netfilter/nf_tables.h): headers are in the machine's byte order, payloads in network order.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum, IntFlag
from typing import NamedTuple

from atoll.errors import KernelError
from atoll.model.firewall import TableFamily

_NFPROTO = {TableFamily.INET: 1, TableFamily.BRIDGE: 7}  # linux/netfilter.h
NESTED = 0x8000  # NLA_F_NESTED

_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11  # NFNL_MSG_BATCH_BEGIN, _END
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _SOL_NETLINK = 10, 11, 270
_ERRMSG, _ERRATTR_OFFSET = 1, 2  # NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
_RECEIVE_BYTES = 1 << 17
_BUFFER_BYTES = 1 << 22
_ASK_MAX = 128  # messages a send: each answer takes a page or two of the receive buffer
_DUMP_TRIES_MAX = 32
_QUIET_SEQUENCE = 0x41000000
"""First sequence number of ours; libnftables counts from 0 on the same socket."""

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BATCH_BODY = struct.pack("=BB", 0, 0) + struct.pack(">H", 10)  # nfgenmsg: res_id is the subsystem


class Kind(IntEnum):
    """Message types. Source: enum nf_tables_msg_types."""

    NEWTABLE = 0
    GETTABLE = 1
    DELTABLE = 2
    NEWCHAIN = 3
    GETCHAIN = 4
    DELCHAIN = 5
    GETRULE = 7
    GETSET = 10
    NEWSETELEM = 12
    GETSETELEM = 13
    DELSETELEM = 14
    DESTROYSETELEM = 30


class Flag(IntFlag):
    """Message flags. Source: linux/netlink.h."""

    NONE = 0
    REQUEST = 0x1
    ACK = 0x4
    DUMP_INTR = 0x10
    DUMP = 0x300
    CREATE = 0x400


class Message(NamedTuple):
    """A request about our table of a family; `body` starts after the nfgenmsg header."""

    family: TableFamily
    kind: Kind
    body: bytes
    flags: Flag = Flag.NONE


class Refused(Exception):
    """The kernel refused a request.

    `index`: which message of those sent, -1 when the sending or the commit failed. `offset`: the attribute
    that is to blame, counted from the start of the message, 0 when unknown.
    """

    def __init__(self, index: int, number: int, text: str, offset: int) -> None:
        super().__init__(f"message {index}: {os.strerror(number)} {text}".rstrip())
        self.index = index
        self.errno = number
        self.text = text
        self.offset = offset


class NetfilterSocket:
    """nftables over an open NETLINK_NETFILTER socket, which may be shared with libnftables.

    All answers of one request are read before the next, so neither finds the other's messages.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=os.dup(fd))
        self._socket.setblocking(False)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)  # else an error repeats its 64 KiB message
        self._grow(_SO_RCVBUFFORCE, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._send_bytes = 0
        self._sequence = _QUIET_SEQUENCE

    @property
    def port_id(self) -> int:
        """The socket's netlink address, 0 before the first message; a table's owner is such a number."""
        return int(self._socket.getsockname()[0])

    def close(self) -> None:
        """Close our handle; the socket lives on with libnftables."""
        self._socket.close()

    def transact(self, messages: Sequence[Message]) -> None:
        """Make all changes or none. Raises Refused naming the first message that was refused."""
        if not messages:
            return
        first = self._claim_sequence(len(messages) + 2)
        frames = [_frame(_BATCH_BEGIN, Flag.REQUEST, first, _BATCH_BODY)]
        last = len(messages) - 1
        for index, message in enumerate(messages):
            flags = Flag.REQUEST | message.flags | (Flag.ACK if index == last else Flag.NONE)
            frames.append(_request(message, flags, first + 1 + index))
        frames.append(_frame(_BATCH_END, Flag.REQUEST, first + 1 + len(messages), _BATCH_BODY))
        self._send(frames)
        # Every answer to a batch is queued before sendmsg returns: nfnetlink_rcv_batch().
        acknowledged = False
        refused: Refused | None = None
        for kind, _flags, sequence, payload in self._pending():
            if kind != _NLMSG_ERROR or not first <= sequence < first + len(messages) + 2:
                continue
            fault = _fault(sequence - first - 1, payload)
            if fault is None:
                acknowledged = acknowledged or sequence == first + 1 + last
            elif refused is None or fault.index < refused.index:
                refused = fault
        if refused is not None:
            raise refused
        if not acknowledged:
            raise Refused(-1, errno.ENOBUFS, "the kernel's answer was lost", 0)

    def ask(self, messages: Sequence[Message]) -> list[bytes | Refused]:
        """Ask single-answer questions; the answers' bodies (after nfgenmsg), or refusals, in order.

        Raises Refused when they can't even be sent.
        """
        answers: list[bytes | Refused] = []
        for start in range(0, len(messages), _ASK_MAX):
            answers.extend(self._ask(messages[start : start + _ASK_MAX]))
        return answers

    def _ask(self, messages: Sequence[Message]) -> list[bytes | Refused]:
        first = self._claim_sequence(len(messages))
        self._send([_request(each, Flag.REQUEST | each.flags, first + i) for i, each in enumerate(messages)])
        lost = Refused(-1, errno.ENOBUFS, "the kernel's answer was lost", 0)
        answers: list[bytes | Refused] = [lost] * len(messages)
        for kind, _flags, sequence, payload in self._pending():
            index = sequence - first
            if not 0 <= index < len(messages):
                continue
            if kind != _NLMSG_ERROR:
                answers[index] = payload[4:]
            else:
                answers[index] = _fault(index, payload) or lost
        return answers

    def dump(self, message: Message) -> list[bytes]:
        """Everything that fits the request, bodies after nfgenmsg, of one and the same generation.

        Raises Refused; KernelError with EINTR when changes keep interrupting it.
        """
        for _ in range(_DUMP_TRIES_MAX):
            bodies = self._dump(message)
            if bodies is not None:
                return bodies
        raise KernelError("cannot read the firewall: it changes all the time", errno=errno.EINTR)

    def _dump(self, message: Message) -> list[bytes] | None:
        """One try; None when it was interrupted by a change."""
        sequence = self._claim_sequence(1)
        self._send([_request(message, Flag.REQUEST | Flag.DUMP | message.flags, sequence)])
        bodies: list[bytes] = []
        whole = True
        # A dump goes on while we read: the kernel refills the queue within recv, so it never runs dry before DONE.
        for kind, flags, answered, payload in self._pending():
            if answered != sequence:
                continue
            if flags & Flag.DUMP_INTR:
                whole = False
            if kind == _NLMSG_ERROR:
                fault = _fault(0, payload)
                if fault is not None and fault.errno != errno.EINTR:
                    raise fault
                whole = False
            elif kind == _NLMSG_DONE:
                return bodies if whole else None
            else:
                bodies.append(payload[4:])
        return None

    def _claim_sequence(self, count: int) -> int:
        first = self._sequence
        self._sequence += count
        if self._sequence > 0x7FFFFFFF:
            self._sequence = first = _QUIET_SEQUENCE
            self._sequence += count
        return first

    def _send(self, frames: list[bytes]) -> None:
        needed = sum(map(len, frames))
        if needed > self._send_bytes:  # netlink_sendmsg() wants the whole message below the buffer size
            self._send_bytes = max(2 * needed, _BUFFER_BYTES)
            self._grow(_SO_SNDBUFFORCE, socket.SO_SNDBUF, self._send_bytes)
        for _ in self._pending():  # leftovers of an interrupted reader would be taken for our answers
            pass
        try:
            self._socket.sendto(b"".join(frames), (0, 0))
        except OSError as error:
            raise Refused(-1, error.errno or errno.EIO, f"sending {needed} bytes", 0) from error

    def _grow(self, force: int, plain: int, octets: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, force, octets)
        except PermissionError:  # in a user namespace of its own even root stays below net.core.[rw]mem_max
            self._socket.setsockopt(socket.SOL_SOCKET, plain, octets)

    def _pending(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Type, flags, sequence and payload of every message that is queued."""
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # something was dropped; what follows is whole
                    continue
                raise
            offset = 0
            while offset + 16 <= len(data):
                length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
                yield kind, flags, sequence, data[offset + 16 : offset + length]
                offset += (length + 3) & ~3


def attribute(kind: int, payload: bytes) -> bytes:
    """One netlink attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nest(kind: int, *parts: bytes) -> bytes:
    """An attribute of attributes; at most 65,531 bytes of them fit."""
    return attribute(kind | NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """A string attribute, zero-terminated."""
    return attribute(kind, value.encode() + b"\0")


def be32(kind: int, value: int) -> bytes:
    """A 32 bit attribute in network order, as all of nf_tables' are."""
    return attribute(kind, struct.pack(">I", value))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Types (without flags) and payloads of the attributes in `data`. Raises ValueError when malformed."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            raise ValueError(f"attribute of {length} bytes at {offset} of {len(data)}")
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def first_text(data: bytes | None) -> str:
    """The string in an attribute's payload, "" for None."""
    return (data or b"").partition(b"\0")[0].decode(errors="replace")


def parsed(bodies: Iterable[bytes]) -> Iterator[dict[int, bytes]]:
    """Each body as a mapping from attribute type to payload."""
    for body in bodies:
        yield dict(attributes(body))


def _frame(kind: int, flags: Flag, sequence: int, payload: bytes) -> bytes:
    return _HEADER.pack(16 + len(payload), kind, flags, sequence, 0) + payload


def _request(message: Message, flags: Flag, sequence: int) -> bytes:
    header = struct.pack("=BBH", _NFPROTO[message.family], 0, 0)
    return _frame(_SUBSYSTEM | message.kind, flags, sequence, header + message.body)


def _fault(index: int, payload: bytes) -> Refused | None:
    """What an NLMSG_ERROR says, None for an acknowledgement. Source: struct nlmsgerr, NLMSGERR_ATTR_*."""
    (number,) = struct.unpack_from("=i", payload)
    if number == 0:
        return None
    extra: dict[int, bytes] = {}
    with contextlib.suppress(ValueError):  # an older kernel repeats the request here instead
        extra = dict(attributes(payload[20:]))
    (offset,) = struct.unpack("=I", extra[_ERRATTR_OFFSET]) if _ERRATTR_OFFSET in extra else (0,)
    return Refused(index, -number, first_text(extra.get(_ERRMSG)), offset)
