"""The one path from a change of the store to the kernel: store, compile, observe, diff, apply."""

from collections.abc import Callable
from dataclasses import dataclass

from atoll.engine.apply import apply_through
from atoll.engine.host import Host
from atoll.errors import ApplyFailed, AtollError, Conflict, NotFound
from atoll.kernel.kernel import Kernel, Locate
from atoll.kernel.undo import apply
from atoll.model.addresses import Family
from atoll.model.facts import HostFacts
from atoll.model.fresh import is_fresh
from atoll.model.items import (
    HOST,
    Address,
    Bridge,
    Element,
    Interface,
    Item,
    Joint,
    Neighbour,
    Netns,
    Route,
    State,
    Sysctl,
    Veth,
    state_of,
)
from atoll.model.names import short_id
from atoll.model.ops import Op, Step
from atoll.model.sandbox import Endpoint, NetnsEvidence, Sandbox, SandboxKind
from atoll.model.world import Change, Record, World, kind_of
from atoll.plan.compile import Scope, compile_host, compile_scope, with_segments
from atoll.plan.diff import Reason, diff
from atoll.plan.effects import Place, announcements, flushes, left_stale
from atoll.plan.loopback import compile_loopbacks
from atoll.store.store import Store

CLOSED_KEY = "forwarding_closed"
"""Store fact: the families whose forwarding atoll switched on, after the boot in which it did: "BOOT 4 6"."""


CHANGED_MAX = 4096
"""How many of our latest changes are remembered."""


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Planned:
    """A change, the world after it, and the steps that make the kernel follow."""

    change: Change
    after: World
    scope: Scope
    steps: tuple[Step, ...]


