"""Look-ups beside the tables of a world: who has which name, address, MAC and host port.

Law: what they say follows from the records alone, and is the same whether they were kept from change to change or
made anew.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from atoll.model.addresses import Family, family_of
from atoll.model.heldports import HeldPorts
from atoll.model.network import Network
from atoll.model.runs import Runs
from atoll.model.sandbox import Endpoint, NetnsEvidence, Sandbox
from atoll.model.table import Table

Ids = tuple[str, ...]
"""Ids of records, in order."""

_Indexed = Network | Sandbox | Endpoint
_Key = tuple[str, ...]
"""What is looked up, after the word for what it is."""


@dataclass(frozen=True)
class Indexes:
    """Immutable, as the world that it belongs to: `after` makes the next.

    `ports` are the host ports that sandboxes hold.
    """

    ports: HeldPorts = field(default_factory=HeldPorts)
    _ids: Table[_Key, Ids] = field(default_factory=Table)
    """By keys that few records share."""
    _members: Table[str, Table[str, Endpoint]] = field(default_factory=Table)
    """By network, by id: as many as there are."""
    _addresses: Table[tuple[str, Family], Runs] = field(default_factory=Table)
    _segments: Table[tuple[str, int], int] = field(default_factory=Table)
    """Numbers of endpoints by network and segment."""

    def after(self, gone: Iterable[object], come: Iterable[object]) -> "Indexes":
        """Without the records of `gone`, which are there, and with those of `come`, of which none is there any more."""
        less = [record for record in gone if isinstance(record, _Indexed)]
        more = [record for record in come if isinstance(record, _Indexed)]
        return Indexes(
            _ports_after(self.ports, less, more),
            _ids_after(self._ids, less, more),
            _members_after(self._members, less, more),
            _addresses_after(self._addresses, less, more),
            _segments_after(self._segments, less, more),
        )

    def networks_named(self, name: str) -> Ids:
        """Networks of this name: one at most, but for a broken store."""
        return self._ids.get(("network", name), ())

    def sandboxes_named(self, name: str) -> Ids:
        """Sandboxes of this name: one at most, but for a broken store."""
        return self._ids.get(("sandbox", name), ())

    def sandboxes_in(self, netns: NetnsEvidence) -> Ids:
        """Sandboxes whose namespace has the same path, or the same cookie in the same boot."""
        return next((found for key in _netns_keys(netns) if (found := self._ids.get(key))), ())

    def members_of(self, sandbox_id: str) -> Ids:
        """Sandboxes that are joined to this one."""
        return self._ids.get(("owner", sandbox_id), ())

    def endpoints_of(self, sandbox_id: str) -> Ids:
        """Endpoints of a sandbox."""
        return self._ids.get(("endpoints", sandbox_id), ())

    def endpoints_with(self, network_id: str, mac: str) -> Ids:
        """Endpoints of a network with this MAC address."""
        return self._ids.get(("mac", network_id, mac), ())

    def endpoints_at(self, network_id: str, address: str) -> Ids:
        """Endpoints of a network with this address, as text without a prefix length."""
        return self._ids.get(("address", network_id, address), ())

    def endpoints_behind(self, host_ifname: str) -> Ids:
        """Endpoints whose cable has this end on the host."""
        return self._ids.get(("cable", host_ifname), ())

    def networks_over(self, ifname: str) -> Ids:
        """Networks whose bridge this is."""
        return self._ids.get(("bridge", ifname), ())

    def endpoints_on(self, network_id: str) -> Table[str, Endpoint]:
        """Endpoints of a network by id."""
        return self._members.get(network_id, Table())

    def addresses_on(self, network_id: str, family: Family) -> Runs:
        """Addresses of a network's endpoints, as numbers."""
        return self._addresses.get((network_id, family), Runs())

    def count_on(self, network_id: str, segment: int) -> int:
        """How many endpoints are on a segment of a network."""
        return self._segments.get((network_id, segment), 0)


