"""Which host ports the relay has to serve, followed from change to change."""

import logging
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from atoll.errors import AtollError
from atoll.kernel.portsocket import show_port
from atoll.model.addresses import Family, family_of
from atoll.model.facts import HostFacts
from atoll.model.world import World
from atoll.plan.publish import RelayNeed, relayed

_log = logging.getLogger(__name__)

RELAYED_PORTS_MAX = 4096
"""Ports that the relay serves in all. Each is a socket of its own: a few kB, 0.03 ms to open, and one of the files that
the relay may open, which are 20,000 on hosts with a low limit and which its connections need, too."""

SyncRelay = Callable[[tuple[RelayNeed, ...]], Mapping[str, str]]
"""Make the relay serve exactly these; gives why not, by sandbox id, for what it can't. Raises AtollError when it can't
be reached or started."""


class Relays:
    """Keeps the relay in line with the world. Used by the engine's thread.

    A binding is relayed as a whole or not at all. When there are more than RELAYED_PORTS_MAX, those of the sandboxes
    that are there for longest are served, so that a restart comes to the same.
    """

    def __init__(self, sync: SyncRelay) -> None:
        self._sync = sync
        self._needs: dict[str, tuple[RelayNeed, ...]] = {}
        self.problems: Mapping[str, str] = MappingProxyType({})
        """Why ports of a sandbox are not relayed though they should be, by its id."""

    def start(self, world: World, facts: HostFacts) -> None:
        """Take over all needs at once, and let the relay serve them: it may have outlived a daemon that knew others."""
        self._needs = {}
        for sandbox_id in world.sandboxes:
            self._take_over(world, sandbox_id, facts)
        self._serve(world)

    def follow(self, world: World, sandbox_id: str, facts: HostFacts) -> None:
        """Let the relay serve what a sandbox needs now."""
        if self._take_over(world, sandbox_id, facts):
            self._serve(world)

    def problem(self, world: World, sandbox_id: str, facts: HostFacts) -> str:
        """Why not all of a sandbox's ports are relayed, "" when they are. `world` may be one that is only planned."""
        needs = _needs_of(world, sandbox_id, facts)
        if needs == self._needs.get(sandbox_id, ()):
            return self.problems.get(sandbox_id, "")
        return _divide(world, {**self._needs, sandbox_id: needs})[1].get(sandbox_id, "")

    def _take_over(self, world: World, sandbox_id: str, facts: HostFacts) -> bool:
        """Note what a sandbox needs; True when that has changed."""
        needs = _needs_of(world, sandbox_id, facts)
        if needs == self._needs.get(sandbox_id, ()):
            return False
        self._needs[sandbox_id] = needs
        if not needs:
            del self._needs[sandbox_id]
        return True

    def _serve(self, world: World) -> None:
        served, beyond = _divide(world, self._needs)
        try:
            failed = self._sync(served)
        except AtollError as error:
            _log.error("relay: %s %s", error, error.detail)
            failed = {need.sandbox_id: str(error) for need in served}
        prefixed = {sandbox_id: f"relay: {problem}" for sandbox_id, problem in failed.items()}
        self.problems = MappingProxyType({**prefixed, **beyond})


def _needs_of(world: World, sandbox_id: str, facts: HostFacts) -> tuple[RelayNeed, ...]:
    sandbox = world.sandboxes.get(sandbox_id)
    return relayed(world, sandbox, facts) if sandbox is not None else ()


def _divide(world: World, needs: Mapping[str, Iterable[RelayNeed]]) -> tuple[tuple[RelayNeed, ...], dict[str, str]]:
    """The needs that are served, and by sandbox id why others are beyond the limit."""
    served: list[RelayNeed] = []
    beyond: dict[str, str] = {}
    left = RELAYED_PORTS_MAX
    for sandbox_id in sorted(needs, key=lambda each: (world.sandboxes[each].created_ns, each)):
        for need in needs[sandbox_id]:
            if len(need.binding.host) <= left:
                served.append(need)
                left -= len(need.binding.host)
            else:
                beyond.setdefault(sandbox_id, _beyond(need, left))
    return tuple(served), beyond


def _beyond(need: RelayNeed, left: int) -> str:
    binding = need.binding
    shown = show_port(binding.protocol, binding.host_address or Family.V6.unspecified, binding.host)
    clients = "IPv6 clients" if family_of(need.target) is Family.V4 else "clients on ::1"
    return f"relay: {shown} is closed to {clients}: of {RELAYED_PORTS_MAX} relayed ports {left} are left"
