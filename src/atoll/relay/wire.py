"""Messages between the daemon and the relay: one JSON object a SOCK_SEQPACKET packet, sockets of a range with it.

    request                                                                             answer
    {"op": "hello", "version": 2}                                                       {"version": 2, "pid": 42}
    {"op": "add", "key", "protocol": "tcp", "target_address", "target_port"} + sockets  {"changed": true}
    {"op": "remove", "key"}                                                             {"changed": true}
    {"op": "take", "key"}                                                               {} + sockets
    {"op": "list", "after": ""}                                                         {"entries": [...], "more": true}
    {"op": "stop"}                                                                      {}
    what can't be done                                                                  {"error": "..."}

Law: pure; bytes from outside end as a value or as InvalidRequest.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from atoll.errors import InvalidRequest
from atoll.model.addresses import IPAddress
from atoll.model.ports import PORT_MAX, Protocol
from atoll.service.packet import encode, number, parse, text

WIRE_VERSION = 2
KEY_LENGTH_MAX = 200
PAGE_ENTRIES_MAX = 100
"""Entries in one answer to `list`: with the longest keys they stay below PACKET_BYTES_MAX."""

_PROTOCOLS = {protocol.word: protocol for protocol in (Protocol.TCP, Protocol.UDP)}


@dataclass(frozen=True, slots=True)
class RelayTarget:
    """Where the bytes of a range of host ports go: of the first one to `port`, of the next ones to those after it.

    `protocol` is TCP or UDP.
    """

    protocol: Protocol
    address: IPAddress
    port: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{address}:{self.port}/{self.protocol.word}"


@dataclass(frozen=True, slots=True)
class Hello:
    """The first request of a controller."""

    version: int


@dataclass(frozen=True, slots=True)
class Add:
    """Serve `key`; sockets come along unless the relay has them for this key: of one port, or of ports in a row.

    All of them are served, or none. Nothing happens when the key has this target already; another target replaces
    it and ends its connections.
    """

    key: str
    target: RelayTarget


@dataclass(frozen=True, slots=True)
class Remove:
    """Stop serving `key` and reset its connections. A key that isn't served is no error."""

    key: str


@dataclass(frozen=True, slots=True)
class Take:
    """Send duplicates of the sockets of `key`, by port: how a restarted daemon holds the ports again."""

    key: str


@dataclass(frozen=True, slots=True)
class List:
    """Entries with keys greater than `after`, in order, at most PAGE_ENTRIES_MAX."""

    after: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process and its connections."""


Request = Hello | Add | Remove | Take | List | Stop


@dataclass(frozen=True, slots=True)
class RelayEntry:
    """A served range of ports. `open` connections or flows now; `total` and `failed` since it was added.

    TCP fails when the target can't be reached, UDP when a datagram can't be passed on.
    """

    key: str
    target: RelayTarget
    open: int = 0
    total: int = 0
    failed: int = 0


def encode_request(request: Request) -> bytes:
    """A request as a packet."""
    match request:
        case Add(key, target):
            body = {"key": key, **_target_body(target)}
        case _:
            body = asdict(request)
    return encode({"op": type(request).__name__.lower(), **body})


def parse_request(packet: bytes) -> Request:
    """A request from a packet. Raises InvalidRequest."""
    body = parse(packet)
    match body.get("op"):
        case "hello":
            return Hello(number(body, "version"))
        case "add":
            return Add(_key(body), _target(body))
        case "remove":
            return Remove(_key(body))
        case "take":
            return Take(_key(body))
        case "list":
            return List(text(body, "after"))
        case "stop":
            return Stop()
        case op:
            raise InvalidRequest(f"unknown relay request {op!r}")


def entry_body(entry: RelayEntry) -> dict[str, Any]:
    """An entry as it stands in an answer to `list`."""
    counts = {"open": entry.open, "total": entry.total, "failed": entry.failed}
    return {"key": entry.key, **_target_body(entry.target), **counts}


def parse_entry(body: Any) -> RelayEntry:
    """An entry from an answer to `list`. Raises InvalidRequest."""
    if not isinstance(body, dict):
        raise InvalidRequest("a relay entry is not an object")
    counts = (number(body, name) for name in ("open", "total", "failed"))
    return RelayEntry(_key(body), _target(body), *counts)


def _target_body(target: RelayTarget) -> dict[str, Any]:
    return {"protocol": target.protocol.word, "target_address": str(target.address), "target_port": target.port}


def _target(body: Mapping[str, Any]) -> RelayTarget:
    word = text(body, "protocol")
    if word not in _PROTOCOLS:
        raise InvalidRequest(f"protocol {word!r} can't be relayed, only tcp and udp")
    written = text(body, "target_address")
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        raise InvalidRequest(f"invalid target_address {written!r}: not an IPv4 or IPv6 address") from None
    port = number(body, "target_port")
    if not 1 <= port <= PORT_MAX:
        raise InvalidRequest(f"target_port {port} is not between 1 and {PORT_MAX}")
    return RelayTarget(_PROTOCOLS[word], address, port)


def _key(body: Mapping[str, Any]) -> str:
    key = text(body, "key")
    if not 0 < len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
        raise InvalidRequest(f"invalid relay key {key[:40]!r}: 1 to {KEY_LENGTH_MAX} printable ASCII characters")
    return key