class Path:
    """Carries changes out. Holds the current world, and the host's facts as last read."""

    def __init__(self, store: Store, kernel: Kernel, host: Host) -> None:
        self._store = store
        self._kernel = kernel
        self._host = host
        self.world = World()
        self.facts = HostFacts()
        self.closed: frozenset[Family] = frozenset()
        self.changed_ns: dict[str, int] = {}
        """When each object was last changed by us, by id."""
        self._stale: dict[Place, None] = {}
        """Addresses to be announced to neighbours of their next holder. Not kept over a restart."""

    def load(self) -> None:
        """Read the host's facts and the store. Raises StoreError."""
        self.look()
        self.world = self._store.load()
        boot, *families = self._store.meta(CLOSED_KEY).split() or [""]
        # Another boot's switch is off again, or was somebody else's this time.
        self.closed = frozenset(Family(int(word)) for word in families if boot == self._boot())

    def _boot(self) -> str:
        return f"{self.facts.boot_id}/{self.facts.netns_cookie}"

    def look(self) -> HostFacts:
        """Read the host's facts again."""
        self.facts = self._host.facts()
        return self.facts

    def forwarding_steps(self, families: frozenset[Family]) -> tuple[Op, ...]:
        """What has to be done before networks of these families can be routed. Effects: none.

        The drop for everybody else's traffic comes before the switch: the host is never an open router.
        """
        ops = self._host_steps(self._closed_with(families))
        return tuple(sorted(ops, key=lambda op: not isinstance(op.item, Element)))

    def ensure_forwarding(self, families: frozenset[Family]) -> None:
        """Switch forwarding on where it is off, and note that we did. Never taken back: others may come to need it.

        Raises StoreError, ApplyFailed.
        """
        steps = self.forwarding_steps(families)
        closed = self._closed_with(families)
        if closed != self.closed:
            families_text = " ".join(str(int(family)) for family in sorted(closed))
            self._store.set_meta(CLOSED_KEY, f"{self._boot()} {families_text}")
            self.closed = closed
        apply(self._kernel, steps, locate_in(self.world))

    def _host_steps(self, closed: frozenset[Family]) -> tuple[Op, ...]:
        wanted = state_of(*compile_host(self.facts, closed))
        return diff(wanted, self._kernel.observe(wanted.values(), locate_in(self.world)), reason_in(self.world))

    def _closed_with(self, families: frozenset[Family]) -> frozenset[Family]:
        return self.closed | {family for family in families if not self.facts.forwarding.get(family, False)}

    def compiled(self, scope: Scope) -> State:
        """What the objects in scope want of the kernel."""
        return compile_scope(self.world, scope, self.facts, self.closed)

    def commit(self, change: Change) -> None:
        """Make a change real that wants nothing of the kernel yet. Raises StoreError."""
        self._store.commit(change)
        self.world = self.world.after(change)

    def plan(self, change: Change, scope: Scope) -> Planned:
        """What `change` would do. Effects: none. Raises Conflict when somebody else's link has one of our names."""
        after = self.world.after(change)
        scope = with_segments(scope, self.world, after)
        before_state = compile_scope(self.world, scope, self.facts, self.closed)
        after_state = compile_scope(after, scope, self.facts, self.closed)
        new = (
            record for record in change.puts if isinstance(record, Sandbox) and record.id not in self.world.sandboxes
        )
        made = frozenset(sandbox.id for sandbox in new if sandbox.kind is SandboxKind.MADE)
        observed = self._observed(before_state, after_state, made, locate_in(after, self.world))
        check_owners(after_state, observed)
        ops = diff(after_state, observed, reason_in(after, self.world))
        steps: tuple[Step, ...] = (
            *ops,
            *flushes(self.world, after, scope),
            *announcements(ops, after, scope, self._stale),
        )
        return Planned(change, after, scope, steps)

    def _observed(self, before: State, after: State, made: frozenset[str], locate: Locate) -> State:
        """What is there of the keys of two states, looking only where it isn't known.

        While nobody else can change the table its elements are those of the state before: a thousand of them cost more
        to ask for than to change. In the namespaces of `made`, which are still to be made, is nothing but what new
        ones are like. A new neighbour takes the place of whichever is there.
        """
        owned = self._kernel.owned()
        known: State = {key: item for key, item in before.items() if owned and isinstance(item, Element)}
        for key, item in after.items():
            if isinstance(item, Sysctl) and item.netns in made and is_fresh(item, ipv6=_begins_with_ipv6(after, item)):
                known[key] = item
        unknown = [
            item
            for key, item in {**before, **after}.items()
            if not (owned and isinstance(item, Element))
            and not (isinstance(item, Neighbour) and key not in before)
            and _namespace_of(item) not in made
        ]
        return {**known, **self._kernel.observe(unknown, locate)}

    def carry_out(self, planned: Planned, committed: Callable[[], None] = _nothing) -> None:
        """Commit and apply; when a step fails, undo the steps and the commit.

        `committed` is called between the two, and begins what others do while the kernel is at work. Raises ApplyFailed
        (nothing is left but what it calls stuck), StoreError (nothing was done).
        """
        before = self.world
        self._store.commit(planned.change)
        self.world = planned.after
        self._note(planned.scope)
        committed()
        try:
            apply(self._kernel, planned.steps, locate_in(planned.after, before))
        except ApplyFailed:
            self._store.commit(_inverse(planned.change, before))
            self.world = before
            raise
        # Not for what was undone: its addresses are still to be announced for the next who gets them.
        self._note_stale(planned.change, before)

    def carry_through(
        self, planned: Planned, committed: Callable[[], None] = _nothing
    ) -> tuple[tuple[Step, AtollError], ...]:
        """Commit, call `committed`, and apply as far as it goes: for removals. Returns the steps that failed."""
        before = self.world
        self._store.commit(planned.change)
        self.world = planned.after
        self._note(planned.scope)
        self._note_stale(planned.change, before)
        committed()
        return apply_through(self._kernel, planned.steps, locate_in(planned.after, before))

    def _note(self, scope: Scope) -> None:
        now = self._host.now_ns()
        for object_id in scope.networks | scope.sandboxes:
            # Those that are gone make no difference to anybody; the latest stand last.
            self.changed_ns.pop(object_id, None)
            self.changed_ns[object_id] = now
        while len(self.changed_ns) > CHANGED_MAX:
            del self.changed_ns[next(iter(self.changed_ns))]

    def _note_stale(self, change: Change, before: World) -> None:
        for record in change.deletes:
            if isinstance(record, Endpoint):
                self._stale.update(dict.fromkeys(left_stale(before, record)))
        for record in change.puts:
            if isinstance(record, Endpoint):
                for address in record.addresses:
                    self._stale.pop((record.network_id, address.ip), None)
        while len(self._stale) > CHANGED_MAX:
            del self._stale[next(iter(self._stale))]

    def check(self, scope: Scope) -> tuple[Op, ...]:
        """How the kernel differs from what the objects in scope want. Effects: none."""
        wanted = self.compiled(scope) | state_of(*compile_loopbacks(self.world, scope))
        observed = self._kernel.observe(wanted.values(), locate_in(self.world))
        return diff(wanted, observed, reason_in(self.world))


