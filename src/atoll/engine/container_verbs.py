"""Containers as the engine knows them: their records in the store, and the sandbox that each has while it runs."""

import logging
from dataclasses import replace

from atoll.engine.context import Context
from atoll.engine.outcome import Outcome
from atoll.engine.sandbox_verbs import SandboxVerbs
from atoll.errors import NameTaken, WrongState
from atoll.model.container import Container
from atoll.model.sandbox import Sandbox, SandboxRequest
from atoll.model.world import Change, Record

_log = logging.getLogger(__name__)


class ContainerVerbs:
    """Keep records of containers, make and release their sandboxes. A container's sandbox has its id and its name."""

    def __init__(self, context: Context, sandboxes: SandboxVerbs) -> None:
        self._ctx = context
        self._sandboxes = sandboxes
        self._due: set[str] = set()
        """Containers that ended, whose sandboxes are there only for those that are joined to them."""

    def keep(self, container: Container) -> None:
        """Add or replace a record; its sandbox goes by the same name. Raises NameTaken, StoreFull, StoreError."""
        ctx = self._ctx
        namesake = ctx.world.sandbox_named(container.name)
        if namesake is not None and namesake.id != container.id:
            raise NameTaken(
                f'The container name "/{container.name}" is already in use by sandbox "{namesake.id}".',
                hint=f"atoll sandbox rm {container.name}",
                subject=namesake.id,
            )
        puts: list[Record] = [container]
        sandbox = ctx.world.sandboxes.get(container.id)
        renamed = sandbox is not None and sandbox.name != container.name
        if sandbox is not None and renamed:
            puts.append(replace(sandbox, name=container.name))
        ctx.path.commit(Change(puts=tuple(puts)))
        if renamed:
            ctx.follow_names(container.id)

    def drop(self, container: Container) -> None:
        """Remove a record; one that isn't there is no error. Raises StoreError."""
        if container.id in self._ctx.world.containers:
            self._ctx.path.commit(Change(deletes=(container,)))

    def create_sandbox(self, container: Container) -> Sandbox:
        """The sandbox of a container, made when it is not there.

        Raises what `SandboxVerbs.create` raises; WrongState when it is to join one that isn't there.
        """
        self._due.discard(container.id)
        there = self._ctx.world.sandboxes.get(container.id)
        if there is not None:
            return there
        outcome = self._sandboxes.create(self._wanted(container))
        for warning in outcome.warnings:
            _log.warning("container %s: %s", container.name, warning)
        return outcome.value

    def _wanted(self, container: Container) -> SandboxRequest:
        """What a container asks of a sandbox. Raises WrongState when that it is to join isn't there."""
        wanted = container.network or SandboxRequest(container.name)
        if wanted.join and (wanted.join not in self._ctx.world.sandboxes or wanted.join in self._due):
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
            self._due.add(container_id)
            return
        self._due.discard(container_id)
        self._sandboxes.remove(container_id)
        owner_id = sandbox.owner_id or ""
        if owner_id in self._due and not self._ctx.world.members_of(owner_id):
            self._due.discard(owner_id)
            self._sandboxes.remove(owner_id)
