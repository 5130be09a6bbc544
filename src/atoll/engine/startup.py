"""Start-up: read, release what is dead, hold what is held, bring the host's side in line."""

import logging
from collections.abc import Iterable

from atoll.engine.context import HOST_KEY, Context
from atoll.engine.network_claims import default_networks
from atoll.engine.path import locate_in
from atoll.engine.sandbox_verbs import SandboxVerbs
from atoll.engine.troubles import Aspect
from atoll.errors import AtollError
from atoll.model.items import Netns
from atoll.model.ops import Op, Verb
from atoll.model.world import Change
from atoll.plan.compile import forwarding_families

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
    sandboxes.release_dead()
    _make_defaults(context)
    hold_ports(context, tuple(context.world.sandboxes))
    context.path.ensure_forwarding(forwarding_families(context.world))
    context.reconciler.sweep_host()
    context.start_relay()
    context.start_names()


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


def hold_ports(context: Context, sandbox_ids: Iterable[str]) -> None:
    """Hold the stored ports of these sandboxes; who can't have theirs is degraded until a later try."""
    for sandbox in (context.world.sandboxes[sandbox_id] for sandbox_id in sandbox_ids):
        if not sandbox.bindings:
            continue
        try:
            context.ports.hold(sandbox.id, sandbox.bindings)
        except AtollError as error:
            # Taken while the daemon was away: the mapping stays, and people are told.
            context.troubles.begin("sandbox", sandbox.id, Aspect.PORTS, str(error))
        else:
            context.troubles.end(sandbox.id, Aspect.PORTS)
