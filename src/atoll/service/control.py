"""A service's control socket: takes packets with sockets from the daemon, answers them, and ends an idle service."""

import os
import resource
import select
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from atoll.errors import AtollError, InvalidRequest
from atoll.service.loop import Loop
from atoll.service.packet import PACKET_BYTES_MAX, SOCKETS_MAX, encode

Answer = tuple[dict[str, Any], Sequence[socket.socket]]
"""A message, and sockets to go with it that stay the answerer's."""


class Served(Protocol):
    """What a service does, as its control socket sees it."""

    def __len__(self) -> int:
        """How much it serves; a service with nothing to serve ends when nobody has asked for long."""
        ...

    def answer(self, packet: bytes, sockets: Sequence[socket.socket]) -> Answer:
        """Carry out a request. The sockets are closed afterwards. Raises AtollError, OSError."""
        ...

    def tick(self, now: float) -> object:
        """End what is late; called twice a second."""
        ...


@dataclass(frozen=True, slots=True)
class ControlLimits:
    """`controllers_max` clients of the control socket; `idle_exit_s` without one and with nothing to serve end it."""

    controllers_max: int
    idle_exit_s: float


class ControlSocket:
    """Answers controllers on a listening SOCK_SEQPACKET socket, and stops the loop of a service that nobody needs."""

    def __init__(
        self, loop: Loop, limits: ControlLimits, served: Served, sock: socket.socket, *, soon: bool = False
    ) -> None:
        """`soon` answers in the turn after a request, when the sockets that it closed are closed."""
        self._loop = loop
        self._limits = limits
        self._served = served
        self._sock = sock
        self._path = Path(sock.getsockname())
        self._inode = self._path.stat().st_ino
        self._soon: Callable[[Callable[[], None]], None] = loop.soon if soon else _at_once
        self._controllers: set[socket.socket] = set()
        self._idle_since = loop.clock()
        self._accepting = True
        loop.watch(sock, select.EPOLLIN, self._accept)
        loop.request_tick()

    def tick(self, now: float) -> bool:
        """End what is late, the process included when nobody needs it or can find it. True: it wants to be called."""
        self._served.tick(now)
        if not self._accepting:
            self._accepting = True
            self._loop.change(self._sock, select.EPOLLIN)
        if self._controllers or len(self._served):
            self._idle_since = now
        if now - self._idle_since >= self._limits.idle_exit_s or not self._can_be_found():
            self._loop.stop()
        return True

    def _can_be_found(self) -> bool:
        """False once the path is gone, as with a host that was taken down: its sockets would else be held forever."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def _accept(self, _bits: int) -> None:
        try:
            controller, _address = self._sock.accept()
        except OSError:
            # Out of descriptors: the controller stays in the queue, and would wake the loop without end.
            self._accepting = False
            self._loop.change(self._sock, 0)
            self._loop.request_tick()
            return
        if len(self._controllers) >= self._limits.controllers_max:
            controller.close()
            return
        controller.setblocking(False)
        self._controllers.add(controller)
        self._loop.watch(controller, select.EPOLLIN, lambda _bits: self._serve(controller))

    def _serve(self, controller: socket.socket) -> None:
        try:
            packet, descriptors, flags, _address = socket.recv_fds(controller, PACKET_BYTES_MAX, SOCKETS_MAX)
        except BlockingIOError:
            return
        except OSError:
            self._leave(controller)
            return
        sockets = _sockets(descriptors)
        if not packet:
            self._leave(controller)
            return
        body, out = self._answer(packet, sockets, flags)
        for sock in sockets:
            sock.close()
        self._soon(lambda: self._send(controller, body, out))

    def _send(self, controller: socket.socket, body: dict[str, Any], out: Sequence[socket.socket]) -> None:
        try:
            socket.send_fds(controller, [encode(body)], [sock.fileno() for sock in out])
        except OSError:
            # Who sends requests and reads no answers has to connect again.
            self._leave(controller)

    def _answer(self, packet: bytes, sockets: list[socket.socket], flags: int) -> Answer:
        try:
            if flags & socket.MSG_TRUNC:
                raise InvalidRequest(f"message is longer than {PACKET_BYTES_MAX} bytes")
            if flags & socket.MSG_CTRUNC:
                files_max, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                raise InvalidRequest(f"more than {SOCKETS_MAX} sockets, or no file left to open of {files_max}")
            answer = self._served.answer(packet, sockets)
        except AtollError as error:
            answer = {"error": error.message}, []
        except OSError as error:
            answer = {"error": os.strerror(error.errno or 0).lower()}, []
        self._loop.request_tick()
        return answer

    def _leave(self, controller: socket.socket) -> None:
        self._controllers.discard(controller)
        self._loop.close(controller)
        self._loop.request_tick()


def _at_once(call: Callable[[], None]) -> None:
    call()


def _sockets(descriptors: Iterable[int]) -> list[socket.socket]:
    """Received descriptors as sockets; what isn't a socket is closed."""
    sockets = []
    for descriptor in descriptors:
        try:
            sockets.append(socket.socket(fileno=descriptor))
        except OSError:
            os.close(descriptor)
    return sockets
