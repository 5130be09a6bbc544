"""A diagnosis: what the engine knows is taken by its thread, the look at the host and the judging happen aside."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from atoll.doctor.diagnose import diagnose
from atoll.doctor.finding import Finding
from atoll.doctor.snapshot import Snapshot
from atoll.engine.context import Context
from atoll.model.hostview import HostView
from atoll.model.ports import PortBinding


def prepare_diagnosis(context: Context) -> Callable[[], tuple[Finding, ...]]:
    """Note what only the engine's thread may read; the call that is returned is for any other thread.

    It raises KernelError where interfaces and routes can't be read.
    """
    facts = context.path.look()
    degraded = dict(context.troubles.degraded)
    known = Snapshot(context.world, facts, degraded=degraded, owned=context.kernel.owned())
    return partial(_diagnose, known, context.host.view)


def _diagnose(known: Snapshot, look: Callable[[Sequence[PortBinding]], HostView]) -> tuple[Finding, ...]:
    bindings = tuple(binding for sandbox in known.world.sandboxes.values() for binding in sandbox.bindings)
    return diagnose(replace(known, view=look(bindings)))
