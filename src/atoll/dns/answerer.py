"""From a packet to its answer, or to the question that somebody else has to answer.

Law: no I/O.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from atoll.dns.message import MESSAGE_BYTES_MAX, Query, Rcode, parse_query, refuse, respond
from atoll.dns.zones import Zones
from atoll.model.addresses import IPAddress

ROTATED_MAX = 16
"""Up to so many records of an answer are kept ready in every order of rotation."""
_MEMO_PACKET_BYTES_MAX = 300


@dataclass(frozen=True, slots=True)
class Forward:
    """A question for other resolvers: these, or the host's when there are none."""

    query: Query
    servers: tuple[IPAddress, ...]


class Memo:
    """Answers by UDP that are ready as bytes, by who asks and what is asked, until names change."""

    def __init__(self, zones: Zones, memo_max: int) -> None:
        self._zones = zones
        self._memo_max = memo_max
        self._revision = zones.revision
        self._tails: dict[bytes, Iterator[bytes]] = {}

    def __len__(self) -> int:
        return len(self._tails)

    def get(self, key: bytes) -> bytes | None:
        """The next answer, less its id."""
        if self._revision != self._zones.revision:
            self._tails.clear()
            self._revision = self._zones.revision
        tails = self._tails.get(key)
        return None if tails is None else next(tails)

    def put(self, key: bytes, tails: Iterator[bytes]) -> None:
        """Remember an answer. When there is no room everything is forgotten: in use it is back at once."""
        if len(self._tails) >= self._memo_max:
            self._tails.clear()
        self._tails[key] = tails


class Answerer:
    """Answers what one sandbox asks. `key` is the asker's, `mark` its own few bytes in the memo.

    `turns` are whole numbers in a row: of several records, each turn begins with the next one.
    """

    def __init__(self, zones: Zones, memo: Memo, turns: Iterator[int], key: str, mark: bytes) -> None:
        self._zones = zones
        self._memo = memo
        self._turns = turns
        self._mark = mark
        self.key = key

    def datagram(self, packet: bytes) -> bytes | Forward | None:
        """The answer to a datagram; None when it gets none."""
        tail = self._memo.get(self._mark + packet[2:])
        if tail is not None:
            return packet[:2] + tail
        return self._answer(packet, stream=False)

    def message(self, packet: bytes) -> bytes | Forward | None:
        """The answer to a message by TCP; None when it gets none."""
        return self._answer(packet, stream=True)

    def _answer(self, packet: bytes, *, stream: bool) -> bytes | Forward | None:
        query = parse_query(packet)
        if query is None:
            return None
        if isinstance(query, Rcode):
            return refuse(packet, query)
        asker = self._zones.asker(self.key)
        limit = MESSAGE_BYTES_MAX if stream else query.udp_limit
        records = self._zones.find(asker, query) if asker is not None else None
        if records is not None:
            return self._local(packet, query, records, limit, memorable=not stream)
        if asker is None or not asker.forward:
            return respond(packet, query, limit=limit, rcode=Rcode.SERVFAIL)
        if asker.dotted_only and "." not in query.name:
            return respond(packet, query, limit=limit)
        return Forward(query, asker.servers)

    def _local(self, packet: bytes, query: Query, records: tuple[bytes, ...], limit: int, *, memorable: bool) -> bytes:
        first = next(self._turns) % len(records) if records else 0
        turned = records[first:] + records[:first]
        answer = respond(packet, query, turned, limit=limit)
        if memorable and len(records) <= ROTATED_MAX and len(packet) <= _MEMO_PACKET_BYTES_MAX:
            rotations = (
                respond(packet, query, turned[turn:] + turned[:turn], limit=limit)[2:]
                for turn in range(1, max(1, len(turned)))
            )
            # The one that is given now comes last.
            self._memo.put(self._mark + packet[2:], itertools.cycle((*rotations, answer[2:])))
        return answer
