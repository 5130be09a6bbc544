"""What daemon and relay say to each other: values, and how many fit in one message.

Law: pure; `wire` says what they look like in a packet. What there are thousands of is a tuple, made in a third of the
time.
"""

from dataclasses import dataclass
from typing import NamedTuple

from atoll.model.addresses import IPAddress
from atoll.model.ports import PortRange, Protocol

WIRE_VERSION = 3
KEY_LENGTH_MAX = 200
KEY_PORTS_MAX = 64
"""Ports of one key."""
ROWS_MAX = 500
"""Keys in one `Add`: if all of them fail, the answer stays below PACKET_BYTES_MAX."""
PORTS_MAX = 500
"""Ports that one `Add` opens. The relay opens them in 9 ms, in which it carries nothing."""
REASON_LENGTH_MAX = 100
KEYS_MAX = 128
"""Keys in one `Remove`: the longest ones, with a backslash before each character, fit a packet."""


class RelayTarget(NamedTuple):
    """Where the bytes of a range of host ports go: of the first one to `port`, of the next ones to those after it.

    `protocol` is TCP or UDP.
    """

    protocol: Protocol
    address: IPAddress
    port: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{address}:{self.port}/{self.protocol.word}"


class Lent(NamedTuple):
    """So many of the sockets that come along: bound ones, of one port or of ports in a row.

    None of them is enough for a key that the relay serves already.
    """

    sockets: int = 0


class Opened(NamedTuple):
    """Host ports that the relay binds itself, in its own network namespace. At most KEY_PORTS_MAX."""

    address: IPAddress
    ports: PortRange


class Row(NamedTuple):
    """Serve `key`. All its ports are served, or none.

    Nothing happens when the key has this target already; another target of the same protocol replaces it and ends
    its connections.
    """

    key: str
    target: RelayTarget
    source: Lent | Opened


@dataclass(frozen=True, slots=True)
class Hello:
    """The first request of a controller."""

    version: int


@dataclass(frozen=True, slots=True)
class Add:
    """Serve each of these keys: at most ROWS_MAX, PORTS_MAX ports that are opened, SOCKETS_MAX that come along."""

    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Remove:
    """Stop serving keys and reset their connections. One that isn't served is no error.

    The ports that nobody else has a socket of can be bound again when the answer comes.
    """

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Take:
    """Send duplicates of the sockets of `key`, by port: how a restarted daemon holds the ports again."""

    key: str


@dataclass(frozen=True, slots=True)
class List:
    """Entries with keys greater than `after`, in order, as many as fit a packet."""

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
