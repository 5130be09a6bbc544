"""The answer to what others change: notices of the kernel become narrow checks of the objects they are about."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from atoll.engine.context import Context
from atoll.engine.sandbox_verbs import SandboxVerbs
from atoll.kernel.monitor import Lost
from atoll.kernel.notices import Event, Notice, Subject
from atoll.model.firewall import TABLES
from atoll.model.items import FAR, owner_alias
from atoll.plan.compile import Scope

_log = logging.getLogger(__name__)

_NETWORK = owner_alias("network", "").removesuffix(":")

QUIET_NS = 300_000_000
"""An object that we changed less than this ago makes notices that the kernel does not mark as ours. Unless
something is gone, its check waits until it has been quiet for so long, and is then one for all of them."""

CHECKS_MAX = 16
"""Postponed checks made in one step of the queue."""


@dataclass(slots=True)
class _Seen:
    """What notices are about; the value says whether something is gone, not just new or changed."""

    ifnames: dict[str, bool] = field(default_factory=dict)
    networks: dict[str, bool] = field(default_factory=dict)
    nsids: dict[int, bool] = field(default_factory=dict)
    neighbours: dict[tuple[str, str], bool] = field(default_factory=dict)
    meddlers: set[str] = field(default_factory=set)

    def note(self, notice: Notice) -> None:
        """Sort one notice in."""
        gone = notice.event is Event.DEL
        match notice:
            case Notice(subject=Subject.RULES):
                if notice.table in TABLES:
                    who = f"{notice.process} (pid {notice.pid})" if notice.process else "another program"
                    self.meddlers.add(who)
            case Notice(subject=Subject.NETNS | Subject.ADDRESS) if not gone:
                # One more takes nothing from what is ours. Link-local addresses come a second after the cable.
                pass
            case Notice(subject=Subject.NEIGHBOUR, nsid=None):
                neighbour = notice.ifname, notice.address
                self.neighbours[neighbour] = gone or self.neighbours.get(neighbour, False)
            case Notice(nsid=None):
                kind, _, network_id = notice.alias.removesuffix(FAR).rpartition(":")
                if kind == _NETWORK:  # a segment or a joint; the first bridge may be told by its name alone
                    self.networks[network_id] = gone or self.networks.get(network_id, False)
                self.ifnames[notice.ifname] = gone or self.ifnames.get(notice.ifname, False)
            case Notice(nsid=int(nsid)):
                self.nsids[nsid] = gone or self.nsids.get(nsid, False)


class Watch:
    """Turns notices into repairs. Used by the engine's thread."""

    def __init__(self, context: Context, sandboxes: SandboxVerbs) -> None:
        self._context = context
        self._sandboxes = sandboxes
        self._by_nsid: dict[int, str] = {}
        self._postponed: dict[tuple[str, str], None] = {}

    def take(self, notices: Iterable[Notice | Lost], drained_ns: int) -> None:
        """React to everything that was noticed since the last call, each object once.

        All that happened before `drained_ns` was told in earlier calls: so what is told now of an object that we
        changed long before then is another's doing, however late the notices are read.
        """
        seen = _Seen()
        for notice in notices:
            if isinstance(notice, Lost):
                self._sweep()
                return
            if not notice.own:
                seen.note(notice)
        if seen.meddlers:
            self._context.reconciler.repair_rules(", ".join(sorted(seen.meddlers)))
        urgent: set[tuple[str, str]] = set()
        for target, gone in self._targets(seen):
            if gone or self._quiet(target, drained_ns):
                urgent.add(target)
            else:
                self._postponed[target] = None
        self._check(urgent)

    def check_postponed(self) -> float | None:
        """Check a slice of what was postponed and is quiet now; seconds to wait for the rest, None for nothing left."""
        now = self._context.host.now_ns()
        ripe = list(islice((target for target in self._postponed if self._quiet(target, now)), CHECKS_MAX))
        for target in ripe:
            del self._postponed[target]
        self._check(set(ripe))
        if not self._postponed:
            return None
        return 0.0 if len(ripe) == CHECKS_MAX else QUIET_NS / 1e9

    def _targets(self, seen: _Seen) -> Iterator[tuple[tuple[str, str], bool]]:
        """The objects that were seen, as (kind, id), with whether something of theirs is gone."""
        world = self._context.world
        for network_id, gone in seen.networks.items():
            if network_id in world.networks:
                yield ("network", network_id), gone
        for ifname, gone in seen.ifnames.items():
            network, endpoint = world.network_over(ifname), world.endpoint_behind(ifname)
            if network is not None:
                yield ("network", network.id), gone
            if endpoint is not None:
                yield ("sandbox", endpoint.sandbox_id), gone
        for (ifname, address), gone in seen.neighbours.items():
            network = world.network_over(ifname)
            endpoint = world.endpoint_at(network.id, address) if network is not None else None
            if endpoint is not None:
                yield ("sandbox", endpoint.sandbox_id), gone
        for nsid, gone in seen.nsids.items():
            found = self._sandbox_of(nsid)
            if found is not None:
                yield ("sandbox", found), gone

    def _quiet(self, target: tuple[str, str], at_ns: int) -> bool:
        changed_ns = self._context.path.changed_ns.get(target[1])
        # A clock that was set back must not postpone for ever.
        return changed_ns is None or at_ns - changed_ns >= QUIET_NS or self._context.host.now_ns() < changed_ns

    def _check(self, targets: set[tuple[str, str]]) -> None:
        if not targets:
            return
        reconciler = self._context.reconciler
        networks = frozenset(object_id for kind, object_id in targets if kind == "network")
        sandboxes = frozenset(object_id for kind, object_id in targets if kind == "sandbox")
        mended = reconciler.repair(Scope(networks=networks))
        if mended:
            # A bridge that went took its ports' enslavement and the host's neighbours along.
            endpoints = self._context.world.endpoints.values()
            sandboxes |= {endpoint.sandbox_id for endpoint in endpoints if endpoint.network_id in mended}
        self._sandboxes.release_dead(sandboxes)
        mended = reconciler.repair(Scope(sandboxes=sandboxes & self._context.world.sandboxes.keys()))
        # In a namespace that had to be made again nobody answers yet.
        self._context.follow_names(*mended)

    def _sandbox_of(self, nsid: int) -> str | None:
        # Numbers are given anew after a namespace is gone; a wrong guess costs one needless check.
        sandboxes = self._context.world.sandboxes
        if self._by_nsid.get(nsid) not in sandboxes:
            self._by_nsid = {known: owner for known, owner in self._by_nsid.items() if owner in sandboxes}
            # Only those that have none yet are asked for theirs: it takes opening each one's namespace.
            for sandbox_id in sandboxes.keys() - self._by_nsid.values():
                netns = sandboxes[sandbox_id].netns
                number = self._context.host.nsid(netns) if netns is not None else None
                if number is not None:
                    self._by_nsid[number] = sandbox_id
        return self._by_nsid.get(nsid)

    def _sweep(self) -> None:
        _log.warning("notices of the kernel were lost: everything is looked at again")
        self._context.reconciler.repair_rules("another program")
        self._sandboxes.release_dead()
        self._context.reconciler.sweep_host()
