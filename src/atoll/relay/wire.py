"""Messages between the daemon and the relay: one JSON object a SOCK_SEQPACKET packet, sockets with it (SCM_RIGHTS).

    request                                               answer
    {"op": "hello", "version": 3}                         {"version": 3, "pid": 42, "netns": 4026531840}
    {"op": "add", "rows": [row, ...]} + sockets           {"failed": [[0, "reason"], ...]}
    {"op": "remove", "keys": ["web", ...]}                {}
    {"op": "take", "key": "web"}                          {} + sockets
    {"op": "list", "after": ""}                           {"entries": [entry, ...], "more": true}
    {"op": "stop"}                                        {}
    what can't be done                                    {"error": "..."}

A row is one key, with the sockets that come along or with the host ports that the relay opens itself:

    ["web", "tcp", "10.0.0.2", 80, 1]                     1 socket, the next one of those in the packet
    ["web", "tcp", "10.0.0.2", 80, "::", 8080, 8089]      an address, the first and the last port

Rows fail one by one, and are told by their place. An entry is a key as it is served, with its counts: open, total,
failed.

    ["web", "tcp", "10.0.0.2", 80, 1, 7, 0]

Law: pure; bytes from outside end as a value or as InvalidRequest.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from atoll.errors import InvalidRequest
from atoll.model.addresses import IPAddress
from atoll.model.ports import PORT_MAX, PortRange, Protocol
from atoll.relay.addresstext import AddressText
from atoll.relay.messages import (
    KEY_LENGTH_MAX,
    KEY_PORTS_MAX,
    KEYS_MAX,
    PORTS_MAX,
    REASON_LENGTH_MAX,
    ROWS_MAX,
    Add,
    Hello,
    Lent,
    List,
    Opened,
    RelayEntry,
    RelayTarget,
    Remove,
    Request,
    Row,
    Stop,
    Take,
)
from atoll.service.packet import PACKET_BYTES_MAX, SOCKETS_MAX, encode, number, parse, text, texts

_ROWS_BYTES_MAX = PACKET_BYTES_MAX - 100
"""What is around rows and entries is shorter."""

_ENTRY_BYTES_MAX = 150
"""An entry without its key, of which each character may need a backslash: an IPv6 address, numbers of 64 bits."""

_ROW_BYTES_MAX = 113
"""A row without its key: two IPv6 addresses, a protocol, three ports, and what is between them."""

_PROTOCOLS = {protocol.word: protocol for protocol in (Protocol.TCP, Protocol.UDP)}
_LENT_ROW: list[type] = [str, str, str, int, int]
_OPENED_ROW: list[type] = [str, str, str, int, str, int, int]
_WORDS = {protocol: word for word, protocol in _PROTOCOLS.items()}


def encode_request(request: Request) -> bytes:
    """A request as a packet, whose limits `pack` keeps and this doesn't look at."""
    match request:
        case Add(rows):
            encode_row = _RowEncoder()
            return encode({"op": "add", "rows": [encode_row(row) for row in rows]})
        case _:
            return encode({"op": type(request).__name__.lower(), **asdict(request)})


def pack(rows: Sequence[Row]) -> Iterator[tuple[Sequence[Row], bytes]]:
    """Rows as packets of `Add`, as few as the limits allow, each with the rows that it has."""
    encode_row = _RowEncoder()
    first = octets = ports = sockets = 0
    bodies: list[list[str | int]] = []
    for place, row in enumerate(rows):
        body, length, source = encode_row(row), _length(row.key), row.source
        lent, opened = (source.sockets, 0) if isinstance(source, Lent) else (0, len(source.ports))
        octets, ports, sockets = octets + length, ports + opened, sockets + lent
        full = octets > _ROWS_BYTES_MAX or ports > PORTS_MAX or sockets > SOCKETS_MAX or len(bodies) == ROWS_MAX
        if bodies and full:
            yield rows[first:place], encode({"op": "add", "rows": bodies})
            first, bodies = place, []
            octets, ports, sockets = length, opened, lent
        bodies.append(body)
    if bodies:
        yield rows[first:], encode({"op": "add", "rows": bodies})


def pack_keys(keys: Sequence[str]) -> Iterator[bytes]:
    """Keys as packets of `Remove`."""
    for first in range(0, len(keys), KEYS_MAX):
        yield encode_request(Remove(tuple(keys[first : first + KEYS_MAX])))


def parse_request(packet: bytes) -> Request:
    """A request from a packet. Raises InvalidRequest."""
    body = parse(packet)
    match body.get("op"):
        case "hello":
            return Hello(number(body, "version"))
        case "add":
            return Add(_rows(_list(body, "rows", ROWS_MAX)))
        case "remove":
            return Remove(tuple(map(_key, texts(body, "keys"))))
        case "take":
            return Take(_key(body.get("key")))
        case "list":
            return List(text(body, "after"))
        case "stop":
            return Stop()
        case op:
            raise InvalidRequest(f"unknown relay request {op!r}")


def failed_body(failed: Mapping[int, str]) -> dict[str, Any]:
    """The answer to `add`: why not, by place, for rows that are not served."""
    return {"failed": [[place, reason[:REASON_LENGTH_MAX]] for place, reason in failed.items()]}


