"""What the name service is told by the daemon, carried out: entries put, sandboxes served on sockets of theirs."""

import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from atoll.dns.answerer import Answerer, Memo
from atoll.dns.limits import Limits
from atoll.dns.tcp import Room, TcpServer
from atoll.dns.udp import UdpServer
from atoll.dns.upstream import Forwarder, Seats
from atoll.dns.wire import (
    PAGE_ENTRIES_MAX,
    WIRE_VERSION,
    Change,
    Hello,
    List,
    Listed,
    Stop,
    digest,
    listed_body,
    parse_request,
)
from atoll.dns.zones import Zones
from atoll.errors import AtollError, InvalidRequest, NotFound
from atoll.service.control import Answer
from atoll.service.loop import Loop

_MARK_BYTES = 8


class _Served:
    """A sandbox's servers."""

    def __init__(self, netns: int, udp: UdpServer, tcp: TcpServer) -> None:
        self.netns = netns
        self.udp = udp
        self.tcp = tcp

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


class NameService:
    """All entries, and the sandboxes that are served by key. `turns` are whole numbers in a row."""

    def __init__(self, loop: Loop, limits: Limits, forwarder: Forwarder, turns: Iterator[int]) -> None:
        self._loop = loop
        self._limits = limits
        self._forwarder = forwarder
        self._turns = turns
        self._zones = Zones()
        self._memo = Memo(self._zones, limits.memo_max)
        self._room = Room(limits.connections_max)
        self._served: dict[str, _Served] = {}
        self._digests: dict[str, str] = {}
        """Of entries that were listed; others' are not needed until then."""
        self._marks = 0

    def __len__(self) -> int:
        return len(self._served)

    def answer(self, packet: bytes, sockets: Sequence[socket.socket]) -> Answer:
        """Carry out a request of the daemon. Raises AtollError, OSError."""
        match parse_request(packet):
            case Hello():
                return {"version": WIRE_VERSION, "pid": os.getpid()}, []
            case Change() as change:
                return {"failed": self.change(change, sockets)}, []
            case List(after):
                return self.page(after), []
            case Stop():
                self._loop.stop()
                return {}, []

    def change(self, change: Change, sockets: Sequence[socket.socket]) -> dict[str, str]:
        """Drop, put, and serve on duplicates of `sockets`, two for each sandbox; why not, by key, for who can't be.

        Raises InvalidRequest when the sockets are too few or too many; then nothing is done.
        """
        if len(sockets) != 2 * len(change.serve):
            raise InvalidRequest(f"{len(change.serve)} sandboxes to serve came with {len(sockets)} sockets")
        for key in change.drop:
            self._zones.drop(key)
            self._digests.pop(key, None)
            self._stop_serving(key)
        for entry in change.put:
            self._zones.put(entry)
            self._digests.pop(entry.key, None)
        failed = {}
        for number, (key, netns) in enumerate(change.serve):
            try:
                self._serve(key, netns, *sockets[2 * number : 2 * number + 2])
            except AtollError as error:
                failed[key] = error.message
            except OSError as error:
                failed[key] = os.strerror(error.errno or 0).lower()
        return failed

    def page(self, after: str) -> dict[str, Any]:
        """One page of entries, in the order of keys."""
        keys = sorted(key for key in self._zones.entries if key > after)
        listed = [self._listed(key) for key in keys[:PAGE_ENTRIES_MAX]]
        return {"entries": [listed_body(each) for each in listed], "more": len(keys) > len(listed)}

    def _listed(self, key: str) -> Listed:
        its_digest = self._digests.get(key)
        if its_digest is None:
            its_digest = self._digests[key] = digest(self._zones.entries[key])
        served = self._served.get(key)
        return Listed(key, its_digest, served.netns if served is not None else 0)

    def tick(self, now: float) -> None:
        """End what is late."""
        for served in self._served.values():
            served.tcp.tick(now)
        self._forwarder.tick(now)

    def close(self) -> None:
        """Serve nobody any more."""
        for key in list(self._served):
            self._stop_serving(key)

    def _stop_serving(self, key: str) -> None:
        served = self._served.pop(key, None)
        if served is not None:
            served.close()

    def _serve(self, key: str, netns: int, udp: socket.socket, tcp: socket.socket) -> None:
        if self._zones.asker(key) is None:
            raise NotFound(f"no asker {key!r} is known", subject=key)
        if (udp.type, tcp.type) != (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            raise InvalidRequest(f"the sockets of {key!r} are not one of UDP and one of TCP")
        self._stop_serving(key)
        self._marks += 1
        mark = self._marks.to_bytes(_MARK_BYTES, "big")
        answerer = Answerer(self._zones, self._memo, self._turns, key, mark)
        duplicates = udp.dup(), tcp.dup()
        seats = Seats()
        try:
            tcp_server = TcpServer(
                self._loop, self._limits, self._room, duplicates[1], answerer, self._forwarder, seats
            )
            udp_server = UdpServer(self._loop, duplicates[0], answerer, self._forwarder, seats)
        except OSError:
            for sock in duplicates:
                self._loop.close(sock)
            raise
        self._served[key] = _Served(netns, udp_server, tcp_server)