def _keys(record: _Indexed) -> Iterator[_Key]:
    match record:
        case Network():
            yield "network", record.name
            if record.bridge is not None:
                yield "bridge", record.bridge.ifname
        case Sandbox():
            yield "sandbox", record.name
            if record.owner_id is not None:
                yield "owner", record.owner_id
            if record.netns is not None:
                yield from _netns_keys(record.netns)
        case Endpoint():
            yield "endpoints", record.sandbox_id
            if record.mac:
                yield "mac", record.network_id, record.mac
            if record.host_ifname:
                yield "cable", record.host_ifname
            for address in record.addresses:
                yield "address", record.network_id, str(address.ip)


def _netns_keys(netns: NetnsEvidence) -> Iterator[_Key]:
    yield "netns", netns.path
    # That of a namespace of ours is not stored: it is another after a reboot.
    if netns.cookie:
        yield "cookie", netns.boot_id, str(netns.cookie)


def _ids_after(ids: Table[_Key, Ids], gone: Iterable[_Indexed], come: Iterable[_Indexed]) -> Table[_Key, Ids]:
    changes: dict[_Key, Ids] = {}
    for record in gone:
        for key in _keys(record):
            there = changes[key] if key in changes else ids[key]
            changes[key] = tuple(other for other in there if other != record.id)
    for record in come:
        for key in _keys(record):
            there = changes[key] if key in changes else ids.get(key, ())
            changes[key] = tuple(sorted((*there, record.id)))
    return ids.after({key: found or None for key, found in changes.items()})


def _members_after(
    members: Table[str, Table[str, Endpoint]], gone: Iterable[_Indexed], come: Iterable[_Indexed]
) -> Table[str, Table[str, Endpoint]]:
    by_network: dict[str, dict[str, Endpoint | None]] = defaultdict(dict)
    for record in gone:
        if isinstance(record, Endpoint):
            by_network[record.network_id][record.id] = None
    for record in come:
        if isinstance(record, Endpoint):
            by_network[record.network_id][record.id] = record
    following = {network_id: members.get(network_id, Table()).after(each) for network_id, each in by_network.items()}
    return members.after({network_id: table or None for network_id, table in following.items()})


def _addresses_after(
    addresses: Table[tuple[str, Family], Runs], gone: Iterable[_Indexed], come: Iterable[_Indexed]
) -> Table[tuple[str, Family], Runs]:
    less, more = _numbers(gone), _numbers(come)
    following = {
        key: addresses.get(key, Runs()).after(less.get(key, ()), more.get(key, ())) for key in less.keys() | more.keys()
    }
    return addresses.after({key: runs if runs.firsts else None for key, runs in following.items()})


def _numbers(records: Iterable[_Indexed]) -> dict[tuple[str, Family], list[int]]:
    numbers: dict[tuple[str, Family], list[int]] = defaultdict(list)
    for record in records:
        if isinstance(record, Endpoint):
            for address in record.addresses:
                numbers[record.network_id, family_of(address)].append(int(address.ip))
    return numbers


def _segments_after(
    segments: Table[tuple[str, int], int], gone: Iterable[_Indexed], come: Iterable[_Indexed]
) -> Table[tuple[str, int], int]:
    difference: Counter[tuple[str, int]] = Counter()
    difference.update((record.network_id, record.segment) for record in come if isinstance(record, Endpoint))
    difference.subtract((record.network_id, record.segment) for record in gone if isinstance(record, Endpoint))
    return segments.after({key: segments.get(key, 0) + count or None for key, count in difference.items()})


def _ports_after(ports: HeldPorts, gone: Iterable[_Indexed], come: Iterable[_Indexed]) -> HeldPorts:
    less = {record.id: record.bindings for record in gone if isinstance(record, Sandbox)}
    more = {record.id: record.bindings for record in come if isinstance(record, Sandbox)}
    # Most changes of a sandbox leave its ports, which may be thousands, as they are.
    moved = [sandbox_id for sandbox_id in less.keys() | more.keys() if less.get(sandbox_id) != more.get(sandbox_id)]
    return ports.after(
        (binding for sandbox_id in moved for binding in less.get(sandbox_id, ())),
        (binding for sandbox_id in moved for binding in more.get(sandbox_id, ())),
    )
