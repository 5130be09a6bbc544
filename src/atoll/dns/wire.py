"""Messages between the daemon and the name service: see `atoll.service.packet`.

    request                                                                        answer
    {"op": "hello", "version": 1}                                                  {"version": 1, "pid": 42}
    {"op": "change", "drop": [keys], "put": [entries], "serve": [[key, netns]]}
        + the UDP and the TCP socket of each sandbox to serve                      {"failed": {key: "why"}}
    {"op": "list", "after": ""}                             {"entries": [[key, digest, netns or 0]], "more": true}
    {"op": "stop"}                                                                 {}
    what can't be done                                                             {"error": "..."}

A `netns` is the inode of the namespace whose questions are answered; it can't be another's while its sockets are open.
Law: pure; bytes from outside end as a value or as InvalidRequest.
"""

import hashlib
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from atoll.dns.entries import Asker, Entry, Member
from atoll.errors import InvalidRequest
from atoll.model.addresses import IPAddress
from atoll.service.packet import PACKET_BYTES_MAX, SOCKETS_MAX, encode, number, parse, text, texts

WIRE_VERSION = 1
SERVED_MAX = SOCKETS_MAX // 2
"""Sandboxes in one packet that come with their sockets."""
PAGE_ENTRIES_MAX = 400
"""Entries in one answer to `list`: they stay below PACKET_BYTES_MAX."""
KEY_LENGTH_MAX = 80
_DIGEST_BYTES = 8
_ROOM_BYTES = PACKET_BYTES_MAX - 200 - SERVED_MAX * (KEY_LENGTH_MAX + 30)
"""For keys and entries in one packet."""

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Hello:
    """The first request of a controller."""

    version: int


@dataclass(frozen=True, slots=True)
class Change:
    """Drop and put entries, all in one step, then serve sandboxes: (key, netns) of askers."""

    drop: tuple[str, ...] = ()
    put: tuple[Entry, ...] = ()
    serve: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class List:
    """Entries with keys greater than `after`, in order, at most PAGE_ENTRIES_MAX."""

    after: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the process."""


Request = Hello | Change | List | Stop


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry that the service has; `netns` is 0 where no sandbox is served."""

    key: str
    digest: str
    netns: int


def encode_request(request: Request) -> bytes:
    """A request as a packet."""
    match request:
        case Change(drop, put, serve):
            body: Mapping[str, Any] = {"drop": drop, "put": [_entry_body(entry) for entry in put], "serve": serve}
        case _:
            body = asdict(request)
    return encode({"op": type(request).__name__.lower(), **body})


def parse_request(packet: bytes) -> Request:
    """A request from a packet. Raises InvalidRequest."""
    body = parse(packet)
    match body.get("op"):
        case "hello":
            return Hello(number(body, "version"))
        case "change":
            entries, served = _list(body, "put"), _list(body, "serve")
            return Change(texts(body, "drop"), tuple(map(_entry, entries)), tuple(map(_serve, served)))
        case "list":
            return List(text(body, "after"))
        case "stop":
            return Stop()
        case op:
            raise InvalidRequest(f"unknown request {op!r}")


def changes(
    drop: Sequence[str], put: Sequence[Entry], serve: Sequence[tuple[str, int]]
) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """As few packets as hold a change, each with the keys of the sandboxes whose sockets go with it.

    The parts of one that fits are in one packet, and so happen in one step. Raises InvalidRequest for an entry that
    fits in none.
    """
    if len(serve) <= SERVED_MAX:
        whole = encode_request(Change(tuple(drop), tuple(put), tuple(serve)))
        if len(whole) <= PACKET_BYTES_MAX:
            yield whole, tuple(key for key, _ in serve)
            return
    drops = [(encode({"": key}), key) for key in drop]
    puts = [(encode(_entry_body(entry)), entry) for entry in put]
    serves = list(serve)
    for written, entry in puts:
        if len(written) >= _ROOM_BYTES:
            raise InvalidRequest(
                f"name entry {entry.key!r} has {len(written)} bytes, at most {_ROOM_BYTES} are allowed"
            )
    while drops or puts or serves:
        dropped, room = _fill(drops, _ROOM_BYTES)
        entries, room = _fill(puts, room)
        # A sandbox can be served once it is known.
        served = [] if drops or puts else [serves.pop(0) for _ in range(min(SERVED_MAX, len(serves)))]
        yield encode_request(Change(tuple(dropped), tuple(entries), tuple(served))), tuple(key for key, _ in served)


def digest(entry: Entry) -> str:
    """What tells an entry from another one of its key."""
    return hashlib.blake2b(encode(_entry_body(entry)), digest_size=_DIGEST_BYTES).hexdigest()


def listed_body(listed: Listed) -> list[Any]:
    """An entry as it stands in an answer to `list`."""
    return [listed.key, listed.digest, listed.netns]


def parse_listed(body: Any) -> Listed:
    """An entry from an answer to `list`. Raises InvalidRequest."""
    match body:
        case [str(key), str(its_digest), int(netns)]:
            return Listed(key, its_digest, netns)
    raise InvalidRequest(f"a listed name entry is {body!r:.40}")


def _entry_body(entry: Entry) -> dict[str, Any]:
    match entry:
        case Member(key, network, names, addresses):
            return {"key": key, "network": network, "names": names, "addresses": [str(each) for each in addresses]}
        case Asker(key, networks, forward, servers, search, dotted_only):
            return {
                "key": key,
                "networks": networks,
                "forward": forward,
                "servers": [str(each) for each in servers],
                "search": search,
                "dotted_only": dotted_only,
            }


def _entry(body: Any) -> Entry:
    if not isinstance(body, dict):
        raise InvalidRequest("a name entry is not an object")
    if "network" in body:
        return Member(_key(body), text(body, "network"), texts(body, "names"), _addresses(body, "addresses"))
    networks = tuple(_pair(item) for item in _list(body, "networks"))
    forward, dotted_only = body.get("forward") is not False, body.get("dotted_only") is True
    return Asker(_key(body), networks, forward, _addresses(body, "servers"), texts(body, "search"), dotted_only)


def _key(body: Mapping[str, Any]) -> str:
    key = text(body, "key")
    if not 0 < len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
        raise InvalidRequest(f"invalid key {key[:40]!r}: 1 to {KEY_LENGTH_MAX} printable ASCII characters")
    return key


def _pair(item: Any) -> tuple[str, str]:
    match item:
        case [str(key), str(name)]:
            return key, name
    raise InvalidRequest(f"a network of an asker is {item!r:.40}")


def _serve(item: Any) -> tuple[str, int]:
    match item:
        case [str(key), int(netns)]:
            return key, netns
    raise InvalidRequest(f"a sandbox to serve is {item!r:.40}")


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    if not isinstance(value, list):
        raise InvalidRequest(f"message has no list {name!r}")
    return value


def _addresses(body: Mapping[str, Any], name: str) -> tuple[IPAddress, ...]:
    try:
        return tuple(ipaddress.ip_address(written) for written in texts(body, name))
    except ValueError as error:
        raise InvalidRequest(f"invalid {name}: {error}") from None


def _fill(waiting: list[tuple[bytes, _Part]], room: int) -> tuple[list[_Part], int]:
    """As many of the parts as there is room for, taken from the front, and the room that is left."""
    taken: list[_Part] = []
    while waiting and len(waiting[0][0]) < room:
        written, part = waiting.pop(0)
        taken.append(part)
        room -= len(written) + 1
    return taken, room
