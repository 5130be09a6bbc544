"""The relay's control socket: answers the daemon, and keeps the listeners by key."""

import os
import select
import socket
from collections.abc import Iterable
from typing import Any

from atoll.errors import AtollError, Conflict, InvalidRequest, NotFound
from atoll.model.ports import Protocol
from atoll.relay.limits import Limits
from atoll.relay.loop import Loop
from atoll.relay.tcp import Seats, TcpListener
from atoll.relay.udp import FlowTable, UdpListener
from atoll.relay.wire import (
    PACKET_BYTES_MAX,
    PAGE_ENTRIES_MAX,
    WIRE_VERSION,
    Add,
    Hello,
    List,
    RelayTarget,
    Remove,
    Request,
    Stop,
    Take,
    encode,
    entry_body,
    parse_request,
)

_DESCRIPTORS_A_PACKET = 4
"""One is used; the rest is received to be closed, not left in the message."""

Listener = TcpListener | UdpListener
Answer = tuple[dict[str, Any], list[socket.socket]]


class Relay:
    """All listeners, by the daemon's keys, and what they share."""

    def __init__(self, loop: Loop, limits: Limits) -> None:
        self._loop = loop
        self._limits = limits
        self._seats = Seats(limits.connections_max)
        self._flows = FlowTable(loop, limits)
        self._listeners: dict[str, Listener] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, key: str, target: RelayTarget, sock: socket.socket | None) -> bool:
        """Serve a key; False when that is so already. A new key is served on a duplicate of `sock`.

        Raises InvalidRequest, Conflict; OSError when the socket can't listen.
        """
        listener = self._listeners.get(key)
        if listener is None:
            self._listeners[key] = self._listen(key, target, sock)
            return True
        if listener.target == target:
            return False
        if listener.target.protocol is not target.protocol:
            raise Conflict(f"relay key {key!r} is {listener.target.protocol.word}, not {target.protocol.word}")
        listener.retarget(target)
        return True

    def remove(self, key: str) -> bool:
        """Stop serving a key; False when it isn't served."""
        listener = self._listeners.pop(key, None)
        if listener is not None:
            listener.close()
        return listener is not None

    def socket_of(self, key: str) -> socket.socket:
        """The socket of a key, which stays the listener's. Raises NotFound."""
        if key not in self._listeners:
            raise NotFound(f"relay key {key!r} is not served", subject=key)
        return self._listeners[key].sock

    def page(self, after: str) -> dict[str, Any]:
        """One page of entries, in the order of keys."""
        keys = sorted(key for key in self._listeners if key > after)
        entries = [entry_body(self._listeners[key].entry(key)) for key in keys[:PAGE_ENTRIES_MAX]]
        return {"entries": entries, "more": len(keys) > len(entries)}

    def close(self) -> None:
        """Stop serving all keys."""
        for key in list(self._listeners):
            self.remove(key)

    def tick(self, now: float) -> bool:
        """End what is late. True while anything waits for time to pass."""
        waiting = [listener.tick(now) for listener in self._listeners.values()]
        return self._flows.tick(now) or any(waiting)

    def _listen(self, key: str, target: RelayTarget, sock: socket.socket | None) -> Listener:
        if sock is None:
            raise InvalidRequest(f"relay key {key!r} is new, and no socket came with it")
        kind = socket.SOCK_STREAM if target.protocol is Protocol.TCP else socket.SOCK_DGRAM
        right = sock.family in (socket.AF_INET, socket.AF_INET6) and (sock.type, sock.proto) == (kind, target.protocol)
        if not right or not sock.getsockname()[1]:
            raise InvalidRequest(f"the socket of relay key {key!r} is not a bound {target.protocol.word} socket")
        own = sock.dup()
        try:
            if target.protocol is Protocol.TCP:
                return TcpListener(self._loop, self._limits, self._seats, own, target)
            return UdpListener(self._loop, self._limits, self._flows, own, target)
        except OSError:
            self._loop.close(own)
            raise


class Control:
    """Answers controllers on a listening SOCK_SEQPACKET socket, and ends an idle relay."""

    def __init__(self, loop: Loop, limits: Limits, relay: Relay, sock: socket.socket) -> None:
        self._loop = loop
        self._limits = limits
        self._relay = relay
        self._sock = sock
        self._controllers: set[socket.socket] = set()
        self._idle_since = loop.clock()
        self._accepting = True
        loop.watch(sock, select.EPOLLIN, self._accept)
        loop.request_tick()

    def tick(self, now: float) -> bool:
        """End what is late, the process included when nobody needs it. True while anything waits."""
        waiting = self._relay.tick(now) or not self._accepting
        if not self._accepting:
            self._accepting = True
            self._loop.change(self._sock, select.EPOLLIN)
        if self._controllers or len(self._relay):
            self._idle_since = now
            return waiting
        if now - self._idle_since >= self._limits.idle_exit_s:
            self._loop.stop()
        return True

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
            packet, descriptors, flags, _address = socket.recv_fds(controller, PACKET_BYTES_MAX, _DESCRIPTORS_A_PACKET)
        except BlockingIOError:
            return
        except OSError:
            self._leave(controller)
            return
        sockets = _sockets(descriptors)
        if not packet:
            self._leave(controller)
            return
        body, out = self._answer(packet, sockets, truncated=bool(flags & socket.MSG_TRUNC))
        for sock in sockets:
            sock.close()
        try:
            socket.send_fds(controller, [encode(body)], [sock.fileno() for sock in out])
        except OSError:
            # Who sends requests and reads no answers has to connect again.
            self._leave(controller)

    def _answer(self, packet: bytes, sockets: list[socket.socket], *, truncated: bool) -> Answer:
        try:
            if truncated:
                raise InvalidRequest(f"relay message is longer than {PACKET_BYTES_MAX} bytes")
            return self._carry_out(parse_request(packet), sockets)
        except AtollError as error:
            return {"error": error.message}, []
        except OSError as error:
            return {"error": os.strerror(error.errno or 0).lower()}, []

    def _carry_out(self, request: Request, sockets: list[socket.socket]) -> Answer:
        match request:
            case Hello():
                return {"version": WIRE_VERSION, "pid": os.getpid()}, []
            case Add(key, target):
                return {"changed": self._relay.add(key, target, sockets[0] if sockets else None)}, []
            case Remove(key):
                changed = self._relay.remove(key)
                self._loop.request_tick()
                return {"changed": changed}, []
            case Take(key):
                return {}, [self._relay.socket_of(key)]
            case List(after):
                return self._relay.page(after), []
            case Stop():
                self._loop.stop()
                return {}, []

    def _leave(self, controller: socket.socket) -> None:
        self._controllers.discard(controller)
        self._loop.close(controller)
        self._loop.request_tick()


def _sockets(descriptors: Iterable[int]) -> list[socket.socket]:
    """Received descriptors as sockets; what isn't a socket is closed."""
    sockets = []
    for descriptor in descriptors:
        try:
            sockets.append(socket.socket(fileno=descriptor))
        except OSError:
            os.close(descriptor)
    return sockets
