"""Undo everything atoll ever made on this host."""

from atoll.engine.context import Context
from atoll.engine.network_verbs import NetworkVerbs
from atoll.engine.sandbox_verbs import SandboxVerbs


def purge(context: Context, networks: NetworkVerbs, sandboxes: SandboxVerbs) -> tuple[int, int]:
    """Remove all sandboxes, then all networks with the predefined ones, then the table.

    Returns how many networks and sandboxes went. Sysctls stay as they are: forwarding may have
    become somebody else's need. What could not be removed is in the log and marked degraded.
    """
    members_first = sorted(context.world.sandboxes.values(), key=lambda sandbox: sandbox.owner_id is None)
    for sandbox in members_first:
        sandboxes.release(sandbox, "destroy")
    there = tuple(context.world.networks.values())
    for network in there:
        networks.erase(network)
    context.kernel.reap()
    context.kernel.purge()
    return len(there), len(members_first)