def _begins_with_ipv6(state: State, item: Sysctl) -> bool:
    netns = state.get(("netns", item.netns))
    return isinstance(netns, Netns) and netns.ipv6


def _namespace_of(item: Item) -> str:
    """The sandbox whose namespace an item is in, or is; HOST for what is on the host."""
    match item:
        case Netns():
            return item.id
        case Interface() | Address() | Route() | Neighbour() | Sysctl():
            return item.netns
        case _:
            return HOST


def locate_in(*worlds: World) -> Locate:
    """Where a sandbox's namespace is, looked up in these worlds in turn."""

    def locate(sandbox_id: str) -> NetnsEvidence:
        for world in worlds:
            sandbox = world.sandboxes.get(sandbox_id)
            if sandbox is not None and sandbox.netns is not None:
                return sandbox.netns
            removal = world.removals.get(sandbox_id)
            if removal is not None:
                return NetnsEvidence(removal.path, boot_id="", cookie=0)
        raise NotFound(f"sandbox {sandbox_id[:12]} has no namespace", subject=sandbox_id)

    return locate


def reason_in(*worlds: World) -> Reason:
    """Which object wants an item, in words, for the steps that people read; the first world that knows it names it."""

    def reason(item: Item) -> str:
        match item:
            case Element():
                return f"firewall {item.set}"
            case Bridge() | Veth() | Joint():
                return _owner_name(worlds, item.alias)
            case Netns():
                return f"sandbox {_sandbox_name(worlds, item.id)}"
            case _:
                return f"sandbox {_sandbox_name(worlds, item.netns)}" if item.netns else "host"

    return reason


def _owner_name(worlds: tuple[World, ...], alias: str) -> str:
    kind, _, object_id = alias.removeprefix("atoll:").partition(":")
    for world in worlds:
        if object_id in world.networks:
            return f"network {world.networks[object_id].name}"
        endpoint = world.endpoints.get(object_id)
        if endpoint is not None:
            network = world.networks[endpoint.network_id].name
            return f"endpoint of {_sandbox_name(worlds, endpoint.sandbox_id)} on {network}"
    return f"left over: {kind} {short_id(object_id)}"


def _sandbox_name(worlds: tuple[World, ...], sandbox_id: str) -> str:
    names = (world.sandboxes[sandbox_id].name for world in worlds if sandbox_id in world.sandboxes)
    return next(names, short_id(sandbox_id))


def check_owners(wanted: State, observed: State) -> None:
    """Refuse to take over a link that isn't the one we mean. Raises Conflict naming it."""
    for key, there in observed.items():
        mine = wanted.get(key)
        if not isinstance(mine, Bridge | Veth | Joint):
            continue
        alias = getattr(there, "alias", "")
        if alias != mine.alias:
            owner = alias or "somebody else"
            raise Conflict(
                f"interface {mine.ifname} exists already and belongs to {owner}",
                hint=f"ip -d link show {mine.ifname}; then choose another name",
                subject=mine.ifname,
            )


def _inverse(change: Change, before: World) -> Change:
    was: list[Record] = list(change.deletes)
    gone: list[Record] = []
    for record in change.puts:
        old = before.record(kind_of(record), record.id)
        (was if old is not None else gone).append(old if old is not None else record)
    return Change(puts=tuple(was), deletes=tuple(gone))
