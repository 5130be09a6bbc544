"""The answer to what others change: notices of the kernel become narrow checks of the objects they are about."""

import logging
from collections.abc import Iterable

from atoll.engine.context import Context
from atoll.engine.reconciler import affected
from atoll.engine.sandbox_verbs import SandboxVerbs
from atoll.engine.startup import release_dead
from atoll.kernel.monitor import Lost
from atoll.kernel.notices import Event, Notice, Subject
from atoll.model.firewall import TABLE, TABLE_FAMILY
from atoll.plan.compile import Scope

_log = logging.getLogger(__name__)


class Watch:
    """Turns notices into repairs. Used by the engine's thread.

    What we changed ourselves is mostly marked as own and skipped; where the kernel doesn't tell, the
    check finds nothing to do.
    """

    def __init__(self, context: Context, sandboxes: SandboxVerbs) -> None:
        self._context = context
        self._sandboxes = sandboxes
        self._by_nsid: dict[int, str] = {}

    def take(self, notices: Iterable[Notice | Lost]) -> None:
        """React to everything that was noticed since the last call, each object once."""
        ifnames: set[str] = set()
        nsids: set[int] = set()
        meddlers: set[str] = set()
        for notice in notices:
            match notice:
                case Lost():
                    self._sweep()
                    return
                case Notice(own=True):
                    continue
                case Notice(subject=Subject.RULES):
                    if notice.table == f"{TABLE_FAMILY} {TABLE}":
                        meddlers.add(f"{notice.process} (pid {notice.pid})" if notice.process else "another program")
                case Notice(subject=Subject.NETNS, nsid=int(nsid)):
                    if notice.event is Event.DEL:
                        nsids.add(nsid)
                case Notice(nsid=None):
                    ifnames.add(notice.ifname)
                case Notice(nsid=int(nsid)):
                    nsids.add(nsid)
        if meddlers:
            self._context.reconciler.repair_rules(", ".join(sorted(meddlers)))
        self._check(affected(self._context.world, ifnames - {""}), nsids)

    def _check(self, scope: Scope, nsids: set[int]) -> None:
        sandboxes = scope.sandboxes | {found for nsid in nsids if (found := self._sandbox_of(nsid))}
        if not sandboxes and not scope.networks:
            return
        release_dead(self._context, self._sandboxes, only=frozenset(sandboxes))
        self._context.reconciler.repair(Scope(networks=scope.networks, sandboxes=frozenset(sandboxes)))

    def _sandbox_of(self, nsid: int) -> str | None:
        # Numbers are given anew after a namespace is gone; a wrong guess costs one needless check.
        if nsid not in self._by_nsid or self._by_nsid[nsid] not in self._context.world.sandboxes:
            self._by_nsid = {}
            for sandbox in self._context.world.sandboxes.values():
                known = self._context.host.nsid(sandbox.netns) if sandbox.netns is not None else None
                if known is not None:
                    self._by_nsid[known] = sandbox.id
        return self._by_nsid.get(nsid)

    def _sweep(self) -> None:
        _log.warning("notices of the kernel were lost: everything is looked at again")
        self._context.reconciler.repair_rules("another program")
        release_dead(self._context, self._sandboxes)
        self._context.reconciler.sweep_host()
