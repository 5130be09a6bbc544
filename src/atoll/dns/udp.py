"""Questions by UDP on a socket that was handed over."""

import contextlib
import select
import socket
from typing import Any

from atoll.dns.answerer import Answerer, Forward
from atoll.dns.upstream import Forwarder, Seats
from atoll.service.loop import Loop

_DATAGRAMS_A_TURN = 64
_DATAGRAM_BYTES_MAX = 4096
"""Of a question; what is longer is cut and thereby broken."""


class UdpServer:
    """Answers what comes in on a bound socket. Owns the socket."""

    def __init__(self, loop: Loop, sock: socket.socket, answerer: Answerer, forwarder: Forwarder, seats: Seats) -> None:
        self._loop = loop
        self._sock = sock
        self._answer = answerer.datagram
        self._forwarder = forwarder
        self._seats = seats
        sock.setblocking(False)
        loop.watch(sock, select.EPOLLIN, self._receive)

    def close(self) -> None:
        """Answer nothing any more, what is under way included."""
        self._loop.close(self._sock)

    def _receive(self, _bits: int) -> None:
        receive, send, answer_to = self._sock.recvfrom, self._sock.sendto, self._answer
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                packet, peer = receive(_DATAGRAM_BYTES_MAX)
            except OSError:
                return
            answer = answer_to(packet)
            if answer is None:
                continue
            if isinstance(answer, Forward):
                self._forward(packet, peer, answer)
                continue
            # Who doesn't read its answers goes without.
            with contextlib.suppress(OSError):
                send(answer, peer)

    def _forward(self, packet: bytes, peer: Any, question: Forward) -> None:
        def done(answer: bytes) -> None:
            with contextlib.suppress(OSError):
                self._sock.sendto(answer, peer)

        self._forwarder.forward(packet, question, self._seats, done, stream=False)
