"""Which host ports the relay has to serve, followed from change to change."""

import logging
from collections.abc import Callable, Iterable

from atoll.errors import AtollError
from atoll.model.facts import HostFacts
from atoll.model.world import World
from atoll.plan.publish import RelayNeed, relayed

_log = logging.getLogger(__name__)

SyncRelay = Callable[[tuple[RelayNeed, ...]], None]
"""Make the relay serve exactly these. Raises AtollError when it can't be reached or started."""


class Relays:
    """Keeps the relay in line with the world. Used by the engine's thread."""

    def __init__(self, sync: SyncRelay) -> None:
        self._sync = sync
        self._needs: dict[str, tuple[RelayNeed, ...]] = {}

    def follow(self, world: World, sandbox_ids: Iterable[str], facts: HostFacts) -> str:
        """Take over what these sandboxes need now; returns why it could not be served, "" when it is."""
        changed = False
        for sandbox_id in sandbox_ids:
            sandbox = world.sandboxes.get(sandbox_id)
            needs = relayed(world, sandbox, facts) if sandbox else ()
            if needs != self._needs.get(sandbox_id, ()):
                changed = True
                self._needs[sandbox_id] = needs
                if not needs:
                    del self._needs[sandbox_id]
        if not changed:
            return ""
        return self.serve()

    def serve(self) -> str:
        """Tell the relay everything again; returns why it could not be, "" when it could."""
        try:
            self._sync(tuple(need for needs in self._needs.values() for need in needs))
        except AtollError as error:
            _log.error("relay: %s %s", error, error.detail)
            return f"relay: {error}"
        return ""
