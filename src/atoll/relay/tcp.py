"""A TCP host port: accepts clients from a socket that was handed over, within the limits."""

import contextlib
import errno
import select
import socket
from dataclasses import dataclass

from atoll.relay.connection import TcpConnection
from atoll.relay.limits import Limits
from atoll.relay.messages import RelayTarget
from atoll.service.loop import Loop

_ACCEPTS_A_TURN = 64
_SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""accept(2): these stay true until something is closed. All other errors are the one client's."""


@dataclass(slots=True)
class Seats:
    """How many more connections all listeners together may have."""

    free: int


class TcpListener:
    """Listens on a bound socket and carries each client to the target. Owns the socket.

    Raises OSError when the socket can't listen.
    """

    def __init__(self, loop: Loop, limits: Limits, seats: Seats, sock: socket.socket, target: RelayTarget) -> None:
        self._loop = loop
        self._limits = limits
        self._seats = seats
        self._connections: set[TcpConnection] = set()
        self._connecting: set[TcpConnection] = set()
        self._paused_until: float | None = None
        self._total = 0
        self._failed = 0
        self.sock = sock
        self.target = target
        sock.setblocking(False)
        # listen(2) asks for the port again: without this, TIME_WAIT remains of earlier connections refuse it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.listen(limits.backlog)
        loop.watch(sock, select.EPOLLIN, self._accept)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Connections that are open, that there were in total, and that failed."""
        return len(self._connections), self._total, self._failed

    def retarget(self, target: RelayTarget) -> None:
        """Carry new clients to another target; those of the old one are reset."""
        self._reset_connections()
        self.target = target

    def close(self) -> None:
        """Reset the connections and stop listening; the port stays bound where the daemon holds the socket too.

        Closing alone would not do: the duplicate would go on to take clients into its listen queue.
        """
        self._reset_connections()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        # On a socket that doesn't listen, it would let others bind the port.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        self._loop.close(self.sock)

    def tick(self, now: float) -> bool:
        """Give up connects that are late, accept again after a pause. True while there is something to wait for."""
        self._connecting = {connection for connection in self._connecting if connection.still_connecting(now)}
        if self._paused_until is not None and now >= self._paused_until:
            self._resume()
        return self._paused_until is not None or bool(self._connecting)

    def _accept(self, _bits: int) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            if len(self._connections) >= self._limits.listener_connections_max or not self._seats.free:
                self._pause(0)
                return
            try:
                client, _address = self.sock.accept()
            except OSError as error:
                if error.errno in _SHORTAGE:
                    self._pause(self._limits.accept_retry_s)
                return
            self._seats.free -= 1
            self._total += 1
            self._admit(client)

    def _admit(self, client: socket.socket) -> None:
        connection = TcpConnection(self._loop, self._limits, client, self.target, self._ended)
        if not connection.ended:
            self._connections.add(connection)
            self._connecting.add(connection)
            self._loop.request_tick()

    def _ended(self, connection: TcpConnection, reached: bool) -> None:
        self._connections.discard(connection)
        self._seats.free += 1
        self._failed += not reached
        if self._paused_until is not None and self._loop.clock() >= self._paused_until:
            self._resume()

    def _pause(self, seconds: float) -> None:
        self._paused_until = self._loop.clock() + seconds
        self._loop.change(self.sock, 0)
        self._loop.request_tick()

    def _resume(self) -> None:
        self._paused_until = None
        self._loop.change(self.sock, select.EPOLLIN)

    def _reset_connections(self) -> None:
        for connection in list(self._connections):
            connection.end(reset=True)