def parse_failed(body: Mapping[str, Any]) -> dict[int, str]:
    """Why not, by place, from an answer to `add`. Raises InvalidRequest."""
    failed: dict[int, str] = {}
    for each in _list(body, "failed", ROWS_MAX):
        match each:
            case [int(place), str(reason)]:
                failed[place] = reason
            case _:
                raise InvalidRequest(f"{each!r} is no place of a relay row and a reason")
    return failed


def page_body(entries: Iterable[RelayEntry]) -> dict[str, Any]:
    """The answer to `list`: entries, as many as surely fit; "more" when that isn't all of them."""
    bodies: list[list[str | int]] = []
    octets = 0
    for entry in entries:
        octets += 2 * len(entry.key) + _ENTRY_BYTES_MAX
        if octets > _ROWS_BYTES_MAX:
            return {"entries": bodies, "more": True}
        bodies.append(_entry_body(entry))
    return {"entries": bodies, "more": False}


def parse_page(body: Mapping[str, Any]) -> tuple[list[RelayEntry], bool]:
    """Entries from an answer to `list`, and whether there are more. Raises InvalidRequest."""
    addresses = _Addresses()
    entries = [_entry(each, addresses) for each in _list(body, "entries", PACKET_BYTES_MAX)]
    return entries, body.get("more") is True


class _RowEncoder:
    """Writes rows. Addresses that come several times in a row become text once."""

    def __init__(self) -> None:
        self._target = AddressText()
        self._host = AddressText()

    def __call__(self, row: Row) -> list[str | int]:
        target, source = row.target, row.source
        word = _WORDS[target.protocol]
        if isinstance(source, Lent):
            return [row.key, word, self._target(target.address), target.port, source.sockets]
        ports = source.ports
        return [
            row.key,
            word,
            self._target(target.address),
            target.port,
            self._host(source.address),
            ports.first,
            ports.last,
        ]


class _Addresses(dict[str, IPAddress]):
    """Addresses by their text, each parsed once a message. Raises InvalidRequest."""

    def __missing__(self, text: str) -> IPAddress:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise InvalidRequest(f"invalid address {text[:40]!r}: neither IPv4 nor IPv6") from None
        self[text] = address
        return address


def _length(key: str) -> int:
    """What a row with this key takes of a packet, at most."""
    return len(key) + key.count("\\") + key.count('"') + _ROW_BYTES_MAX


def _rows(rows: Sequence[object]) -> tuple[Row, ...]:
    addresses = _Addresses()
    found = tuple(_row(row, addresses) for row in rows)
    if sum(len(row.source.ports) for row in found if isinstance(row.source, Opened)) > PORTS_MAX:
        raise InvalidRequest(f"a relay request opens more than {PORTS_MAX} ports")
    return found


def _row(row: Any, addresses: _Addresses) -> Row:
    kinds = [type(field) for field in row] if isinstance(row, list) else []
    match row:
        case [key, word, address, port, sockets] if kinds == _LENT_ROW:
            if not 0 <= sockets <= SOCKETS_MAX:
                raise InvalidRequest(f"{sockets} sockets are not between 0 and {SOCKETS_MAX}")
            return Row(_key(key), _target(word, addresses[address], port), Lent(sockets))
        case [key, word, address, port, host, first, last] if kinds == _OPENED_ROW:
            if not 1 <= first <= last <= min(PORT_MAX, first + KEY_PORTS_MAX - 1):
                raise InvalidRequest(f"{first}-{last} are not 1 to {KEY_PORTS_MAX} ports between 1 and {PORT_MAX}")
            source = Opened(addresses[host], PortRange(first, last))
            return Row(_key(key), _target(word, addresses[address], port), source)
        case _:
            raise InvalidRequest(f"{str(row)[:40]} is no relay row")


def _entry_body(entry: RelayEntry) -> list[str | int]:
    target = entry.target
    there: list[str | int] = [entry.key, target.protocol.word, str(target.address), target.port]
    return [*there, entry.open, entry.total, entry.failed]


def _entry(entry: object, addresses: _Addresses) -> RelayEntry:
    match entry:
        case [str(key), str(word), str(address), int(port), int(open_), int(total), int(failed)]:
            return RelayEntry(_key(key), _target(word, addresses[address], port), open_, total, failed)
        case _:
            raise InvalidRequest(f"{str(entry)[:40]} is no relay entry")


def _target(word: str, address: IPAddress, port: int) -> RelayTarget:
    if word not in _PROTOCOLS:
        raise InvalidRequest(f"protocol {word[:40]!r} can't be relayed, only tcp and udp")
    if not 1 <= port <= PORT_MAX:
        raise InvalidRequest(f"target port {port} is not between 1 and {PORT_MAX}")
    return RelayTarget(_PROTOCOLS[word], address, port)


def _key(key: object) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
        shown = str(key)[:40]
        raise InvalidRequest(f"invalid relay key {shown!r}: 1 to {KEY_LENGTH_MAX} printable ASCII characters")
    return key


def _list(body: Mapping[str, Any], name: str, length_max: int) -> list[Any]:
    value = body.get(name)
    if not isinstance(value, list) or len(value) > length_max:
        raise InvalidRequest(f"relay message has no list {name!r} of at most {length_max}")
    return value
