"""Who is known by which name on which network, and what of that an asker may know.

Law: no I/O. Putting or dropping an entry costs what that entry has, however many others there are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from atoll.dns.entries import Asker, Entry, Member
from atoll.dns.message import CLASS_IN, Query, RRType, address_record, pointer_record, reversed_address
from atoll.model.addresses import Family, IPAddress, family_of

_RRTYPES = {Family.V4: RRType.A, Family.V6: RRType.AAAA}


@dataclass(frozen=True, slots=True)
class _Place:
    """A member with its records ready, by type."""

    member: Member
    records: Mapping[int, tuple[bytes, ...]]


class Zones:
    """All entries by key. `revision` is another one after each change."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._named: dict[tuple[str, str], dict[str, _Place]] = {}
        """Members by network and name, and then by key."""
        self._addressed: dict[tuple[str, IPAddress], Member] = {}
        self.revision = 0

    @property
    def entries(self) -> Mapping[str, Entry]:
        """All entries by key."""
        return MappingProxyType(self._entries)

    def asker(self, key: str) -> Asker | None:
        """An asker."""
        found = self._entries.get(key)
        return found if isinstance(found, Asker) else None

    def put(self, entry: Entry) -> None:
        """Add an entry, or replace the one of its key."""
        self.drop(entry.key)
        self._entries[entry.key] = entry
        if isinstance(entry, Member):
            place = _Place(entry, _records_of(entry))
            for name in entry.names:
                self._named.setdefault((entry.network, name), {})[entry.key] = place
            for address in entry.addresses:
                self._addressed[entry.network, address] = entry

    def drop(self, key: str) -> None:
        """Take an entry out; one that isn't there is no error."""
        self.revision += 1
        entry = self._entries.pop(key, None)
        if not isinstance(entry, Member):
            return
        for name in entry.names:
            named = self._named.get((entry.network, name), {})
            named.pop(key, None)
            if not named:
                self._named.pop((entry.network, name), None)
        for address in entry.addresses:
            # An address that moved is its new member's already.
            if self._addressed.get((entry.network, address)) is entry:
                del self._addressed[entry.network, address]

    def find(self, asker: Asker, query: Query) -> tuple[bytes, ...] | None:
        """The records that answer a question about a name or address of ours, in no special order.

        None when the name is none of ours; nothing when it is, and has no such record.
        """
        if query.rrclass != CLASS_IN:
            return None
        if query.rrtype == RRType.PTR:
            address = reversed_address(query.name)
            if address is not None:
                return self._pointer(asker, address)
        for name in _with_search(query.name, asker.search):
            found = self._look_up(asker, name, query.rrtype)
            if found is not None:
                return found
        return None

    def _look_up(self, asker: Asker, asked: str, rrtype: int) -> tuple[bytes, ...] | None:
        for name, network_name in _readings(asked):
            known = False
            for network, its_name in asker.networks:
                if network_name not in ("", its_name):
                    continue
                places = self._named.get((network, name))
                if places is None:
                    continue
                known = True
                records = tuple(each for place in places.values() for each in place.records.get(rrtype, ()))
                if records:
                    return records
            if known:
                return ()
        return None

    def _pointer(self, asker: Asker, address: IPAddress) -> tuple[bytes, ...] | None:
        for network, its_name in asker.networks:
            member = self._addressed.get((network, address))
            if member is not None and member.names:
                name = member.names[0]
                record = pointer_record(f"{name}.{its_name}") or pointer_record(name)
                return (record,) if record is not None else ()
        return None


def _records_of(member: Member) -> dict[int, tuple[bytes, ...]]:
    records: dict[int, tuple[bytes, ...]] = {}
    for address in member.addresses:
        rrtype = _RRTYPES[family_of(address)]
        records[rrtype] = (*records.get(rrtype, ()), address_record(address))
    return records


def _with_search(name: str, search: tuple[str, ...]) -> Iterator[str]:
    yield name
    for domain in search:
        if name.endswith("." + domain):
            yield name.removesuffix("." + domain)


def _readings(asked: str) -> Iterator[tuple[str, str]]:
    """How a name can be read: as it is, then as NAME.NETWORK, both of which may have dots: a.b.c as a.b on c, a on b.c.

    Source: the order in which Docker 28's resolver tries them.
    """
    yield asked, ""
    dot = asked.rfind(".")
    while dot > 0:
        yield asked[:dot], asked[dot + 1 :]
        dot = asked.rfind(".", 0, dot)
