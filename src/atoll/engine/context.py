"""What every verb works with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from atoll.engine.events import Event
from atoll.engine.host import Host
from atoll.engine.names import Names
from atoll.engine.path import Path
from atoll.engine.reconciler import Reconciler
from atoll.engine.relays import Relays
from atoll.engine.troubles import Aspect, Troubles
from atoll.kernel.hostports import HostPorts
from atoll.kernel.kernel import Kernel
from atoll.model.world import World
from atoll.plan.driver import Naming
from atoll.store.store import Store

HOST_KEY = "host_key"
"""Store fact: a random id of this host, from which its IPv6 ULA prefix is made."""


@dataclass(frozen=True, slots=True)
class Context:
    """The parts, wired once. Used by the engine's thread."""

    store: Store
    kernel: Kernel
    ports: HostPorts
    host: Host
    naming: Naming
    path: Path
    reconciler: Reconciler
    troubles: Troubles
    relays: Relays
    names: Names
    emit: Callable[[Event], None]

    @property
    def world(self) -> World:
        """The current world."""
        return self.path.world

    def start_relay(self) -> None:
        """Let the relay serve what is needed at the start; what it can't is said, not raised."""
        with self._problems_told(self.relays, Aspect.RELAY):
            self.relays.start(self.world, self.path.facts)

    def begin_relay(self, sandbox_id: str) -> None:
        """Let the relay begin on what a sandbox needs after a change, without waiting: `follow_relay` has to come."""
        self.relays.begin(self.world, sandbox_id, self.path.facts)

    def follow_relay(self, sandbox_id: str) -> None:
        """Let the relay serve what a sandbox needs after a change; what it can't is said, not raised."""
        with self._problems_told(self.relays, Aspect.RELAY):
            self.relays.follow(self.world, sandbox_id, self.path.facts)

    def start_names(self) -> None:
        """Let the name service know all names at the start; whom it can't answer is said, not raised."""
        with self._problems_told(self.names, Aspect.NAMES):
            self.names.start(self.world)

    def follow_names(self, *sandbox_ids: str) -> None:
        """Let the name service know what sandboxes are called after a change; what it can't is said, not raised."""
        with self._problems_told(self.names, Aspect.NAMES):
            self.names.follow(self.world, sandbox_ids)

    @contextmanager
    def _problems_told(self, source: Relays | Names, aspect: Aspect) -> Iterator[None]:
        before = source.problems
        yield
        after = source.problems
        for sandbox_id, problem in after.items():
            self.troubles.begin("sandbox", sandbox_id, aspect, problem)
        for sandbox_id in before.keys() - after.keys():
            self.troubles.end(sandbox_id, aspect)

    def tell(self, kind: str, action: str, object_id: str, /, **attributes: str) -> None:
        """Emit an event now. A container's sandbox goes without: the container's events say as much."""
        if kind == "sandbox" and object_id in self.world.containers:
            return
        self.emit(Event(kind, action, object_id, self.host.now_ns(), attributes))
