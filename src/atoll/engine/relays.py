"""Which host ports the relay has to serve, followed from change to change."""

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

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


class SyncRelay(Protocol):
    """Tells the relay what to serve."""

    def __call__(self, needs: tuple[RelayNeed, ...], gone: tuple[RelayNeed, ...] | None = None) -> Mapping[str, str]:
        """Make the relay serve exactly `needs`; with `gone`, serve `needs` besides what it serves, and `gone` no more.

        Gives why not, by sandbox id, for what can't be served. Raises AtollError when the relay can't be reached or
        started; or when it doesn't serve what it did, so that it has to be told everything.
        """
        ...


class Relays:
    """Keeps the relay in line with the world. Used by the engine's thread.

    A binding is relayed as a whole or not at all. When there are more than RELAYED_PORTS_MAX, those of the sandboxes
    that are there for longest are served, so that a restart comes to the same.
    """

    def __init__(self, sync: SyncRelay) -> None:
        self._sync = sync
        self._needs: dict[str, tuple[RelayNeed, ...]] = {}
        self._ports = 0
        """How many ports all needs have."""
        self.problems: Mapping[str, str] = MappingProxyType({})
        """Why ports of a sandbox are not relayed though they should be, by its id."""

    def start(self, world: World, facts: HostFacts) -> None:
        """Take over all needs at once, and let the relay serve them: it may have outlived a daemon that knew others."""
        self._needs, self._ports = {}, 0
        for sandbox_id in world.sandboxes:
            self._take_over(world, sandbox_id, facts)
        self._serve(world)

    def follow(self, world: World, sandbox_id: str, facts: HostFacts) -> None:
        """Let the relay serve what a sandbox needs now."""
        ports, before = self._ports, self._needs.get(sandbox_id, ())
        if not self._take_over(world, sandbox_id, facts):
            return
        # As long as there is room for everybody, the others' stay as they are.
        if max(ports, self._ports) > RELAYED_PORTS_MAX or not self._changed(sandbox_id, before):
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
        self._ports += _ports_of(needs) - _ports_of(self._needs.pop(sandbox_id, ()))
        if needs:
            self._needs[sandbox_id] = needs
        return True

    def _changed(self, sandbox_id: str, before: tuple[RelayNeed, ...]) -> bool:
        """Tell the relay what is new of one sandbox; False when it has to be told everything."""
        try:
            failed = self._sync(self._needs.get(sandbox_id, ()), before)
        except AtollError as error:
            _log.info("relay: told everything again: %s %s", error, error.detail)
            return False
        others = {other: problem for other, problem in self.problems.items() if other != sandbox_id}
        self.problems = MappingProxyType({**others, **_prefixed(failed)})
        return True

    def _serve(self, world: World) -> None:
        served, beyond = _divide(world, self._needs)
        try:
            failed = self._sync(served)
        except AtollError as error:
            _log.error("relay: %s %s", error, error.detail)
            failed = {need.sandbox_id: str(error) for need in served}
        self.problems = MappingProxyType({**_prefixed(failed), **beyond})


def _prefixed(problems: Mapping[str, str]) -> dict[str, str]:
    return {sandbox_id: f"relay: {problem}" for sandbox_id, problem in problems.items()}


def _ports_of(needs: Iterable[RelayNeed]) -> int:
    return sum(len(need.binding.host) for need in needs)


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
