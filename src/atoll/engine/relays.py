"""Which host ports the relay has to serve, followed from change to change."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

from atoll.errors import AtollError
from atoll.kernel.portsocket import show_port
from atoll.model.addresses import Family, IPAddress, family_of
from atoll.model.facts import HostFacts
from atoll.model.ports import PortBinding
from atoll.model.world import World
from atoll.plan.publish import RelayNeed, relayed

_log = logging.getLogger(__name__)

RELAYED_PORTS_MAX = 4096
"""Ports that the relay serves in all. Each is a socket of its own: a few kB, 0.015 ms to open, and one of the files
that the relay may open, which are 20,000 on hosts with a low limit and which its connections need, too."""

Answer = Callable[[], Mapping[str, str]]
"""Waits for the relay; gives why not, by sandbox id, for what it can't serve. Raises as SyncRelay."""


class SyncRelay(Protocol):
    """Tells the relay what to serve."""

    def __call__(self, needs: tuple[RelayNeed, ...], gone: tuple[RelayNeed, ...] | None = None) -> Answer:
        """Have the relay serve exactly `needs`; with `gone`, serve `needs` besides what it serves, and `gone` no more.

        It is at work until the answer is asked for: then all that it can serve is served. Raises AtollError, here or
        there, when the relay can't be reached or started; or when it doesn't serve what it did, so that it has to be
        told everything.
        """
        ...


class Relays:
    """Keeps the relay in line with the world. Used by the engine's thread.

    A binding is relayed as a whole or not at all. When there are more than RELAYED_PORTS_MAX, those of the sandboxes
    that are there for longest are served, so that a restart comes to the same.
    """

    def __init__(self, sync: SyncRelay) -> None:
        self._sync = sync
        self._needs: dict[str, RelayNeed] = {}
        self._ports = 0
        """How many ports all needs have."""
        self._answers: list[tuple[str, Answer]] = []
        """What the relay was told of sandboxes and is at work on."""
        self._all_due = False
        """The relay has to be told everything."""
        self.problems: Mapping[str, str] = MappingProxyType({})
        """Why ports of a sandbox are not relayed though they should be, by its id."""

    def start(self, world: World, facts: HostFacts) -> None:
        """Take over all needs at once, and let the relay serve them: it may have outlived a daemon that knew others."""
        self._needs, self._ports = {}, 0
        for sandbox_id in world.sandboxes:
            self._take_over(sandbox_id, _need_of(world, sandbox_id, facts))
        self._serve(world)

    def begin(self, world: World, sandbox_id: str, facts: HostFacts) -> None:
        """Tell the relay what a sandbox needs in `world`, without waiting; `follow` does that."""
        before, need = self._needs.get(sandbox_id), _need_of(world, sandbox_id, facts)
        if need == before:
            return
        ports = self._ports
        self._take_over(sandbox_id, need)
        # As long as there is room for everybody, the others' stay as they are.
        if max(ports, self._ports) > RELAYED_PORTS_MAX:
            self._all_due = True
        if self._all_due:
            return
        try:
            self._answers.append((sandbox_id, self._sync(_if_any(need), _if_any(before))))
        except AtollError as error:
            self._lose(error)

    def follow(self, world: World, sandbox_id: str, facts: HostFacts) -> None:
        """Let the relay serve what a sandbox needs now, and wait until it does."""
        self.begin(world, sandbox_id, facts)
        answers, self._answers = self._answers, []
        for told_id, answer in answers:
            try:
                failed = answer()
            except AtollError as error:
                self._lose(error)
            else:
                others = {other: problem for other, problem in self.problems.items() if other != told_id}
                self.problems = MappingProxyType({**others, **_prefixed(failed)})
        if self._all_due:
            self._serve(world)

    def foreseen(self, world: World, sandbox_id: str, facts: HostFacts) -> str:
        """Why not all ports of a sandbox would be relayed in a world that is only planned, "" when they would."""
        need = _need_of(world, sandbox_id, facts)
        if need is None or need == self._needs.get(sandbox_id):
            return self.problems.get(sandbox_id, "")
        return _divide(world, {**self._needs, sandbox_id: need})[1].get(sandbox_id, "")

    def _take_over(self, sandbox_id: str, need: RelayNeed | None) -> None:
        """Note what a sandbox needs."""
        before = self._needs.pop(sandbox_id, None)
        self._ports += _ports_of(need) - _ports_of(before)
        if need is not None:
            self._needs[sandbox_id] = need

    def _lose(self, error: AtollError) -> None:
        _log.info("relay: told everything again: %s %s", error, error.detail)
        self._all_due = True

    def _serve(self, world: World) -> None:
        self._answers, self._all_due = [], False
        served, beyond = _divide(world, self._needs)
        try:
            failed = self._sync(served)()
        except AtollError as error:
            _log.error("relay: %s %s", error, error.detail)
            failed = {need.sandbox_id: str(error) for need in served}
        self.problems = MappingProxyType({**_prefixed(failed), **beyond})


def _prefixed(problems: Mapping[str, str]) -> dict[str, str]:
    return {sandbox_id: f"relay: {problem}" for sandbox_id, problem in problems.items()}


def _ports_of(need: RelayNeed | None) -> int:
    return sum(len(binding.host) for binding in need.bindings) if need is not None else 0


def _if_any(need: RelayNeed | None) -> tuple[RelayNeed, ...]:
    return (need,) if need is not None else ()


def _need_of(world: World, sandbox_id: str, facts: HostFacts) -> RelayNeed | None:
    sandbox = world.sandboxes.get(sandbox_id)
    return relayed(world, sandbox, facts) if sandbox is not None else None


def _divide(world: World, needs: Mapping[str, RelayNeed]) -> tuple[tuple[RelayNeed, ...], dict[str, str]]:
    """The needs that are served, and by sandbox id why others are beyond the limit."""
    served: list[RelayNeed] = []
    beyond: dict[str, str] = {}
    left = RELAYED_PORTS_MAX
    for sandbox_id in sorted(needs, key=lambda each: (world.sandboxes[each].created_ns, each)):
        need = needs[sandbox_id]
        fitting: list[PortBinding] = []
        for binding in need.bindings:
            if len(binding.host) <= left:
                fitting.append(binding)
                left -= len(binding.host)
            else:
                beyond.setdefault(sandbox_id, _beyond(binding, need.target, left))
        if fitting:
            served.append(replace(need, bindings=tuple(fitting)))
    return tuple(served), beyond


def _beyond(binding: PortBinding, target: IPAddress, left: int) -> str:
    shown = show_port(binding.protocol, binding.host_address or Family.V6.unspecified, binding.host)
    clients = "IPv6 clients" if family_of(target) is Family.V4 else "clients on ::1"
    return f"relay: {shown} is closed to {clients}: of {RELAYED_PORTS_MAX} relayed ports {left} are left"
