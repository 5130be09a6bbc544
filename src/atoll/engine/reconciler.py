"""Start-up and repair: the same path over more, or over less, of the world."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from atoll.engine.apply import apply_through, is_element
from atoll.engine.events import Event
from atoll.engine.host import Host
from atoll.engine.path import Path, locate_in, reason_in
from atoll.engine.troubles import Aspect, Troubles
from atoll.errors import AtollError
from atoll.kernel.kernel import Kernel
from atoll.model.firewall import TABLES
from atoll.model.items import HOST, Element, Item, Netns, State, Veth
from atoll.model.ops import Step
from atoll.model.sandbox import SandboxKind
from atoll.model.world import World
from atoll.plan.compile import Scope
from atoll.plan.describe import line
from atoll.plan.diff import diff

_log = logging.getLogger(__name__)

SLICE_MAX = 16
"""Sandboxes swept in one step of the queue, so that requests wait at most a few dozen ms."""

REPAIRS_MAX = 3
REPAIR_WINDOW_NS = 10_000_000_000
"""After so many repairs of one object in this time somebody works against us: it is marked degraded and left."""

LINES_MAX = 16
"""Steps of one repair that are logged one by one; a sandbox may have thousands of ports."""


class Reconciler:
    """Makes the kernel what the store says. Used by the engine's thread."""

    def __init__(
        self, path: Path, kernel: Kernel, host: Host, troubles: Troubles, emit: Callable[[Event], None]
    ) -> None:
        self._path = path
        self._kernel = kernel
        self._host = host
        self._troubles = troubles
        self._emit = emit
        self._unswept: deque[str] = deque()
        self._repairs: dict[str, deque[int]] = {}

    def sweep_host(self) -> tuple[Step, ...]:
        """Make the host's side right and note every sandbox for `sweep_some`; returns what was done.

        Cables that are missing or wrong are left to their sandbox's own sweep, which knows the inside.
        """
        world = self._path.world
        wanted = {key: item for key, item in self._path.compiled(Scope.everything(world)).items() if _of_host(item)}
        locate = locate_in(world)
        # The survey finds what is left over; of what is wanted only observing says whether it is right.
        observed = self._kernel.survey((), locate)
        known = [item for item in wanted.values() if not isinstance(item, Element)]
        observed |= self._kernel.observe(known, locate)
        mine, urgent = _without_cables(wanted, observed)
        theirs = {key: item for key, item in observed.items() if key in mine or key not in wanted}
        steps = diff(mine, theirs, reason_in(world))
        self._apply(steps, HOST, "daemon")
        self._unswept = deque(sorted(world.sandboxes, key=lambda sandbox_id: (sandbox_id not in urgent, sandbox_id)))
        while self._unswept and self._unswept[0] in urgent:
            self.sweep_some()
        return steps

    def sweep_some(self) -> bool:
        """Sweep a slice of the noted sandboxes; True while there are more."""
        for _ in range(min(SLICE_MAX, len(self._unswept))):
            sandbox_id = self._unswept.popleft()
            if self._reachable(sandbox_id):
                self._apply(self._path.check(Scope(sandboxes=frozenset({sandbox_id}))), sandbox_id, "sandbox")
        return bool(self._unswept)

    def repair(self, scope: Scope) -> frozenset[str]:
        """Compare the objects in scope with the kernel and mend them, with an event for each that was wrong.

        Returns the ids of those.
        """
        wrong = set()
        one_by_one = [
            *(("network", i, Scope(networks=frozenset({i}))) for i in sorted(scope.networks)),
            *(("sandbox", i, Scope(sandboxes=frozenset({i}))) for i in sorted(scope.sandboxes) if self._reachable(i)),
            *(("network", i.partition(":")[0], Scope(allowances=frozenset({i}))) for i in sorted(scope.allowances)),
        ]
        if scope.host:
            one_by_one.insert(0, ("daemon", HOST, Scope(host=True)))
        for kind, object_id, one in one_by_one:
            try:
                steps = self._path.check(one)
            except AtollError as error:
                self._troubles.begin(kind, object_id, Aspect.KERNEL, str(error))
                continue
            if steps:
                wrong.add(object_id)
                self._mend(kind, object_id, steps)
            else:
                self._troubles.end(object_id, Aspect.KERNEL)
        return frozenset(wrong)

    def _reachable(self, sandbox_id: str) -> bool:
        """False for a sandbox that is gone, and where the process or path that names another's namespace is.

        Such a namespace may live on by other processes, its cables in use: they can't be told from moved ones.
        """
        sandbox = self._path.world.sandboxes.get(sandbox_id)
        if sandbox is None:
            return False
        return sandbox.kind is not SandboxKind.ATTACHED or sandbox.netns is None or self._host.alive(sandbox.netns)

    def repair_rules(self, by: str) -> None:
        """Put the tables back as they should be after somebody else changed them. `by` names who, for the event."""
        self._rebuild_rules(by)
        # What is right of the rules may still lack elements.
        world = self._path.world
        wanted = _elements(self._path.compiled(Scope.everything(world)))
        steps = diff(wanted, _elements(self._kernel.survey((), locate_in(world))), reason_in(world))
        if steps:
            self._apply(steps, HOST, "daemon")
            self._tell_rules_repaired(by, len(steps))

    def _rebuild_rules(self, by: str) -> bool:
        """Build what is missing or wrong of the tables, with everything that they have to hold, at once."""
        wanted: list[Element] = []

        def everything() -> Iterator[Element]:
            # Not before it is known to be needed: it may be 50,000.
            state = self._path.compiled(Scope.everything(self._path.world))
            wanted.extend(item for item in state.values() if isinstance(item, Element))
            yield from wanted

        built = self._kernel.prepare(everything())
        if built:
            self._troubles.end(HOST, Aspect.KERNEL)
            self._tell_rules_repaired(by, len(wanted))
        return built

    def _tell_rules_repaired(self, by: str, count: int) -> None:
        _log.warning("firewall: tables changed by %s, %d elements put back", by, count)
        attributes = {"what": f"tables {' and '.join(TABLES)}", "by": by, "steps": str(count)}
        self._emit(Event("daemon", "repair", HOST, self._host.now_ns(), attributes))

    def forget(self, object_id: str) -> None:
        """The object is gone: its repairs don't count any more."""
        self._repairs.pop(object_id, None)
        self._troubles.forget(object_id)

    def _mend(self, kind: str, object_id: str, steps: tuple[Step, ...]) -> None:
        if any(map(is_element, steps)) and self._rebuild_rules("another program"):
            # The notice of it comes after that of what else was changed, or waits to be read.
            steps = tuple(step for step in steps if not is_element(step))
            if not steps:
                return
        now = self._host.now_ns()
        times = self._repairs.setdefault(object_id, deque(maxlen=REPAIRS_MAX))
        if len(times) == REPAIRS_MAX and 0 <= now - times[0] < REPAIR_WINDOW_NS:
            again = f"changed by somebody else {REPAIRS_MAX} times in 10 s, left alone: {line(steps[0])}"
            self._troubles.begin(kind, object_id, Aspect.KERNEL, again)
            return
        times.append(now)
        for step in steps[:LINES_MAX]:
            _log.warning("repair %s %s: %s", kind, object_id[:12], line(step))
        if len(steps) > LINES_MAX:
            _log.warning("repair %s %s: and %d more", kind, object_id[:12], len(steps) - LINES_MAX)
        mended = self._apply(steps, object_id, kind)
        if not mended:
            # What stands in the way may be ours under another name: a renamed link is a left-over.
            self.sweep_host()
            mended = object_id not in self._troubles.having(Aspect.KERNEL)
        if mended:
            attributes = {**named(self._path.world, object_id), "what": line(steps[0]), "steps": str(len(steps))}
            self._emit(Event(kind, "repair", object_id, now, attributes))

    def _apply(self, steps: tuple[Step, ...], object_id: str, kind: str) -> bool:
        failed = apply_through(self._kernel, steps, locate_in(self._path.world))
        for step, error in failed[:LINES_MAX]:
            _log.error("cannot %s: %s %s", line(step), error, error.detail)
        if failed:
            step, error = failed[0]
            self._troubles.begin(kind, object_id, Aspect.KERNEL, f"{line(step)}: {error}")
        else:
            self._troubles.end(object_id, Aspect.KERNEL)
        return not failed


def named(world: World, object_id: str) -> Mapping[str, str]:
    """The attributes that name an object in an event."""
    found = world.networks.get(object_id) or world.sandboxes.get(object_id)
    return {"name": found.name} if found else {}


def _elements(state: State) -> State:
    return {key: item for key, item in state.items() if isinstance(item, Element)}


def _of_host(item: Item) -> bool:
    return isinstance(item, Element | Netns) or getattr(item, "netns", HOST) == HOST or isinstance(item, Veth)


def _without_cables(wanted: State, observed: State) -> tuple[State, frozenset[str]]:
    """The state less the cables and namespaces that are not there or not right, and whose sandboxes those are."""
    urgent = set()
    rest: State = {}
    for key, item in wanted.items():
        match item:
            case Netns():
                if key not in observed:
                    urgent.add(item.id)
            case Veth():
                if observed.get(key) != item:
                    urgent.add(item.netns)
            case _:
                rest[key] = item
    return rest, frozenset(urgent)
