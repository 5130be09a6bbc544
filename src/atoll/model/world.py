"""The world: every stored object at one revision, as an immutable snapshot with look-ups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from atoll.errors import Conflict, NotFound
from atoll.model.addresses import Family
from atoll.model.container import Container
from atoll.model.heldports import HeldPorts
from atoll.model.indexes import Indexes
from atoll.model.names import short_id
from atoll.model.network import Network
from atoll.model.runs import Runs
from atoll.model.sandbox import Endpoint, NetnsEvidence, Sandbox, SandboxKind
from atoll.model.table import Table

_Named = TypeVar("_Named", Network, Sandbox)
_Record = TypeVar("_Record", Network, Sandbox, Endpoint)

RecordKind = Literal["network", "sandbox", "endpoint", "allowance", "removal", "container"]


@dataclass(frozen=True, slots=True)
class Allowance:
    """New connections may be opened from one network to another; one direction."""

    source_id: str
    target_id: str

    @property
    def id(self) -> str:
        """Key in the store."""
        return f"{self.source_id}:{self.target_id}"


@dataclass(frozen=True, slots=True)
class Removal:
    """A made namespace whose sandbox is gone from the store but which may still be mounted at `path`.

    Written with the sandbox's deletion, deleted when the namespace is: so a crash in between leaves
    nothing behind, and nobody else's namespace is ever taken for a leftover.
    """

    id: str
    path: str


Record = Network | Sandbox | Endpoint | Allowance | Removal | Container


def kind_of(record: Record) -> RecordKind:
    """The table a record belongs to."""
    match record:
        case Network():
            return "network"
        case Sandbox():
            return "sandbox"
        case Endpoint():
            return "endpoint"
        case Allowance():
            return "allowance"
        case Removal():
            return "removal"
        case Container():
            return "container"


@dataclass(frozen=True, slots=True)
class Change:
    """What one request changes in the store, committed together. `puts` add or replace by id."""

    puts: tuple[Record, ...] = ()
    deletes: tuple[Record, ...] = ()


_TABLE: Mapping[RecordKind, str] = {
    "network": "networks",
    "sandbox": "sandboxes",
    "endpoint": "endpoints",
    "allowance": "allowances",
    "removal": "removals",
    "container": "containers",
}


@dataclass(frozen=True)
class World:
    """All objects by id. `after` makes the next world, which shares with this one what it doesn't change.

    So a snapshot may be read by any thread, and the cost of a change is that of what changes.
    """

    networks: Mapping[str, Network] = field(default_factory=Table)
    sandboxes: Mapping[str, Sandbox] = field(default_factory=Table)
    endpoints: Mapping[str, Endpoint] = field(default_factory=Table)
    allowances: Mapping[str, Allowance] = field(default_factory=Table)
    removals: Mapping[str, Removal] = field(default_factory=Table)
    containers: Mapping[str, Container] = field(default_factory=Table)
    _indexes: Indexes = field(default_factory=Indexes)

    @classmethod
    def of(cls, records: Iterable[Record]) -> "World":
        """A world of these records."""
        return cls().after(Change(puts=tuple(records)))

    def after(self, change: Change) -> "World":
        """The world once `change` is made; this one stays as it is."""
        changes: dict[str, dict[str, Record | None]] = {}
        for record in change.deletes:
            changes.setdefault(_TABLE[kind_of(record)], {})[record.id] = None
        for record in change.puts:
            changes.setdefault(_TABLE[kind_of(record)], {})[record.id] = record
        tables = {name: getattr(self, name).after(entries) for name, entries in changes.items()}
        gone, come = [], []
        for name, entries in changes.items():
            before: Mapping[str, Record] = getattr(self, name)
            gone += [before[record_id] for record_id in entries if record_id in before]
            come += [record for record in entries.values() if record is not None]
        return replace(self, _indexes=self._indexes.after(gone, come), **tables)

    def record(self, kind: RecordKind, record_id: str) -> Record | None:
        """One record by kind and id."""
        table: Mapping[str, Record] = getattr(self, _TABLE[kind])
        return table.get(record_id)

    def network(self, reference: str) -> Network:
        """The network of that id, name or unambiguous id prefix, tried in this order, as Docker does.

        Raises NotFound; Conflict when a prefix fits several.
        """
        return _look_up("network", reference, self.networks, self.network_named(reference))

    def network_named(self, name: str) -> Network | None:
        """The network of exactly this name."""
        return _first(self.networks, self._indexes.networks_named(name))

    def network_over(self, ifname: str) -> Network | None:
        """The network whose bridge this is."""
        return _first(self.networks, self._indexes.networks_over(ifname))

    def sandbox(self, reference: str) -> Sandbox:
        """The sandbox of that id, name or unambiguous id prefix. Raises NotFound, Conflict."""
        return _look_up("sandbox", reference, self.sandboxes, self.sandbox_named(reference))

    def sandbox_named(self, name: str) -> Sandbox | None:
        """The sandbox of exactly this name."""
        return _first(self.sandboxes, self._indexes.sandboxes_named(name))

    def sandbox_in(self, netns: NetnsEvidence) -> Sandbox | None:
        """The sandbox whose namespace has this path, or is this very one."""
        return _first(self.sandboxes, self._indexes.sandboxes_in(netns))

    def endpoints_of(self, sandbox_id: str) -> tuple[Endpoint, ...]:
        """A sandbox's endpoints, in the order of their interface names, then ids."""
        mine = [self.endpoints[endpoint_id] for endpoint_id in self._indexes.endpoints_of(sandbox_id)]
        mine.sort(key=lambda endpoint: (len(endpoint.ifname), endpoint.ifname, endpoint.id))
        return tuple(mine)

    def endpoints_on(self, network_id: str) -> tuple[Endpoint, ...]:
        """A network's endpoints, by id."""
        return tuple(self.endpoints[endpoint_id] for endpoint_id in sorted(self._indexes.endpoints_on(network_id)))

    def endpoint_behind(self, host_ifname: str) -> Endpoint | None:
        """The endpoint whose cable has this end on the host."""
        return _first(self.endpoints, self._indexes.endpoints_behind(host_ifname))

    def endpoint_with(self, network_id: str, mac: str) -> Endpoint | None:
        """The endpoint of a network that has this MAC address."""
        return _first(self.endpoints, self._indexes.endpoints_with(network_id, mac))

    def endpoint_at(self, network_id: str, address: str) -> Endpoint | None:
        """The endpoint of a network that has this address: text, without a prefix length."""
        return _first(self.endpoints, self._indexes.endpoints_at(network_id, address))

    def count_on(self, network_id: str, segment: int) -> int:
        """How many endpoints are on a segment of a network."""
        return self._indexes.count_on(network_id, segment)

    def addresses_on(self, network_id: str, family: Family) -> Runs:
        """The addresses of a network's endpoints, as numbers."""
        return self._indexes.addresses_on(network_id, family)

    @property
    def held_ports(self) -> HeldPorts:
        """The host ports of all sandboxes."""
        return self._indexes.ports

    def root_of(self, sandbox: Sandbox) -> Sandbox:
        """The sandbox whose namespace this one uses: itself unless it is joined."""
        while sandbox.kind is SandboxKind.JOINED and sandbox.owner_id is not None:
            sandbox = self.sandboxes[sandbox.owner_id]
        return sandbox

    def members_of(self, sandbox_id: str) -> tuple[Sandbox, ...]:
        """Sandboxes joined to this one, by name."""
        joined = (self.sandboxes[member_id] for member_id in self._indexes.members_of(sandbox_id))
        return tuple(sorted(joined, key=lambda other: other.name))


def _first(table: Mapping[str, _Record], ids: Iterable[str]) -> _Record | None:
    return next((table[record_id] for record_id in ids), None)


def _look_up(kind: str, reference: str, table: Mapping[str, _Named], named: _Named | None) -> _Named:
    # The id first: a sandbox may be named as another's id reads, and must not be taken for it.
    found = table.get(reference) or named
    if found is not None:
        return found
    fits = [item for item in table.values() if reference and item.id.startswith(reference)]
    if len(fits) > 1:
        names = ", ".join(f"{short_id(item.id)} ({item.name})" for item in fits[:4])
        raise Conflict(f"{kind} prefix {reference!r} is ambiguous: {names}", hint="give more digits, or the name")
    if not fits:
        raise NotFound(f"{kind} {reference} not found", hint=f"atoll {kind} ls", subject=reference)
    return fits[0]
