"""Containers as the engine knows them: their records in the store, and the sandbox that each has while it runs."""

import logging
from dataclasses import replace

from atoll.engine.context import Context
from atoll.engine.outcome import Outcome
from atoll.engine.sandbox_verbs import SandboxVerbs
from atoll.errors import NameTaken, WrongState
from atoll.model.container import Container
from atoll.model.network import Driver
from atoll.model.sandbox import EndpointRequest, Sandbox, SandboxRequest
from atoll.model.world import Change

_log = logging.getLogger(__name__)


class ContainerVerbs:
    """Keep records of containers, make and release their sandboxes. A container's sandbox has its id and its name."""

    def __init__(self, context: Context, sandboxes: SandboxVerbs) -> None:
        self._ctx = context
        self._sandboxes = sandboxes

    def keep(self, container: Container) -> None:
        """Add or replace a record; its sandbox goes by the same name. Raises NameTaken, StoreFull, StoreError."""
        ctx = self._ctx
        sandbox = self._check_name(container)
        renamed = sandbox is not None and sandbox.name != container.name
        puts = (replace(sandbox, name=container.name),) if sandbox is not None and renamed else ()
        ctx.path.commit(Change(puts=(container, *puts)))
        if renamed:
            ctx.follow_names(container.id)

    def _check_name(self, container: Container) -> Sandbox | None:
        """The sandbox of a container, where there is one. Raises NameTaken when another has the name."""
        ctx = self._ctx
        namesake = ctx.world.sandbox_named(container.name)
        if namesake is not None and namesake.id != container.id:
            raise NameTaken(
                f'The container name "/{container.name}" is already in use by sandbox "{namesake.id}".',
                hint=f"atoll sandbox rm {container.name}",
                subject=namesake.id,
            )
        return ctx.world.sandboxes.get(container.id)

    def drop(self, container: Container) -> None:
        """Remove a record; one that isn't there is no error. Raises StoreError.

        A sandbox that stays for those that are joined to it is called by its id from then on: the name is free.
        """
        ctx = self._ctx
        if container.id not in ctx.world.containers:
            return
        sandbox = ctx.world.sandboxes.get(container.id)
        puts = () if sandbox is None else (replace(sandbox, name=sandbox.id),)
        ctx.path.commit(Change(puts=puts, deletes=(container,)))
        if puts:
            ctx.follow_names(container.id)

    def connect(self, network: str, request: EndpointRequest, container: Container) -> None:
        """Store a record that asks for one more network, and connect the sandbox, if there is one: one commit.

        Raises what `SandboxVerbs.connect` raises.
        """
        world = self._ctx.world
        if container.id not in world.sandboxes:
            self.keep(container)
            return
        asked = {each.network for each in container.network.endpoints} if container.network is not None else set()
        # One that was taken off its last network is on none only until the next.
        left = tuple(
            endpoint
            for endpoint in world.endpoints_of(container.id)
            if world.networks[endpoint.network_id].driver is Driver.NULL
            and world.networks[endpoint.network_id].name not in asked
        )
        along = Change(puts=(container,), deletes=left)
        self._sandboxes.connect(network, container.id, request, along=along)

    def disconnect(self, network: str, container: Container) -> None:
        """Store a record that asks for a network no more, and take the sandbox off it, if there is one: one commit.

        Raises what `SandboxVerbs.disconnect` raises.
        """
        if container.id not in self._ctx.world.sandboxes:
            self.keep(container)
            return
        self._sandboxes.disconnect(network, container.id, along=Change(puts=(container,)))

    def create_sandbox(self, container: Container) -> Sandbox:
        """The sandbox of a container, made when it is not there.

        Raises what `SandboxVerbs.create` raises; WrongState when it is to join one that isn't there.
        """
        there = self._ctx.world.sandboxes.get(container.id)
        if there is not None:
            return self._taken_back(there)
        outcome = self._sandboxes.create(self._wanted(container))
        for warning in outcome.warnings:
            _log.warning("container %s: %s", container.name, warning)
        return outcome.value

    def _wanted(self, container: Container) -> SandboxRequest:
        """What a container asks of a sandbox. Raises WrongState when that it is to join isn't there."""
        wanted = container.network or SandboxRequest(container.name)
        owner = self._ctx.world.sandboxes.get(wanted.join)
        if wanted.join and (owner is None or owner.released):
            raise WrongState(f"cannot join network of a non running container: {wanted.join}", subject=wanted.join)
        own = not (wanted.join or wanted.host)
        return replace(wanted, id=container.id, name=container.name, resolves=own)

    def plan_sandbox(self, container: Container) -> Outcome[Sandbox]:
        """What `create_sandbox` would do, and nothing done. Raises as that does."""
        there = self._ctx.world.sandboxes.get(container.id)
        return Outcome(there) if there is not None else self._sandboxes.create(self._wanted(container), dry_run=True)

    def plan_release(self, container_id: str) -> Outcome[None]:
        """What `release_sandbox` would do, and nothing done."""
        world = self._ctx.world
        if container_id not in world.sandboxes or world.members_of(container_id):
            return Outcome(None)
        return Outcome(None, self._sandboxes.remove(container_id, dry_run=True).steps)

    def release_sandbox(self, container_id: str) -> None:
        """Take a container's sandbox away, or once the last that is joined to it goes. What isn't there is no error."""
        world = self._ctx.world
        sandbox = world.sandboxes.get(container_id)
        if sandbox is None:
            return
        if world.members_of(container_id):
            if not sandbox.released:
                self._ctx.path.commit(Change(puts=(replace(sandbox, released=True),)))
            return
        owner = world.sandboxes.get(sandbox.owner_id or "")
        last = owner is not None and owner.released and world.members_of(owner.id) == (sandbox,)
        self._sandboxes.release((sandbox, owner) if owner is not None and last else (sandbox,), "destroy")

    def _taken_back(self, sandbox: Sandbox) -> Sandbox:
        """The sandbox of a container that ended and starts again, meanwhile kept for others."""
        if sandbox.released:
            sandbox = replace(sandbox, released=False)
            self._ctx.path.commit(Change(puts=(sandbox,)))
        return sandbox
