"""The rtnetlink transport: many requests in one datagram, one error for each that was refused.

Law: bytes in, bytes out; what messages mean is in `links.py` and `inet.py`.
rtnetlink carries out requests while they are sent, one after the other, and goes on after one that
fails. So every answer but a dump's is queued when `send` returns.

Source: net/netlink/af_netlink.c (netlink_rcv_skb, netlink_ack), linux/netlink.h, man 7 netlink.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from atoll.errors import KernelError
from atoll.kernel.nlmsg import (
    ACK,
    CAP_ACK,
    DONE,
    DUMP,
    DUMP_INTERRUPTED,
    ERROR,
    GET_STRICT_CHK,
    HEADER,
    REQUEST,
    SOL_NETLINK,
    Message,
    attributes,
    message,
    messages,
    text,
)

REPLACE, EXCL, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
"""NLM_F_* of requests that make something."""

_EXT_ACK = 11
"""NETLINK_EXT_ACK: errors carry a text."""
_ACK_TLVS = 0x200
"""NLM_F_ACK_TLVS: attributes follow the (capped) copy of the request."""
_ERROR_MESSAGE = 1
"""NLMSGERR_ATTR_MSG"""
_SO_RCVBUFFORCE = 33

REQUESTS_MAX = 128
"""Requests in one datagram; their answers have to fit the receive buffer."""
RECEIVE_BUFFER_BYTES = 4 << 20
DATAGRAM_BYTES_MAX = 1 << 16
"""No answer is larger: dumps come in pieces of at most 32 KiB (netlink_dump)."""
ANSWER_SECONDS = 10
DUMP_TRIES_MAX = 16


@dataclass(frozen=True, slots=True)
class Request:
    """One message to send: RTM_* type, payload after the header, NLM_F_* flags besides REQUEST and ACK."""

    kind: int
    payload: bytes
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not carried out; `reason` is the kernel's own text, often "", of its extended ack."""

    errno: int
    reason: str = ""


class RouteSocket:
    """A NETLINK_ROUTE socket of the namespace of the thread that makes it. Used by one thread at a time.

    A context manager; while it is open it keeps its namespace alive.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        for option in (CAP_ACK, _EXT_ACK, GET_STRICT_CHK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        # Not settimeout(): it would ask poll() before each recv().
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER_SECONDS, 0))
        self._sequence = 0

    def __enter__(self) -> "RouteSocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the namespace."""
        self._socket.close()

    def change(self, requests: Sequence[Request]) -> dict[int, Refusal]:
        """Have the kernel carry out at most REQUESTS_MAX requests in one call; returns the refused ones by index.

        A killed process leaves all of them carried out, or none.
        """
        assert len(requests) <= REQUESTS_MAX, len(requests)
        refused: dict[int, Refusal] = {}
        if not requests:
            return refused
        # Failures are always told, successes only when asked for: the last one's means that all are done.
        first = self._send(requests, last_flags=ACK)
        last = len(requests) - 1
        while True:
            for part in messages(self._receive()):
                index = part.sequence - first
                if part.type != ERROR or not 0 <= index <= last:
                    continue
                refusal = _refusal(part)
                if refusal is not None:
                    refused[index] = refusal
                if index == last:
                    return refused

    def ask(self, requests: Sequence[Request]) -> list[bytes | Refusal]:
        """Ask questions of one answer each; the payloads, or refusals, in order."""
        answers: list[bytes | Refusal] = []
        for start in range(0, len(requests), REQUESTS_MAX):
            answers.extend(self._ask(requests[start : start + REQUESTS_MAX]))
        return answers

    def _ask(self, requests: Sequence[Request]) -> Iterator[bytes | Refusal]:
        first = self._send(requests)
        found: dict[int, bytes | Refusal] = {}
        while len(found) < len(requests):
            for part in messages(self._receive()):
                index = part.sequence - first
                if 0 <= index < len(requests):
                    found[index] = part.payload if part.type != ERROR else _refusal(part) or Refusal(errno.ENOMSG)
        return (found[index] for index in range(len(requests)))

    def dump(self, request: Request) -> list[bytes]:
        """Payloads of everything that fits the request, of one look that nothing changed under.

        Nothing when the kernel has no such family or table. Raises KernelError; EINTR when changes keep
        interrupting it.
        """
        for _ in range(DUMP_TRIES_MAX):
            found = self._dump(request)
            if found is not None:
                return found
        raise KernelError("cannot read interfaces and routes: they change all the time", errno=errno.EINTR)

    def _dump(self, request: Request) -> list[bytes] | None:
        first = self._send([request], last_flags=DUMP)
        found: list[bytes] = []
        whole = True
        while True:
            for part in messages(self._receive()):
                if part.sequence != first:
                    continue
                whole = whole and not part.flags & DUMP_INTERRUPTED
                if part.type not in (ERROR, DONE):
                    found.append(part.payload)
                    continue
                refusal = _refusal(part)
                if refusal is not None and refusal.errno not in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
                    raise refused(f"cannot list with netlink request {request.kind}", refusal)
                return found if whole else None

    def _send(self, requests: Sequence[Request], *, last_flags: int = 0) -> int:
        first = self._sequence + 1
        last = len(requests) - 1
        self._sequence += len(requests)
        frames = [
            message(each.kind, REQUEST | each.flags | (last_flags if index == last else 0), first + index, each.payload)
            for index, each in enumerate(requests)
        ]
        self._socket.send(b"".join(frames))
        return first

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(DATAGRAM_BYTES_MAX)
        except BlockingIOError as error:
            raise KernelError(f"no answer over netlink in {ANSWER_SECONDS} s", errno=errno.ETIMEDOUT) from error


def refused(what: str, refusal: Refusal, note: str = "") -> KernelError:
    """The error for a refused request; `what` is "cannot ...", `note` what the errno means here."""
    name = errno.errorcode.get(refusal.errno, str(refusal.errno))
    return KernelError(
        f"{what}: {note or os.strerror(refusal.errno).lower()}",
        errno=refusal.errno,
        detail=f"{name}: {refusal.reason}" if refusal.reason else name,
    )


def _refusal(part: Message) -> Refusal | None:
    """What an ERROR or DONE message says; None for success."""
    code = -int(struct.unpack_from("=i", part.payload)[0]) if len(part.payload) >= 4 else 0
    if code == 0:
        return None
    reason = ""
    if part.flags & _ACK_TLVS:
        # An error has the header of its request before the attributes, the end of a dump has not.
        start = 4 + (HEADER.size if part.type == ERROR else 0)
        reason = text(attributes(part.payload, start).get(_ERROR_MESSAGE, b""))
    return Refusal(code, reason)
