"""Questions by TCP on a bound socket that was handed over; RFC 7766.

Nobody waits for a slow asker: each has a connection of its own, with limits of its own, and a limit on how many.
"""

import errno
import select
import socket
from dataclasses import dataclass

from atoll.dns.answerer import Answerer, Forward
from atoll.dns.limits import Limits
from atoll.dns.message import MESSAGE_BYTES_MAX
from atoll.dns.upstream import Forwarder, Seats
from atoll.service.loop import Loop

_BACKLOG = 128
_SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""accept(2): these stay true until something is closed."""
_UNSENT_BYTES_MAX = 2 * MESSAGE_BYTES_MAX


@dataclass(slots=True)
class Room:
    """How many more connections there may be, of all askers together."""

    free: int


class TcpServer:
    """Accepts and answers the connections of one asker. Owns the socket. Raises OSError when it can't listen."""

    def __init__(
        self,
        loop: Loop,
        limits: Limits,
        room: Room,
        sock: socket.socket,
        answerer: Answerer,
        forwarder: Forwarder,
        seats: Seats,
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.answer = answerer.message
        self.forwarder = forwarder
        self.seats = seats
        self._room = room
        self._sock = sock
        self._connections: set[_Connection] = set()
        self._paused_until: float | None = None
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        loop.watch(sock, select.EPOLLIN, self._accept)

    def close(self) -> None:
        """End the connections and stop listening."""
        for connection in list(self._connections):
            connection.end()
        self.loop.close(self._sock)

    def tick(self, now: float) -> None:
        """End idle connections, accept again after a pause."""
        for connection in list(self._connections):
            connection.tick(now)
        if self._paused_until is not None and now >= self._paused_until:
            self._resume()

    def ended(self, connection: "_Connection") -> None:
        """A connection is over."""
        self._connections.discard(connection)
        self._room.free += 1
        if self._paused_until is not None and self.loop.clock() >= self._paused_until:
            self._resume()

    def _accept(self, _bits: int) -> None:
        while True:
            if not self._room.free or len(self._connections) >= self.limits.asker_connections_max:
                self._pause(0)
                return
            try:
                client, _address = self._sock.accept()
            except OSError as error:
                if error.errno in _SHORTAGE:
                    self._pause(self.limits.accept_retry_s)
                return
            self._room.free -= 1
            self._connections.add(_Connection(self, client))

    def _pause(self, seconds: float) -> None:
        self._paused_until = self.loop.clock() + seconds
        self.loop.change(self._sock, 0)

    def _resume(self) -> None:
        self._paused_until = None
        self.loop.change(self._sock, select.EPOLLIN)


class _Connection:
    """One asker's connection: messages in, each after two bytes of its length, and answers out in any order."""

    def __init__(self, server: TcpServer, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._received = b""
        self._unsent = b""
        self._in_work = 0
        self._asking = True
        self._events = select.EPOLLIN
        self._progress_at = server.loop.clock()
        self._over = False
        sock.setblocking(False)
        server.loop.watch(sock, select.EPOLLIN, self._ready)

    def tick(self, now: float) -> None:
        if now - self._progress_at >= self._server.limits.connection_idle_s:
            self.end()

    def end(self) -> None:
        if not self._over:
            self._over = True
            self._server.loop.close(self._sock)
            self._server.ended(self)

    def _ready(self, bits: int) -> None:
        if bits & (select.EPOLLHUP | select.EPOLLERR):  # reset: there is nobody to answer
            self.end()
            return
        try:
            if bits & select.EPOLLOUT:
                self._send()
            if bits & select.EPOLLIN:
                self._receive()
        except BlockingIOError:
            pass
        except OSError:
            self.end()
            return
        self._go_on()

    def _receive(self) -> None:
        chunk = self._sock.recv(MESSAGE_BYTES_MAX)
        self._asking = bool(chunk)
        self._received += chunk

    def _send(self) -> None:
        sent = self._sock.send(self._unsent)
        self._unsent = self._unsent[sent:]
        self._progress_at = self._server.loop.clock()

    def _go_on(self) -> None:
        """Take up what has been received as far as there is room for answers; then wait for what can come."""
        while not self._over and self._has_room() and self._take_message():
            pass
        if self._over:
            return
        if not self._asking and not self._in_work and not self._unsent:
            self.end()
            return
        reading = select.EPOLLIN if self._asking and self._has_room() else 0
        events = reading | (select.EPOLLOUT if self._unsent else 0)
        if events != self._events:
            self._events = events
            self._server.loop.change(self._sock, events)

    def _has_room(self) -> bool:
        return self._in_work < self._server.limits.pipelined_max and len(self._unsent) < _UNSENT_BYTES_MAX

    def _take_message(self) -> bool:
        """Answer one whole message; False when there is none."""
        end = 2 + int.from_bytes(self._received[:2], "big")
        if len(self._received) < max(2, end):
            return False
        packet, self._received = self._received[2:end], self._received[end:]
        self._progress_at = self._server.loop.clock()
        answer = self._server.answer(packet)
        if answer is None:
            self.end()
        elif isinstance(answer, Forward):
            self._in_work += 1
            self._server.forwarder.forward(packet, answer, self._server.seats, self._forwarded, stream=True)
        else:
            self._unsent += len(answer).to_bytes(2, "big") + answer
        return True

    def _forwarded(self, answer: bytes) -> None:
        self._in_work -= 1
        if not self._over:
            self._unsent += len(answer).to_bytes(2, "big") + answer
            self._progress_at = self._server.loop.clock()
            self._server.loop.soon(self._go_on)
