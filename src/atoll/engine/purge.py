"""Undo everything atoll ever made on this host."""

from atoll.engine.context import Context
from atoll.engine.network_verbs import NetworkVerbs
from atoll.engine.outcome import Outcome
from atoll.engine.sandbox_verbs import SandboxVerbs
from atoll.model.ops import Step


def purge(
    context: Context, networks: NetworkVerbs, sandboxes: SandboxVerbs, *, dry_run: bool
) -> Outcome[tuple[int, int]]:
    """Remove all sandboxes, then all networks with the predefined ones, then the table.

    Gives how many networks and sandboxes went. Sysctls stay as they are: forwarding may have
    become somebody else's need. What could not be removed is in the log and marked degraded.
    """
    members_first = sorted(context.world.sandboxes.values(), key=lambda sandbox: sandbox.owner_id is None)
    there = tuple(context.world.networks.values())
    steps: list[Step] = []
    for sandbox in members_first:
        steps += sandboxes.release(sandbox, "destroy", dry_run=dry_run).steps
    for network in there:
        steps += networks.erase(network, dry_run=dry_run)
    if not dry_run:
        context.kernel.reap()
        context.kernel.purge()
    return Outcome((len(there), len(members_first)), tuple(steps))
