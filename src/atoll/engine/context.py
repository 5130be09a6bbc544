"""What every verb works with."""

from collections.abc import Callable
from dataclasses import dataclass

from atoll.engine.events import Event
from atoll.engine.host import Host
from atoll.engine.path import Path
from atoll.engine.reconciler import Reconciler
from atoll.engine.relays import Relays
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
    relays: Relays
    emit: Callable[[Event], None]

    @property
    def world(self) -> World:
        """The current world."""
        return self.path.world

    def follow_relay(self, sandbox_id: str) -> None:
        """Let the relay serve what a sandbox needs after a change; what it can't is said, not raised."""
        problem = self.relays.follow(self.world, (sandbox_id,), self.path.facts)
        if problem:
            self.reconciler.mark("sandbox", sandbox_id, problem)

    def tell(self, kind: str, action: str, object_id: str, /, **attributes: str) -> None:
        """Emit an event now."""
        self.emit(Event(kind, action, object_id, self.host.now_ns(), attributes))
