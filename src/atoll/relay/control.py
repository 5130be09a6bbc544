"""What the relay serves by the daemon's keys, and how it answers the daemon."""

import errno
import os
import resource
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atoll.errors import AtollError, Conflict, InvalidRequest, NotFound
from atoll.model.ports import Protocol
from atoll.relay.addresstext import AddressText
from atoll.relay.limits import Limits
from atoll.relay.messages import WIRE_VERSION, Add, Hello, Lent, List, RelayEntry, RelayTarget, Remove, Row, Stop, Take
from atoll.relay.ranges import Listener, ServedRange, duplicates, in_a_row, open_row, require_ports
from atoll.relay.tcp import Seats, TcpListener
from atoll.relay.udp import FlowTable, UdpListener
from atoll.relay.wire import failed_body, page_body, parse_request
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
        self._host = AddressText()

    def __len__(self) -> int:
        return len(self._ranges)

    def add(self, row: Row, sockets: Sequence[socket.socket]) -> None:
        """Serve a key. A new one is served on duplicates of `sockets`, which came with the row, or on what it opens.

        Raises InvalidRequest, Conflict; OSError when a socket can't be opened or can't listen.
        """
        served = self._ranges.get(row.key)
        if served is None:
            self._ranges[row.key] = ServedRange(self._sockets_of(row, sockets), row.target, self._listen)
        elif served.target != row.target:
            if served.target.protocol is not row.target.protocol:
                raise Conflict(f"the key is {served.target.protocol.word}, not {row.target.protocol.word}")
            require_ports(row.target, len(served.sockets))
            served.retarget(row.target)

    def remove(self, key: str) -> None:
        """Stop serving a key; one that isn't served is no error."""
        served = self._ranges.pop(key, None)
        if served is not None:
            served.close()

    def sockets_of(self, key: str) -> list[socket.socket]:
        """The sockets of a key by port, which stay the listeners'. Raises NotFound."""
        if key not in self._ranges:
            raise NotFound(f"relay key {key!r} is not served", subject=key)
        return self._ranges[key].sockets

    def entries(self, after: str) -> Iterator[RelayEntry]:
        """What is served under keys greater than `after`, in their order."""
        return (self._ranges[key].entry(key) for key in sorted(key for key in self._ranges if key > after))

    def answer(self, packet: bytes, sockets: Sequence[socket.socket]) -> Answer:
        """Carry out a request of the daemon; sockets in the answer stay the listeners'. Raises AtollError, OSError."""
        match parse_request(packet):
            case Hello():
                return {
                    "version": WIRE_VERSION,
                    "pid": os.getpid(),
                    "netns": Path("/proc/self/ns/net").stat().st_ino,
                }, []
            case Add(rows):
                return self._add_all(rows, sockets), []
            case Remove(keys):
                for key in keys:
                    self.remove(key)
                return {}, []
            case Take(key):
                return {}, self.sockets_of(key)
            case List(after):
                return page_body(self.entries(after)), []
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

    def _add_all(self, rows: Sequence[Row], sockets: Sequence[socket.socket]) -> dict[str, Any]:
        lent = [row.source.sockets if isinstance(row.source, Lent) else 0 for row in rows]
        if sum(lent) != len(sockets):
            raise InvalidRequest(f"{len(sockets)} sockets came, not {sum(lent)}")
        failed: dict[int, str] = {}
        first = 0
        for place, (row, count) in enumerate(zip(rows, lent, strict=True)):
            try:
                self.add(row, sockets[first : first + count])
            except AtollError as error:
                failed[place] = error.message
            except OSError as error:
                failed[place] = _reason(error)
            first += count
        return failed_body(failed)

    def _sockets_of(self, row: Row, lent: Sequence[socket.socket]) -> list[socket.socket]:
        """The sockets of a new key by port, owned by whoever asks."""
        if not isinstance(row.source, Lent):
            require_ports(row.target, len(row.source.ports))
            return open_row(row.target.protocol, row.source, self._host(row.source.address))
        found = in_a_row(lent, row.target.protocol)
        require_ports(row.target, len(found))
        return duplicates(found)

    def _listen(self, sock: socket.socket, target: RelayTarget) -> Listener:
        try:
            if target.protocol is Protocol.TCP:
                return TcpListener(self._loop, self._limits, self._seats, sock, target)
            return UdpListener(self._loop, self._limits, self._flows, sock, target)
        except OSError:
            self._loop.close(sock)
            raise


def _reason(error: OSError) -> str:
    if error.errno == errno.EMFILE:
        return f"no file left to open of {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"
    return os.strerror(error.errno or 0).lower()
