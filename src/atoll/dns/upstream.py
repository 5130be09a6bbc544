"""Questions for other resolvers: asked one after another until one knows, from the namespace of this process."""

import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atoll.dns.answerer import Forward
from atoll.dns.limits import Limits
from atoll.dns.message import MESSAGE_BYTES_MAX, Query, Rcode, is_answer, rcode_of, respond, truncated
from atoll.model.addresses import IPAddress
from atoll.service.loop import Loop

PORT = 53
_FAILURES = {Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NOTIMP}
"""What one resolver says of itself; another may know better."""

Done = Callable[[bytes], None]
"""Takes the answer to the asker's packet."""


@dataclass(slots=True)
class Seats:
    """How many questions of one asker are in flight."""

    taken: int = 0


class Forwarder:
    """Asks other resolvers for everybody, within the limits.

    `host_servers` are asked where a question names none. `random_bytes` gives so many bytes that nobody can guess.
    """

    def __init__(
        self,
        loop: Loop,
        limits: Limits,
        host_servers: Callable[[], Sequence[IPAddress]],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.random_bytes = random_bytes
        self._host_servers = host_servers
        self._flights: set[_Flight] = set()

    def forward(self, packet: bytes, question: Forward, seats: Seats, done: Done, *, stream: bool) -> None:
        """Have a packet answered, by TCP if it came so. `done` is called once, with SERVFAIL when nobody knows."""
        query = question.query
        if len(self._flights) >= self.limits.flights_max or seats.taken >= self.limits.asker_flights_max:
            done(_failure(packet, query))
            return
        servers = list((question.servers or self._host_servers())[: self.limits.servers_max])
        flight = _Flight(self, packet, query, servers, stream=stream)

        def ended(answer: bytes) -> None:
            self._flights.discard(flight)
            seats.taken -= 1
            done(answer)

        self._flights.add(flight)
        seats.taken += 1
        flight.start(ended)

    def tick(self, now: float) -> None:
        """Go on to the next resolver where one is late; to be called a few times a second."""
        for flight in list(self._flights):
            flight.tick(now)


class _Flight:
    """One question on its way from resolver to resolver."""

    def __init__(
        self, forwarder: Forwarder, packet: bytes, query: Query, servers: list[IPAddress], *, stream: bool
    ) -> None:
        self._forwarder = forwarder
        self._packet = packet
        self._query = query
        self._servers = servers
        self._stream = stream
        self._request = b""
        self._unsent = b""
        self._received = b""
        self._sock: socket.socket | None = None
        self._share_s = forwarder.limits.answer_s / max(1, len(servers))
        self._late_at = forwarder.loop.clock()
        self._worst: bytes | None = None
        self._done: Done | None = None

    def start(self, done: Done) -> None:
        self._done = done
        self._next()

    def tick(self, now: float) -> None:
        if now >= self._late_at:
            self._next()

    def _next(self) -> None:
        """Ask the next resolver; a failure of one is the answer only when there is no other."""
        while True:
            self._hang_up()
            if not self._servers:
                self._end(self._worst or _failure(self._packet, self._query))
                return
            # From one to the next, not from now: what a resolver didn't use of its share is the next one's.
            self._late_at += self._share_s
            with contextlib.suppress(OSError):
                self._ask(self._servers.pop(0))
                return

    def _ask(self, server: IPAddress) -> None:
        kind = socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM
        family = socket.AF_INET if server.version == 4 else socket.AF_INET6
        loop = self._forwarder.loop
        # A socket of its own for each: the kernel chooses a port at random, and takes answers from this server alone.
        sock = self._sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        # An id of our own: the asker's may be one that somebody guesses.
        self._request = self._forwarder.random_bytes(2) + self._packet[2:]
        self._received = b""
        if self._stream:
            failed = sock.connect_ex((str(server), PORT))
            if failed not in (0, errno.EINPROGRESS):
                raise OSError(failed, os.strerror(failed))
            self._unsent = len(self._request).to_bytes(2, "big") + self._request
            loop.watch(sock, select.EPOLLOUT, self._send)
        else:
            sock.connect((str(server), PORT))
            sock.send(self._request)
            loop.watch(sock, select.EPOLLIN, self._receive_datagram)

    def _send(self, _bits: int) -> None:
        assert self._sock is not None
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._next()
            return
        if not self._unsent:
            self._forwarder.loop.watch_again(self._sock, select.EPOLLIN, self._receive_stream)

    def _receive_datagram(self, _bits: int) -> None:
        assert self._sock is not None
        try:
            reply = self._sock.recv(MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self._next()
            return
        if is_answer(reply, self._request, self._query):
            self._judge(reply)

    def _receive_stream(self, _bits: int) -> None:
        assert self._sock is not None
        try:
            chunk = self._sock.recv(MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._received += chunk
        length = 2 + int.from_bytes(self._received[:2], "big")
        if len(self._received) >= max(3, length):
            reply = self._received[2:length]
            if is_answer(reply, self._request, self._query):
                self._judge(reply)
                return
            chunk = b""
        if not chunk:
            self._next()

    def _judge(self, reply: bytes) -> None:
        answer = self._packet[:2] + reply[2:]
        if rcode_of(reply) in _FAILURES:
            self._worst = answer
            self._next()
        elif not self._stream and len(answer) > self._query.udp_limit:
            self._end(truncated(self._packet, self._query))
        else:
            self._end(answer)

    def _end(self, answer: bytes) -> None:
        self._hang_up()
        done, self._done = self._done, None
        if done is not None:
            done(answer)

    def _hang_up(self) -> None:
        if self._sock is not None:
            self._forwarder.loop.close(self._sock)
            self._sock = None


def _failure(packet: bytes, query: Query) -> bytes:
    return respond(packet, query, limit=query.udp_limit, rcode=Rcode.SERVFAIL)
