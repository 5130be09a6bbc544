"""The floor: the very bytes of one of the engine's attaches, sent again in a bare loop.

Nothing is claimed, planned, looked at or encoded: a namespace is made, ports are bound, rows committed, messages sent.
"""

import re
import sqlite3
import struct
import time
from functools import partial
from itertools import groupby
from pathlib import Path
from socket import socket

from atoll.kernel import links, netns, sysctl
from atoll.kernel.nft.netlink import Kind
from atoll.kernel.portsocket import bind_port
from atoll.kernel.rtnetlink import Request, RouteSocket
from atoll.model.world import Change, kind_of
from atoll.store.codec import encode_record
from bench.recording import Call

_NETNS_FD = re.compile(struct.pack("=HH", 8, 28) + b"(?s:....)")
"""IFLA_NET_NS_FD: the descriptor is another one each time."""
_INDEX = struct.Struct("=4xi")
"""The index in a struct ifinfomsg."""
_NEWLINK = 16

Row = tuple[str, str, int, bytes]


class Floor:
    """Attaches as the recorded attach did, and takes it back. Its rows go to the file `path`."""

    def __init__(self, calls: list[Call], path: Path) -> None:
        self._calls = calls
        (made,) = (call for call in calls if call.name == "make")
        self._netns, self._ipv6 = made.arguments[0], made.keywords["ipv6"]
        (change,) = (call.arguments[1] for call in calls if call.name == "commit")
        self._rows = _rows(change)
        self._store = _connect(path)
        self._bound: list[socket] = []
        self._host: RouteSocket = next(c.arguments[0] for c in calls if c.name == "change" and not c.inside)

    def attach(self) -> float:
        """Seconds that it takes."""
        begun = time.perf_counter()
        for inside, group in groupby(self._calls, lambda call: call.inside):
            if inside:
                netns.run_in(self._netns, partial(_send_inside, list(group)))
            else:
                for call in group:
                    self._send(call)
        return time.perf_counter() - begun

    def detach(self) -> None:
        """Take away what `attach` made, and wait until it is gone."""
        for call in self._calls:
            if call.name == "transact":
                netlink, messages = call.arguments
                netlink.transact([message._replace(kind=Kind.DESTROYSETELEM) for message in messages])
            if call.name == "change" and not call.inside:
                indexes = {_INDEX.unpack_from(each.payload)[0] for each in call.arguments[1] if _makes_link(each)}
                self._host.change([request for index in indexes for request in links.delete_link(index)])
        netns.delete(self._netns)
        for each in self._bound:
            each.close()
        self._bound.clear()
        self._store.execute("DELETE FROM record")

    def _send(self, call: Call) -> None:
        arguments = call.arguments
        match call.name:
            case "make":
                netns.make(self._netns, ipv6=self._ipv6)
            case "bind_port":
                bound = bind_port(*arguments, **call.keywords)
                assert bound is not None, arguments
                self._bound.append(bound)
            case "commit":
                self._store.execute("BEGIN IMMEDIATE")
                self._store.executemany("INSERT INTO record VALUES (?, ?, ?, ?)", self._rows)
                self._store.execute("COMMIT")
            case "change":
                with netns.opened(self._netns) as descriptor:
                    refused = self._host.change([_led_to(descriptor, each) for each in arguments[1]])
                assert not refused, refused
            case "transact":
                netlink, messages = arguments
                netlink.transact(messages)
            case "write":
                sysctl.write(*arguments)


def _send_inside(calls: list[Call]) -> None:
    with RouteSocket() as inner:
        for call in calls:
            if call.name == "change":
                assert not inner.change(call.arguments[1])
            else:
                sysctl.write(*call.arguments)


def _led_to(descriptor: int, request: Request) -> Request:
    payload = _NETNS_FD.sub(struct.pack("=HHI", 8, 28, descriptor), request.payload)
    return request if payload == request.payload else Request(request.kind, payload, request.flags)


def _makes_link(request: Request) -> bool:
    return request.kind == _NEWLINK and _NETNS_FD.search(request.payload) is not None


def _rows(change: Change) -> list[Row]:
    return [(kind_of(record), record.id, 1, encode_record(record)) for record in change.puts]


def _connect(path: Path) -> sqlite3.Connection:
    """As the store: what differs would be measured."""
    store = sqlite3.connect(path, isolation_level=None)
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = NORMAL")
    store.execute("CREATE TABLE record (kind, id, revision, body, PRIMARY KEY (kind, id)) WITHOUT ROWID")
    return store
