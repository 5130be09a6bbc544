"""The verbs on sandboxes and their endpoints."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from atoll.engine.attaching import check_defaults, vanishing_told
from atoll.engine.context import Context
from atoll.engine.holding import hold_mappings
from atoll.engine.outcome import Outcome
from atoll.engine.path import Planned, locate_in
from atoll.engine.sandbox_claims import claim_endpoints, claim_sandbox, wanted_endpoints
from atoll.engine.troubles import Aspect
from atoll.errors import Conflict, InUse, InvalidRequest
from atoll.model.addresses import Family, IPAddress
from atoll.model.items import Veth
from atoll.model.network import Driver
from atoll.model.ops import Step
from atoll.model.sandbox import Endpoint, EndpointRequest, Sandbox, SandboxKind, SandboxRequest
from atoll.model.world import Change, Record, Removal, World
from atoll.plan.compile import Scope, compile_sandbox
from atoll.plan.gateway import gateway_endpoint
from atoll.plan.publish import needs_host_ports

_log = logging.getLogger(__name__)

_NOTHING = Change()


class SandboxVerbs:
    """Create and remove sandboxes, connect and disconnect them."""

    def __init__(self, context: Context) -> None:
        self._ctx = context

    def create(self, request: SandboxRequest, *, dry_run: bool = False) -> Outcome[Sandbox]:
        """Make or attach a sandbox with its endpoints and published ports, or nothing.

        Raises what the claims raise (NameTaken, InvalidRequest, NotFound, Conflict, PortTaken,
        Exhausted, Forbidden), and ApplyFailed.
        """
        ctx = self._ctx
        if not dry_run:
            # A namespace may have gone a moment ago, and be made anew under the same name before that was noticed.
            namesake = ctx.world.sandbox_named(request.name)
            self.release_dead(() if namesake is None else (namesake.id,))
        sandbox = claim_sandbox(ctx.world, request, ctx.host, ctx.path.facts)
        with vanishing_told(sandbox, ctx.host):
            endpoints = claim_endpoints(ctx.world, sandbox, wanted_endpoints(ctx.world, request), ctx.host, ctx.naming)
            with self._ports_held(Change(puts=(sandbox, *endpoints)), sandbox, dry_run=dry_run) as sandbox:
                planned = ctx.path.plan(Change(puts=(sandbox, *endpoints)), _scope(sandbox))
                check_defaults(planned, sandbox, ctx.host)
                if not dry_run:
                    self._carry_out(planned, sandbox.id)
        if not dry_run:
            ctx.tell("sandbox", "create", sandbox.id, name=sandbox.name, kind=sandbox.kind.value)
            for endpoint in endpoints:
                self._tell_endpoint("connect", endpoint, sandbox)
        return Outcome(sandbox, planned.steps, self._warnings(planned.after, sandbox, dry_run=dry_run))

    def remove(self, reference: str, *, force: bool = False, dry_run: bool = False) -> Outcome[Sandbox]:
        """Remove a sandbox; a namespace that we made goes with it, another's stays as it was before us.

        Raises NotFound; InUse while others are joined to it, unless `force`, which removes them first.
        """
        ctx = self._ctx
        sandbox = ctx.world.sandbox(reference)
        members = ctx.world.members_of(sandbox.id)
        if members and not force:
            names = ", ".join(member.name for member in members)
            raise InUse(
                f"sandbox {sandbox.name} shares its namespace with {names}",
                hint=f"atoll sandbox rm {names.replace(',', '')} {sandbox.name}",
                subject=sandbox.name,
            )
        return Outcome(sandbox, self.release((*members, sandbox), "destroy", dry_run=dry_run))

    def release(self, sandboxes: Sequence[Sandbox], action: str, *, dry_run: bool = False) -> tuple[Step, ...]:
        """Take sandboxes out of the world with all they hold, as far as the kernel lets it, and all joined to them.

        The steps that it took, or would take.
        """
        ctx = self._ctx
        endpoints = {sandbox.id: ctx.world.endpoints_of(sandbox.id) for sandbox in sandboxes}
        removals = tuple(Removal(each.id, each.netns.path) for each in sandboxes if _is_made(each) and each.netns)
        deletes: list[Record] = [*sandboxes, *(endpoint for mine in endpoints.values() for endpoint in mine)]
        planned = ctx.path.plan(Change(puts=removals, deletes=tuple(deletes)), Scope(sandboxes=frozenset(endpoints)))
        if not sandboxes or dry_run:
            return planned.steps

        def committed() -> None:
            for sandbox in sandboxes:
                ctx.begin_relay(sandbox.id)
            # Before the namespaces go: the name service's sockets would keep them.
            ctx.follow_names(*endpoints)

        failed = ctx.path.carry_through(planned, committed)
        for step, error in failed:
            ctx.troubles.begin("daemon", "", Aspect.REMOVAL, f"remove {_named(sandboxes, step)}: {error}")
        if removals and not failed:
            ctx.path.commit(Change(deletes=removals))
        for sandbox in sandboxes:
            self._forget(sandbox, endpoints[sandbox.id], action)
        return planned.steps

    def _forget(self, sandbox: Sandbox, endpoints: Sequence[Endpoint], action: str) -> None:
        """A sandbox and its endpoints are gone: nothing is held for them any more, and that is told."""
        ctx = self._ctx
        ctx.follow_relay(sandbox.id)
        ctx.ports.release(sandbox.id)
        ctx.reconciler.forget(sandbox.id)
        for endpoint in endpoints:
            self._tell_endpoint("disconnect", endpoint, sandbox)
        ctx.tell("sandbox", action, sandbox.id, name=sandbox.name, kind=sandbox.kind.value)

    def release_dead(self, only: Iterable[str] | None = None) -> None:
        """Release attached sandboxes (of these ids, or all) whose namespace is gone, by evidence."""
        ctx = self._ctx
        for sandbox_id in tuple(ctx.world.sandboxes) if only is None else only:
            sandbox = ctx.world.sandboxes.get(sandbox_id)
            if sandbox is not None and self._is_gone(sandbox):
                gone = (*ctx.world.members_of(sandbox.id), sandbox)
                for member in gone:
                    _log.info("sandbox %s is released: its namespace is gone", member.name)
                self.release(gone, "released")

    def _is_gone(self, sandbox: Sandbox) -> bool:
        ctx = self._ctx
        if sandbox.kind is not SandboxKind.ATTACHED or sandbox.netns is None or ctx.host.alive(sandbox.netns):
            return False
        # The process or path that named it is gone, but a cable that is still plugged in says that the
        # namespace lives on, by another process.
        wanted = compile_sandbox(ctx.world, sandbox, ctx.path.facts)
        cables = [item for item in wanted if isinstance(item, Veth)]
        return not ctx.kernel.observe(cables, locate_in(ctx.world))

    def connect(
        self, network: str, sandbox: str, request: EndpointRequest, *, along: Change = _NOTHING, dry_run: bool = False
    ) -> Outcome[Endpoint]:
        """Connect a living sandbox to one more network, `along` with what else is to be committed then.

        Raises as `claim_endpoint`, Forbidden where it leads out by a route of its own, and ApplyFailed.
        """
        ctx = self._ctx
        target, member = ctx.world.network(network), ctx.world.sandbox(sandbox)
        wanted = (replace(request, network=target.id),)
        with vanishing_told(member, ctx.host):
            (endpoint,) = claim_endpoints(ctx.world.after(along), member, wanted, ctx.host, ctx.naming)
            change = replace(along, puts=(*along.puts, endpoint))
            with self._ports_held(change, member, dry_run=dry_run) as held:
                change = replace(change, puts=(*change.puts, *_if_new(held, member)))
                planned = ctx.path.plan(change, _scope(member))
                check_defaults(planned, member, ctx.host)
                if not dry_run:
                    self._carry_out(planned, member.id)
        if not dry_run:
            for left in along.deletes:
                if isinstance(left, Endpoint):
                    self._tell_endpoint("disconnect", left, member)
            self._tell_endpoint("connect", endpoint, member)
        return Outcome(endpoint, planned.steps, self._warnings(planned.after, member, dry_run=dry_run))

    def disconnect(
        self, network: str, sandbox: str, *, force: bool = False, along: Change = _NOTHING, dry_run: bool = False
    ) -> Outcome[Endpoint]:
        """Take a sandbox off a network, `along` with what else is to be committed then.

        Its default routes and published ports move to the next network. `force` makes an unknown connection no error
        for dead containers in Docker; here it changes nothing, as what is dead is released by itself. Raises NotFound,
        Conflict, InvalidRequest (the host network), PortTaken when the network that leads out from then on needs host
        ports that others have.
        """
        ctx = self._ctx
        source, member = ctx.world.network(network), ctx.world.sandbox(sandbox)
        mine = [endpoint for endpoint in ctx.world.endpoints_of(member.id) if endpoint.network_id == source.id]
        if not mine:
            raise Conflict(
                f"container {member.name} is not connected to network {source.name}",
                hint=f"atoll sandbox inspect {member.name}",
                subject=member.name,
            )
        if source.driver is Driver.HOST:
            raise InvalidRequest("container cannot be disconnected from host network or connected to host network")
        change = replace(along, deletes=(*along.deletes, mine[0]))
        with self._ports_held(change, member, dry_run=dry_run) as held:
            planned = ctx.path.plan(replace(change, puts=(*change.puts, *_if_new(held, member))), _scope(member))
            failed = () if dry_run else ctx.path.carry_through(planned)
        for _, error in failed:
            ctx.troubles.begin("sandbox", member.id, Aspect.KERNEL, f"disconnect from {source.name}: {error}")
        if not dry_run:
            # The inner end is to be gone when the caller is answered.
            ctx.kernel.reap()
            ctx.follow_relay(member.id)
            ctx.follow_names(member.id)
            self._tell_endpoint("disconnect", mine[0], member)
        return Outcome(mine[0], planned.steps, self._warnings(planned.after, member, dry_run=dry_run))

    @contextmanager
    def _ports_held(self, change: Change, sandbox: Sandbox, *, dry_run: bool) -> Iterator[Sandbox]:
        """The sandbox with its host ports held, once a gateway of it needs them after `change`.

        They stay its own from then on; but what is held here is given back on an error, or after a dry run.
        """
        ctx = self._ctx
        if not sandbox.mappings or sandbox.bindings:
            yield sandbox
            return
        world = ctx.world.after(change)
        if not needs_host_ports(world, sandbox):
            yield sandbox
            return
        default = _default_address(world, sandbox)
        start = int(sandbox.id[:8], 16)
        bindings = hold_mappings(world, ctx.ports, sandbox.id, sandbox.mappings, default, start=start)
        try:
            yield replace(sandbox, bindings=bindings)
        except Exception:
            ctx.ports.release(sandbox.id)
            raise
        if dry_run:
            ctx.ports.release(sandbox.id)

    def _carry_out(self, planned: Planned, sandbox_id: str) -> None:
        """Carry a change out while the relay opens what a sandbox needs of it; what fails is closed again."""
        ctx = self._ctx
        try:
            ctx.path.carry_out(planned, lambda: ctx.begin_relay(sandbox_id))
        finally:
            ctx.follow_relay(sandbox_id)
            ctx.follow_names(sandbox_id)

    def _warnings(self, world: World, sandbox: Sandbox, *, dry_run: bool) -> tuple[str, ...]:
        """What makes published ports of a sandbox unreachable, for some or for all."""
        relays = self._ctx.relays
        if dry_run:
            unrelayed = relays.foreseen(world, sandbox.id, self._ctx.path.facts)
        else:
            unrelayed = relays.problems.get(sandbox.id, "")
        return (*_unpublished(world, sandbox), *([unrelayed] if unrelayed else []))

    def _tell_endpoint(self, action: str, endpoint: Endpoint, sandbox: Sandbox) -> None:
        ctx = self._ctx
        network = ctx.world.networks[endpoint.network_id]
        ctx.tell("network", action, network.id, name=network.name, type=network.driver.value, container=sandbox.id)


def _if_new(held: Sandbox, before: Sandbox) -> tuple[Sandbox, ...]:
    return () if held is before else (held,)


def _is_made(sandbox: Sandbox) -> bool:
    return sandbox.kind is SandboxKind.MADE


def _named(sandboxes: Sequence[Sandbox], step: Step) -> str:
    return f"sandbox {sandboxes[0].name}" if len(sandboxes) == 1 else f"sandboxes: {step.reason}"


def _scope(sandbox: Sandbox) -> Scope:
    return Scope(sandboxes=frozenset({sandbox.id}))


def _default_address(world: World, sandbox: Sandbox) -> IPAddress | None:
    found = gateway_endpoint(world, sandbox.id, Family.V4)
    return found[0].bridge.host_binding if found and found[0].bridge else None


def _unpublished(world: World, sandbox: Sandbox) -> tuple[str, ...]:
    leads_out = any(gateway_endpoint(world, sandbox.id, family) for family in Family)
    if sandbox.mappings and not leads_out:
        return (f"the published ports of {sandbox.name} are not reachable: none of its networks leads out",)
    return ()
