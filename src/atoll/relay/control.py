"""What the relay serves by the daemon's keys, and how it answers the daemon."""

import os
import socket
from collections.abc import Sequence
from typing import Any

from atoll.errors import Conflict, InvalidRequest, NotFound
from atoll.model.ports import PORT_MAX, Protocol
from atoll.relay.limits import Limits
from atoll.relay.ranges import Listener, ServedRange, in_a_row
from atoll.relay.tcp import Seats, TcpListener
from atoll.relay.udp import FlowTable, UdpListener
from atoll.relay.wire import (
    PAGE_ENTRIES_MAX,
    WIRE_VERSION,
    Add,
    Hello,
    List,
    RelayTarget,
    Remove,
    Stop,
    Take,
    entry_body,
    parse_request,
)
from atoll.service.control import Answer
from atoll.service.loop import Loop


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

    def answer(self, packet: bytes, sockets: Sequence[socket.socket]) -> Answer:
        """Carry out a request of the daemon; sockets in the answer stay the listeners'. Raises AtollError, OSError."""
        match parse_request(packet):
            case Hello():
                return {"version": WIRE_VERSION, "pid": os.getpid()}, []
            case Add(key, target):
                return {"changed": self.add(key, target, sockets)}, []
            case Remove(key):
                return {"changed": self.remove(key)}, []
            case Take(key):
                return {}, self.sockets_of(key)
            case List(after):
                return self.page(after), []
            case Stop():
                self._loop.stop()
                return {}, []

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
