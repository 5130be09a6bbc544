"""The relay's control socket: answers the daemon, and keeps the served ports by key."""

import os
import resource
import select
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from atoll.errors import AtollError, Conflict, InvalidRequest, NotFound
from atoll.model.ports import PORT_MAX, Protocol
from atoll.relay.limits import Limits
from atoll.relay.loop import Loop
from atoll.relay.ranges import Listener, ServedRange, in_a_row
from atoll.relay.tcp import Seats, TcpListener
from atoll.relay.udp import FlowTable, UdpListener
from atoll.relay.wire import (
    PACKET_BYTES_MAX,
    PAGE_ENTRIES_MAX,
    SOCKETS_MAX,
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

Answer = tuple[dict[str, Any], list[socket.socket]]


class Relay:
    """All served ranges of ports, by the daemon's keys, and what they share."""

    def __init__(self, loop: Loop, limits: Limits) -> None:
        self._loop = loop
        self._limits = limits
        self._seats = Seats(limits.connections_max)
        self._flows = FlowTable(loop, limits)
        self._ranges: dict[str, ServedRange] = {}

    def __len__(self) -> int:
        return len(self._ranges)

    def add(self, key: str, target: RelayTarget, sockets: Sequence[socket.socket]) -> bool:
        """Serve a key; False when that is so already. A new key is served on duplicates of `sockets`.

        Raises InvalidRequest, Conflict; OSError when a socket can't listen.
        """
        served = self._ranges.get(key)
        if served is None:
            self._ranges[key] = ServedRange(in_a_row(key, sockets, target), target, self._listen)
            return True
        if served.target == target:
            return False
        if served.target.protocol is not target.protocol:
            raise Conflict(f"relay key {key!r} is {served.target.protocol.word}, not {target.protocol.word}")
        if target.port + len(served.sockets) - 1 > PORT_MAX:
            raise InvalidRequest(f"relay key {key!r} leads to ports above {PORT_MAX}")
        served.retarget(target)
        return True

    def remove(self, key: str) -> bool:
        """Stop serving a key; False when it isn't served."""
        served = self._ranges.pop(key, None)
        if served is not None:
            served.close()
        return served is not None

    def sockets_of(self, key: str) -> list[socket.socket]:
        """The sockets of a key by port, which stay the listeners'. Raises NotFound."""
        if key not in self._ranges:
            raise NotFound(f"relay key {key!r} is not served", subject=key)
        return self._ranges[key].sockets

    def page(self, after: str) -> dict[str, Any]:
        """One page of entries, in the order of keys."""
        keys = sorted(key for key in self._ranges if key > after)
        entries = [entry_body(self._ranges[key].entry(key)) for key in keys[:PAGE_ENTRIES_MAX]]
        return {"entries": entries, "more": len(keys) > len(entries)}

    def close(self) -> None:
        """Stop serving all keys."""
        for key in list(self._ranges):
            self.remove(key)

    def tick(self, now: float) -> bool:
        """End what is late. True while anything waits for time to pass."""
        waiting = [served.tick(now) for served in self._ranges.values()]
        return self._flows.tick(now) or any(waiting)

    def _listen(self, sock: socket.socket, target: RelayTarget) -> Listener:
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
        # In the next turn, when what the request closed is closed: its ports can be bound again by then.
        self._loop.soon(lambda: self._send(controller, body, out))

    def _send(self, controller: socket.socket, body: dict[str, Any], out: list[socket.socket]) -> None:
        try:
            socket.send_fds(controller, [encode(body)], [sock.fileno() for sock in out])
        except OSError:
            # Who sends requests and reads no answers has to connect again.
            self._leave(controller)

    def _answer(self, packet: bytes, sockets: list[socket.socket], flags: int) -> Answer:
        try:
            if flags & socket.MSG_TRUNC:
                raise InvalidRequest(f"relay message is longer than {PACKET_BYTES_MAX} bytes")
            if flags & socket.MSG_CTRUNC:
                files_max, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                raise InvalidRequest(f"more than {SOCKETS_MAX} sockets, or no file left to open of {files_max}")
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
                return {"changed": self._relay.add(key, target, sockets)}, []
            case Remove(key):
                changed = self._relay.remove(key)
                self._loop.request_tick()
                return {"changed": changed}, []
            case Take(key):
                return {}, self._relay.sockets_of(key)
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
