"""One relayed TCP connection: two sockets, and one way for each direction.

Sockets are watched edge-triggered and never changed afterwards: an edge is remembered in `readable` and `writable`
until the kernel says EAGAIN. A full receiver thus stops the reading of its sender (backpressure reaches the sender
through the kernel's window), and a socket that has hung up doesn't wake the loop again and again.

FIN and RST are told apart: an end of stream is passed on as a half close, after the bytes before it; an error on one
side becomes a reset on the other, after the bytes that had still arrived.
"""

import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from atoll.model.addresses import Family, family_of
from atoll.relay.limits import Limits
from atoll.relay.messages import RelayTarget
from atoll.service.loop import Loop

_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
_CHUNKS_A_TURN = 16
"""Reads of one way before the other connections get their turn."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_NOTHING = memoryview(b"")
_KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 4}
"""A peer that vanished without a word holds its connection for two minutes."""


@dataclass(slots=True, eq=False)
class _Side:
    sock: socket.socket
    readable: bool = False
    writable: bool = False


@dataclass(slots=True, eq=False)
class _Way:
    """Bytes from `source` to `sink`; `held` is read and not yet taken. `ended`: FIN read. `passed`: FIN passed on."""

    source: _Side
    sink: _Side
    held: memoryview = _NOTHING
    ended: bool = False
    passed: bool = False


class TcpConnection:
    """Carries one client's bytes to `target` and back, until both directions ended or one side failed.

    `on_end(connection, reached)` is called once; `reached` is false when there was no connection to the target.
    Owns `client` from the first moment.
    """

    def __init__(
        self,
        loop: Loop,
        limits: Limits,
        client: socket.socket,
        target: RelayTarget,
        on_end: Callable[["TcpConnection", bool], None],
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._on_end = on_end
        self._client = _Side(client)
        self._sides = [self._client]
        self._ways: tuple[_Way, ...] = ()
        self._broken = False
        self._pump_due = False
        self._connecting = True
        self._deadline = loop.clock() + limits.connect_timeout_s
        self.ended = False
        try:
            self._start(target)
        except OSError:
            self.end(reset=True)

    def _start(self, target: RelayTarget) -> None:
        family = socket.AF_INET if family_of(target.address) is Family.V4 else socket.AF_INET6
        server = _Side(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        self._sides.append(server)
        # The way to the client comes first: what an endpoint says before it resets is delivered before the reset.
        self._ways = (_Way(server, self._client), _Way(self._client, server))
        for side in self._sides:
            side.sock.setblocking(False)
            side.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE.items():
                side.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        error = server.sock.connect_ex((str(target.address), target.port))
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
        self._loop.watch(server.sock, _EDGES, self._server_ready)
        self._loop.watch(self._client.sock, _EDGES, self._client_ready)

    def still_connecting(self, now: float) -> bool:
        """True while the target may yet answer; past the deadline the connection is given up."""
        if self._connecting and not self.ended and now >= self._deadline:
            self.end(reset=True)
        return self._connecting and not self.ended

    def end(self, *, reset: bool) -> None:
        """Close both sockets, with RST or in order. Ending twice does nothing."""
        if self.ended:
            return
        self.ended = True
        for side in self._sides:
            if reset:
                side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._loop.close(side.sock)
        self._on_end(self, not self._connecting)

    def _server_ready(self, bits: int) -> None:
        server = self._sides[1]
        if self._connecting:
            if server.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.end(reset=True)
                return
            self._connecting = False
        self._ready(server, bits)

    def _client_ready(self, bits: int) -> None:
        if self._connecting and bits & select.EPOLLERR:
            self.end(reset=True)
            return
        self._ready(self._client, bits)

    def _ready(self, side: _Side, bits: int) -> None:
        failed = bits & (select.EPOLLERR | select.EPOLLHUP)
        side.readable = side.readable or bool(failed or bits & select.EPOLLIN)
        side.writable = side.writable or bool(failed or bits & select.EPOLLOUT)
        if not self._connecting:
            self._pump()

    def _pump(self) -> None:
        self._pump_due = False
        if self.ended:
            return
        try:
            unfinished = [self._carry(way) for way in self._ways]
        except OSError:
            self.end(reset=True)
            return
        if all(way.passed for way in self._ways):
            self.end(reset=self._broken)
        elif any(unfinished):
            self._pump_due = True
            self._loop.soon(self._pump)

    def _carry(self, way: _Way) -> bool:
        """Move what can be moved; True when a turn was not enough. Raises OSError when the source failed."""
        for _ in range(_CHUNKS_A_TURN):
            if way.passed or not self._deliver(way):
                return False
            if way.ended:
                self._pass_end(way)
                return False
            if not way.source.readable:
                return False
            try:
                chunk = way.source.sock.recv(self._limits.buffer_bytes)
            except BlockingIOError:
                way.source.readable = False
                return False
            way.held = memoryview(chunk)
            way.ended = not chunk
        return True

    def _deliver(self, way: _Way) -> bool:
        """Send what is held; False when the receiver takes no more for now."""
        while way.held:
            if not way.sink.writable:
                return False
            try:
                way.held = way.held[way.sink.sock.send(way.held) :]
            except BlockingIOError:
                way.sink.writable = False
                return False
            except OSError:
                self._break(way)
                return True
        return True

    def _break(self, way: _Way) -> None:
        """The sink failed. What it had sent before is still to be read: the other way finds the end of it."""
        self._broken = True
        way.held = _NOTHING
        way.ended = way.passed = True
        way.sink.readable = True
        if not self._pump_due:
            self._pump_due = True
            self._loop.soon(self._pump)

    def _pass_end(self, way: _Way) -> None:
        way.passed = True
        if self._broken:
            return
        try:
            way.sink.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._broken = True
