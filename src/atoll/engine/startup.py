"""Start-up: read, release what is dead, hold what is held, bring the host's side in line."""

import logging

from atoll.engine.context import HOST_KEY, Context
from atoll.engine.network_claims import default_networks
from atoll.engine.path import locate_in
from atoll.engine.sandbox_verbs import SandboxVerbs
from atoll.errors import AtollError
from atoll.model.items import Netns, Veth
from atoll.model.ops import Op, Verb
from atoll.model.sandbox import Sandbox, SandboxKind
from atoll.model.world import Change
from atoll.plan.compile import compile_sandbox, forwarding_families

_log = logging.getLogger(__name__)


def start(context: Context, sandboxes: SandboxVerbs) -> None:
    """Everything that has to be right before the first request. Idempotent; changes nothing that is right.

    Raises StoreError, KernelError (no nftables), and what the default networks raise.
    """
    context.path.load()
    if not context.store.meta(HOST_KEY):
        context.store.set_meta(HOST_KEY, context.host.new_id())
    context.kernel.prepare()
    context.kernel.reap()
    _finish_removals(context)
    release_dead(context, sandboxes)
    _make_defaults(context)
    _hold_stored_ports(context)
    context.path.ensure_forwarding(forwarding_families(context.world))
    context.reconciler.sweep_host()
    context.start_relay()


def release_dead(context: Context, sandboxes: SandboxVerbs, only: frozenset[str] | None = None) -> None:
    """Release attached sandboxes (of those named, or all) whose namespace is gone, by evidence."""
    for sandbox in tuple(context.world.sandboxes.values()):
        if sandbox.kind is not SandboxKind.ATTACHED or sandbox.netns is None:
            continue
        if (only is None or sandbox.id in only) and _gone(context, sandbox):
            for member in (*context.world.members_of(sandbox.id), sandbox):
                _log.info("sandbox %s is released: its namespace is gone", member.name)
                sandboxes.release(member, "released")


def _gone(context: Context, sandbox: Sandbox) -> bool:
    assert sandbox.netns is not None, f"attached sandbox {sandbox.name} without a namespace"
    if context.host.alive(sandbox.netns):
        return False
    # The process or path that named it is gone, but a cable that is still plugged in says that the
    # namespace lives on, by another process.
    wanted = compile_sandbox(context.world, sandbox, context.path.facts)
    cables = [item for item in wanted if isinstance(item, Veth)]
    return not context.kernel.observe(cables, locate_in(context.world))


def _finish_removals(context: Context) -> None:
    for removal in tuple(context.world.removals.values()):
        netns = Netns(removal.id, removal.path)
        locate = locate_in(context.world)
        if netns.key in context.kernel.observe((netns,), locate):
            context.kernel.execute((Op(Verb.REMOVE, netns, reason="finish a removal"),), locate)
        context.path.commit(Change(deletes=(removal,)))


def _make_defaults(context: Context) -> None:
    key = context.store.meta(HOST_KEY)
    fresh, warnings = default_networks(context.world, context.path.facts, context.host, context.naming, key)
    for warning in warnings:
        _log.warning("%s", warning)
    if fresh:
        context.path.commit(Change(puts=fresh))
    for network in fresh:
        context.tell("network", "create", network.id, name=network.name, type=network.driver.value)


def _hold_stored_ports(context: Context) -> None:
    for sandbox in context.world.sandboxes.values():
        if not sandbox.bindings:
            continue
        try:
            context.ports.hold(sandbox.id, sandbox.bindings)
        except AtollError as error:
            # Taken while the daemon was away: the mapping stays, and people are told.
            context.reconciler.mark("sandbox", sandbox.id, str(error))
