"""The world: every stored object at one revision, as an immutable snapshot with look-ups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from atoll.errors import Conflict, NotFound
from atoll.model.names import short_id
from atoll.model.network import Network
from atoll.model.sandbox import Endpoint, Sandbox, SandboxKind

_Named = TypeVar("_Named", Network, Sandbox)

RecordKind = Literal["network", "sandbox", "endpoint", "allowance", "removal"]


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


Record = Network | Sandbox | Endpoint | Allowance | Removal


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
}


@dataclass(frozen=True)
class World:
    """All objects by id. Treat the mappings as read-only: `after` makes the next world."""

    networks: Mapping[str, Network] = field(default_factory=dict)
    sandboxes: Mapping[str, Sandbox] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    allowances: Mapping[str, Allowance] = field(default_factory=dict)
    removals: Mapping[str, Removal] = field(default_factory=dict)
    _by_sandbox: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> "World":
        """A world of these records."""
        return cls().after(Change(puts=tuple(records)))

    def after(self, change: Change) -> "World":
        """The world once `change` is made; this one stays as it is."""
        tables: dict[str, dict[str, Record]] = {}

        def table(record: Record) -> dict[str, Record]:
            name = _TABLE[kind_of(record)]
            if name not in tables:
                tables[name] = dict(getattr(self, name))
            return tables[name]

        for record in change.deletes:
            table(record).pop(record.id, None)
        for record in change.puts:
            table(record)[record.id] = record
        by_sandbox = self._by_sandbox
        if "endpoints" in tables:
            by_sandbox = self._reindexed(change)
        return replace(self, _by_sandbox=by_sandbox, **tables)  # type: ignore[arg-type]

    def _reindexed(self, change: Change) -> dict[str, tuple[Endpoint, ...]]:
        # Kept beside the tables, as every step of an attach asks for one sandbox's endpoints.
        index = dict(self._by_sandbox)
        for record in (*change.deletes, *change.puts):
            if isinstance(record, Endpoint):
                others = tuple(e for e in index.get(record.sandbox_id, ()) if e.id != record.id)
                index[record.sandbox_id] = others
                if not others:
                    del index[record.sandbox_id]
        for record in change.puts:
            if isinstance(record, Endpoint):
                mine = (*index.get(record.sandbox_id, ()), record)
                index[record.sandbox_id] = tuple(sorted(mine, key=lambda e: (len(e.ifname), e.ifname, e.id)))
        return index

    def record(self, kind: RecordKind, record_id: str) -> Record | None:
        """One record by kind and id."""
        table: Mapping[str, Record] = getattr(self, _TABLE[kind])
        return table.get(record_id)

    def network(self, reference: str) -> Network:
        """The network of that id, name or unambiguous id prefix, tried in this order, as Docker does.

        Raises NotFound; Conflict when a prefix fits several.
        """
        return _look_up("network", reference, self.networks)

    def sandbox(self, reference: str) -> Sandbox:
        """The sandbox of that id, name or unambiguous id prefix. Raises NotFound, Conflict."""
        return _look_up("sandbox", reference, self.sandboxes)

    def endpoints_of(self, sandbox_id: str) -> tuple[Endpoint, ...]:
        """A sandbox's endpoints, in the order of their interface names, then ids."""
        return self._by_sandbox.get(sandbox_id, ())

    def endpoints_on(self, network_id: str) -> tuple[Endpoint, ...]:
        """A network's endpoints, by id."""
        there = (endpoint for endpoint in self.endpoints.values() if endpoint.network_id == network_id)
        return tuple(sorted(there, key=lambda endpoint: endpoint.id))

    def root_of(self, sandbox: Sandbox) -> Sandbox:
        """The sandbox whose namespace this one uses: itself unless it is joined."""
        while sandbox.kind is SandboxKind.JOINED and sandbox.owner_id is not None:
            sandbox = self.sandboxes[sandbox.owner_id]
        return sandbox

    def members_of(self, sandbox_id: str) -> tuple[Sandbox, ...]:
        """Sandboxes joined to this one, by name."""
        joined = (other for other in self.sandboxes.values() if other.owner_id == sandbox_id)
        return tuple(sorted(joined, key=lambda other: other.name))


def _look_up(kind: str, reference: str, table: Mapping[str, _Named]) -> _Named:
    # The id first: a sandbox may be named as another's id reads, and must not be taken for it.
    if reference in table:
        return table[reference]
    for item in table.values():
        if item.name == reference:
            return item
    fits = [item for item in table.values() if reference and item.id.startswith(reference)]
    if len(fits) > 1:
        names = ", ".join(f"{short_id(item.id)} ({item.name})" for item in fits[:4])
        raise Conflict(f"{kind} prefix {reference!r} is ambiguous: {names}", hint="give more digits, or the name")
    if not fits:
        raise NotFound(f"{kind} {reference} not found", hint=f"atoll {kind} ls", subject=reference)
    return fits[0]
