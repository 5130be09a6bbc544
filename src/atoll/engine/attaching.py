"""What can be wrong with somebody else's namespace when an endpoint is put into it."""

from collections.abc import Iterator
from contextlib import contextmanager

from atoll.engine.host import Host
from atoll.engine.path import Planned
from atoll.errors import ApplyFailed, Forbidden, InvalidRequest, NotFound
from atoll.model.addresses import Family, family_of
from atoll.model.items import Netns, Route
from atoll.model.ops import Op, Verb
from atoll.model.sandbox import Sandbox, SandboxKind


def check_defaults(planned: Planned, sandbox: Sandbox, host: Host) -> None:
    """A namespace that leads out by a route of its own keeps it, and isn't given another.

    Raises Forbidden naming the route; InvalidRequest when the namespace is gone.
    """
    families = _new_defaults(planned, sandbox)
    if not families or sandbox.netns is None:
        return
    there = host.foreign_defaults(sandbox.netns)
    for family in families:
        if family in there:
            raise Forbidden(
                f"sandbox {sandbox.name} has an IPv{family} default route of its own: {there[family]}",
                hint=f"nsenter --net={sandbox.netns.path} ip -{family} route show default; "
                "or take a network made with --internal, which has none",
                subject=sandbox.name,
            )


def _new_defaults(planned: Planned, sandbox: Sandbox) -> list[Family]:
    """Families in which a namespace that is there is to be given a default route."""
    added = [step.item for step in planned.steps if isinstance(step, Op) and step.verb is Verb.ADD]
    if any(isinstance(item, Netns) and item.id == sandbox.id for item in added):
        return []
    routes = [item for item in added if isinstance(item, Route) and item.netns == sandbox.id]
    return [family_of(route.destination) for route in routes if route.destination.prefixlen == 0]


@contextmanager
def vanishing_told(sandbox: Sandbox, host: Host) -> Iterator[None]:
    """Say so when what failed in the block did because somebody else's namespace went away meanwhile.

    Raises NotFound in place of ApplyFailed and InvalidRequest.
    """
    try:
        yield
    except (ApplyFailed, InvalidRequest) as error:
        if sandbox.kind is not SandboxKind.ATTACHED or sandbox.netns is None or host.alive(sandbox.netns):
            raise
        raise NotFound(
            f"the namespace {sandbox.netns.path} of sandbox {sandbox.name} is gone",
            hint="ip netns list; lsns -t net",
            subject=sandbox.name,
            detail=error.detail,
        ) from error
