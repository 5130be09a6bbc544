"""Undo everything atoll ever made on this host."""

from atoll.engine.context import Context
from atoll.engine.network_verbs import NetworkVerbs
from atoll.engine.outcome import Outcome, Slices, parts_of
from atoll.engine.sandbox_verbs import SandboxVerbs


def purge(
    context: Context, networks: NetworkVerbs, sandboxes: SandboxVerbs, *, dry_run: bool
) -> Slices[tuple[int, int]]:
    """Remove all sandboxes, then all networks with the predefined ones, then the table.

    Each slice gives how many networks and sandboxes went. Nothing may be made meanwhile. Sysctls stay as they are:
    forwarding may have become somebody else's need. What could not be removed is in the log and marked degraded.
    """
    members_first = sorted(context.world.sandboxes.values(), key=lambda sandbox: sandbox.owner_id is None)
    for some in parts_of(members_first):
        there = [sandbox for sandbox in some if sandbox.id in context.world.sandboxes]
        yield Outcome((0, len(there)), sandboxes.release(there, "destroy", dry_run=dry_run))
        if not dry_run:
            context.kernel.reap()
    for part in parts_of(tuple(context.world.networks.values())):
        left = [network for network in part if network.id in context.world.networks]
        yield Outcome((len(left), 0), networks.erase(left, dry_run=dry_run))
    if dry_run:
        return
    while context.kernel.reap():
        yield Outcome((0, 0))
    context.kernel.purge()
