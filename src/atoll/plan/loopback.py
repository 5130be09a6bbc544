"""The loopback interface of namespaces that we made.

It is up from the start, as a part of making the namespace; so what wants it up is only compared, not planned.
"""

from collections.abc import Iterator

from atoll.model.items import Interface
from atoll.model.sandbox import SandboxKind
from atoll.model.world import World
from atoll.plan.compile import Scope

LOOPBACK = "lo"
_NO_MAC = "00:00:00:00:00:00"
"""What the kernel tells of loopback, drivers/net/loopback.c."""


def compile_loopbacks(world: World, scope: Scope) -> Iterator[Interface]:
    """The loopback interface of each made sandbox in scope, up."""
    for sandbox_id in sorted(scope.sandboxes & world.sandboxes.keys()):
        if world.sandboxes[sandbox_id].kind is SandboxKind.MADE:
            yield Interface(sandbox_id, LOOPBACK, _NO_MAC)
