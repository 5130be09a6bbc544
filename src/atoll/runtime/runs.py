"""Runs of containers: how one begins, what is done when it has ended, and how everything is taken away.

Every function is called with the entry's lock held, but for `watch` and `close`. A record that says "running" is stored
when the process is about to begin: a daemon that dies before that takes the process away at its next start, one that
dies after finds it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from atoll.errors import AtollError, NotFound
from atoll.model.container import NEVER_NS, Container, Health, Status
from atoll.runtime.launching import Ending, Launcher, after
from atoll.runtime.parts import ContainerEvent, ContainerNetwork
from atoll.runtime.places import Places
from atoll.runtime.preparing import Preparer
from atoll.runtime.registry import Commit, Entry, Exit, Registry
from atoll.runtime.restarts import next_delay_s, restarts
from atoll.runtime.supervise.conmon import StartFailed
from atoll.runtime.trees import discard_tree

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clock:
    """`now_ns` is Unix time, `new_id` gives 64 random digits."""

    now_ns: Callable[[], int]
    new_id: Callable[[], str]


class Runs:
    """The runs of all containers. `begun` is called with an entry whose container has begun to run."""

    def __init__(
        self,
        *,
        places: Places,
        preparer: Preparer,
        launcher: Launcher,
        registry: Registry,
        network: ContainerNetwork,
        clock: Clock,
        emit: Callable[[ContainerEvent], None],
    ) -> None:
        self.places = places
        self.preparer = preparer
        self.launcher = launcher
        self.registry = registry
        self.clock = clock
        self._network = network
        self._emit = emit
        self.begun: Callable[[Entry], None] = _nothing

    async def launch(self, entry: Entry) -> None:
        """Start a container that doesn't run. What fails leaves no process, mount or sandbox, and is in the record.

        Raises StartFailed and what the network raises.
        """
        container = entry.container
        try:
            view = await self._network.make_sandbox(container)
            await self.preparer.prepare(container, view)
            pid, ticks = await self.launcher.create(container, entry.attachments)
            running = replace(
                container,
                status=Status.RUNNING,
                pid=pid,
                pid_start_ticks=ticks,
                exit_code=0,
                error="",
                oom_killed=False,
                started_ns=self.clock.now_ns(),
                health=Health.STARTING if self.preparer.effective(container).health else Health.NONE,
            )
            await self.registry.put(running)
            # Those who came meanwhile, the last who saw a container that does not run.
            self.launcher.connect(running, entry.attachments)
            await self.launcher.begin(running)
        except BaseException as error:
            await self._undo(entry, container, error)
            raise
        self.watch(entry)
        self.tell("start", running)

    def watch(self, entry: Entry) -> None:
        """Wait for the end of a container that runs, and for its health, in the background."""
        entry.tasks["end"] = asyncio.create_task(self._follow(entry), name=f"end of {entry.container.name}")
        self.begun(entry)

    async def settle(self, entry: Entry) -> None:
        """Write down that a container has ended, conmon being gone, and do what follows: restart, remove."""
        container = entry.container
        ending = self.launcher.ending(container)
        again = restarts(container, ending.code)
        entry.cancel("health")
        # At once, also where it lives on without its conmon. What says how it ended stays until that is stored.
        gone = asyncio.create_task(self._attempt(container, self.launcher.kill(container)))
        if ending.lost:
            await gone
        try:
            ended = await self._store_end(container, ending, again=again)
            entry.tell(entry.exits, Exit(ending.code, ending.error))
        finally:
            await gone
        await self._attempt(container, self.preparer.clean(ended.id))
        if again:
            self.restart_later(entry)
        elif ended.host.auto_remove:
            await self.remove(entry, volumes=True)

    async def _store_end(self, container: Container, ending: Ending, *, again: bool) -> Container:
        # The sandbox before the answer: who waited for the end may want its ports.
        if not again:
            await self._attempt(container, self._network.remove_sandbox(container))
        ended = replace(
            after(container, ending, self.clock.now_ns()),
            status=Status.RESTARTING if again else Status.EXITED,
            restart_count=container.restart_count + (1 if again else 0),
        )
        await self.registry.put(ended)
        if ending.oom_killed:
            self.tell("oom", ended)
        self.tell("die", ended, exitCode=str(ending.code))
        return ended

    def restart_later(self, entry: Entry) -> None:
        """Start a container again after the policy's delay, in the background."""
        entry.tasks["restart"] = asyncio.create_task(self._restart(entry), name=f"restart of {entry.container.name}")

    async def change_network(self, entry: Entry, changed: Container, commit: Commit) -> None:
        """Store another record by `commit`, which changes the networks, and follow in the files in /etc."""
        if not changed.status.has_process:
            await self.registry.put(changed, commit)
            return
        # A daemon that dies after the commit finds it, and writes them.
        unwritten = self.places.unwritten(changed.id)
        unwritten.touch()
        try:
            await self.registry.put(changed, commit)
        except BaseException:
            unwritten.unlink()
            raise
        await self.write_files(changed)

    async def write_files(self, container: Container) -> None:
        """Write the files in /etc of a container that runs, as its networks are now."""
        self.preparer.write_files(container, await self._network.make_sandbox(container))
        self.places.unwritten(container.id).unlink(missing_ok=True)

    async def pause(self, entry: Entry) -> None:
        """Freeze a container that runs. Raises ProgramFailed."""
        running = entry.container
        # The record first: a daemon that dies in between finds what to freeze, and not what nobody could let go.
        await self.registry.put(replace(running, status=Status.PAUSED))
        try:
            await self.launcher.runc(running).pause(running.id)
        except BaseException:
            await self.registry.put(running)
            raise

    async def want_end(self, entry: Entry, *, kill_after_s: float | None = None) -> None:
        """Remember, before it happens, that the end is wanted; one that waits to be started again has ended.

        `kill_after_s` is given by who sees to it: so does the next daemon, if this one dies. -1 is never.
        """
        entry.cancel("restart")
        container = replace(entry.container, stop_requested=True)
        if kill_after_s is not None and container.status.has_process:
            never = kill_after_s < 0
            container = replace(
                container, kill_at_ns=NEVER_NS if never else self.clock.now_ns() + int(kill_after_s * 1e9)
            )
        if container.status is Status.RESTARTING:
            await self._attempt(container, self._network.remove_sandbox(container))
            container = replace(container, status=Status.EXITED)
        if container != entry.container:
            await self.registry.put(container)

    async def remove(self, entry: Entry, *, volumes: bool) -> None:
        """Remove a container that doesn't run, with `volumes` also those that have no name of a person's."""
        container = entry.container
        entry.cancel("restart")
        await self.clear(container)
        if volumes:
            for name in self._own_volumes(container):
                self.preparer.volumes.tie(name, container.id)
        await self.registry.delete(container)
        entry.removed = True
        await asyncio.to_thread(discard_tree, self.places.kept(container.id))
        if volumes:
            for name in self._own_volumes(container):
                await self._attempt(container, self.preparer.volumes.remove(name, users=()))
        for attachment in entry.attachments:
            attachment.close()
        self.tell("destroy", container)
        entry.tell(entry.exits, Exit(container.exit_code))
        entry.tell(entry.removals, Exit(container.exit_code, container.error))

    async def clear(self, container: Container) -> None:
        """Take away all that a run has: processes, mounts, bundle, sandbox. Goes on past what fails."""
        if self.places.bundle(container.id).is_dir():
            await self._attempt(container, self.launcher.kill(container))
            await self._attempt(container, self.preparer.clean(container.id))
        await self._attempt(container, self._network.remove_sandbox(container))

    async def close(self) -> None:
        """Stop waiting. The containers run on."""
        tasks = [task for entry in self.registry for task in entry.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for entry in self.registry:
            for attachment in entry.attachments:
                attachment.close()

    def tell(self, action: str, container: Container, **attributes: str) -> None:
        """Say that something happened to a container."""
        own = container.config.labels
        told = {name: value for name, value in self._image_labels(container).items() if name not in own}
        told |= {"name": container.name, "image": container.config.image, **attributes}
        self._emit(ContainerEvent(action, container, self.clock.now_ns(), told))

    def _image_labels(self, container: Container) -> Mapping[str, str]:
        try:
            return self.preparer.images.find(container.image_id).config.labels
        except NotFound:
            return {}

    async def _undo(self, entry: Entry, before: Container, error: BaseException) -> None:
        """Take back a start that failed."""
        for attachment in entry.attachments:
            attachment.close()
        entry.attachments.clear()
        code = error.exit_code if isinstance(error, StartFailed) else 128
        message = error.message if isinstance(error, AtollError) else str(error)
        status = Status.CREATED if before.status is Status.CREATED else Status.EXITED
        await self.clear(before)
        await self.registry.put(
            replace(before, status=status, pid=0, exit_code=code, error=message, finished_ns=self.clock.now_ns())
        )
        entry.tell(entry.exits, Exit(code, message))
        if before.host.auto_remove:
            await self.remove(entry, volumes=True)

    async def _follow(self, entry: Entry) -> None:
        await self.launcher.ended(entry.container)
        async with entry.lock:
            try:
                await self.settle(entry)
            except AtollError:
                # The store refuses: the record is wrong until the next start, which finds the same end again.
                _log.exception("the end of container %s is not stored", entry.container.name)

    async def _restart(self, entry: Entry) -> None:
        container = entry.container
        ran_s = (container.finished_ns - container.started_ns) / 1e9
        entry.delay_s = next_delay_s(entry.delay_s, ran_s)
        await asyncio.sleep(entry.delay_s)
        async with entry.lock:
            if entry.container.status is not Status.RESTARTING or entry.removed:
                return
            try:
                await self.launch(entry)
            except AtollError as error:
                _log.warning("container %s could not be started again: %s", container.name, error.message)

    async def remove_tied(self, container_id: str) -> None:
        """Remove the volumes that were made for a container that now there isn't. Goes on past what fails."""
        for name, tied_to in self.preparer.volumes.tied().items():
            if tied_to == container_id and not self.users_of(name):
                try:
                    await self.preparer.volumes.remove(name, users=())
                except (AtollError, OSError):
                    _log.exception("volume %s of no container is not all gone", name)

    def _own_volumes(self, container: Container) -> list[str]:
        """Volumes that have no name of a person's and are nobody else's."""
        anonymous = [mount.source for mount in container.mounts if mount.anonymous]
        return [
            name
            for name in anonymous
            if not set(self.users_of(name)) - {container.id} and self.preparer.volumes.has(name)
        ]

    def users_of(self, volume: str) -> list[str]:
        """Ids of the containers that mount a volume."""
        return [entry.container.id for entry in self.registry if volume in entry.container.volumes]

    async def _attempt(self, container: Container, step: Awaitable[None]) -> None:
        try:
            await step
        except (AtollError, OSError):
            _log.exception("what container %s leaves is not all gone", container.name)


def _nothing(entry: Entry) -> None:
    return None
