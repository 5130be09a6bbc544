"""The verbs on containers.

Everything here belongs to one event loop. What changes a container's state holds its lock; what waits for its end does
not. The record is stored before what it says is seen, and a record that says "running" is stored when the process is
about to begin: a daemon that dies before that takes the process away at its next start, one that dies after finds it.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace

from atoll.errors import AtollError, Conflict
from atoll.model.container import Container, ContainerRequest, Health, Status
from atoll.model.names import parse_name, short_id
from atoll.runtime.bundle.effective import effective
from atoll.runtime.launching import Launcher, after
from atoll.runtime.parts import ContainerEvent, ContainerNetwork
from atoll.runtime.places import Places
from atoll.runtime.preparing import Preparer
from atoll.runtime.registry import Entry, Exit, Registry
from atoll.runtime.restarts import next_delay_s, restarts
from atoll.runtime.signals import parse_signal
from atoll.runtime.supervise.conmon import StartFailed
from atoll.runtime.supervise.streams import Attachment

STOP_TIMEOUT_S = 10
"""Before a container that is to stop is killed. Source: Docker."""
KILL_TIMEOUT_S = 10
"""After which a container that was killed counts as one that can't be."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clock:
    """`now_ns` is Unix time, `new_id` gives 64 random digits."""

    now_ns: Callable[[], int]
    new_id: Callable[[], str]


class Containers:
    """All containers of a daemon. References are ids, names or unambiguous prefixes of ids."""

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
        self._places = places
        self._preparer = preparer
        self._launcher = launcher
        self._registry = registry
        self._network = network
        self._clock = clock
        self._emit = emit
        self._delays_s: dict[str, float] = {}

    def list(self) -> tuple[Container, ...]:
        """All records, the newest first."""
        found = [entry.container for entry in self._registry]
        return tuple(sorted(found, key=lambda container: (-container.created_ns, container.id)))

    def find(self, reference: str) -> Container:
        """One record. Raises NotFound, Conflict."""
        return self._registry.find(reference).container

    async def create(self, request: ContainerRequest, *, name: str) -> Container:
        """Make a container, not its processes. `name` is what it is called. Raises NotFound (image), NameTaken,
        InvalidRequest.
        """
        container_id = self._clock.new_id()
        self._registry.claim_name(parse_name("container", name), container_id)
        try:
            image = self._preparer.images.find(request.config.image)
            effective(image.config, request.config)
            container = Container(
                id=container_id,
                name=name,
                image_id=image.id,
                created_ns=self._clock.now_ns(),
                config=request.config,
                host=request.host,
                mounts=request.host.mounts,
                network=request.network,
            )
            await self._registry.put(container)
        except BaseException:
            self._registry.release_name(name, container_id)
            raise
        self._tell("create", container)
        return container

    async def start(self, reference: str) -> bool:
        """Start a container; False when it runs already. Raises StartFailed and what its network raises.

        What fails leaves no process, no mount and no sandbox, and says so in the record.
        """
        entry = self._registry.find(reference)
        async with entry.lock:
            _still_there(entry)
            if entry.container.status.has_process:
                if entry.container.status is Status.PAUSED:
                    raise Conflict("cannot start a paused container, try unpause instead")
                return False
            entry.cancel("restart")
            self._delays_s.pop(entry.container.id, None)
            entry.container = replace(entry.container, stop_requested=False, restart_count=0)
            await self._launch(entry)
        return True

    async def stop(self, reference: str, *, timeout_s: float | None = None) -> bool:
        """Ask a container to end, and kill it after `timeout_s` (-1: never); False when it does not run.

        Without a time it is the container's, or 10 s.
        """
        entry = self._registry.find(reference)
        async with entry.lock:
            await self._want_end(entry)
            if not entry.container.status.has_process:
                return False
            container = entry.container
            if timeout_s is None:
                timeout_s = (
                    STOP_TIMEOUT_S if container.config.stop_timeout_s is None else container.config.stop_timeout_s
                )
            ended = self._next_exit(entry)
            with contextlib.suppress(Conflict):
                await self._signal(entry, self._preparer.effective(container).stop_signal)
        if not await _within(ended, timeout_s):
            async with entry.lock:
                if entry.container.status.has_process:
                    with contextlib.suppress(Conflict):
                        await self._signal(entry, "SIGKILL")
            if not await _within(ended, KILL_TIMEOUT_S):
                raise Conflict(f"container {container.name} does not end although it was killed", subject=container.id)
        self._tell("stop", entry.container)
        return True

    async def restart(self, reference: str, *, timeout_s: float | None = None) -> None:
        """Stop and start. Raises as these do."""
        await self.stop(reference, timeout_s=timeout_s)
        await self.start(reference)
        self._tell("restart", self.find(reference))

    async def kill(self, reference: str, signal: str = "SIGKILL") -> None:
        """Send a signal by name or number. Raises Conflict when the container does not run, InvalidRequest."""
        entry = self._registry.find(reference)
        name = parse_signal(signal)
        async with entry.lock:
            container = entry.container
            if not container.status.has_process:
                raise Conflict(f"container {container.id} is not running", hint=f"atoll start {container.name}")
            if name in ("SIGKILL", self._preparer.effective(container).stop_signal):
                await self._want_end(entry)
            ended = self._next_exit(entry)
            await self._signal(entry, name)
        if name == "SIGKILL":
            await _within(ended, KILL_TIMEOUT_S)
        self._tell("kill", entry.container, signal=name)

    async def pause(self, reference: str) -> None:
        """Freeze a container. Raises Conflict."""
        entry = self._registry.find(reference)
        async with entry.lock:
            if entry.container.status is not Status.RUNNING:
                raise Conflict(f"container {entry.container.id} is {entry.container.status}, it can't be paused")
            await self._launcher.runc(entry.container).pause(entry.container.id)
            await self._registry.put(replace(entry.container, status=Status.PAUSED))
        self._tell("pause", entry.container)

    async def unpause(self, reference: str) -> None:
        """Let a frozen container go on. Raises Conflict."""
        entry = self._registry.find(reference)
        async with entry.lock:
            if entry.container.status is not Status.PAUSED:
                raise Conflict(f"container {entry.container.id} is not paused")
            await self._launcher.runc(entry.container).resume(entry.container.id)
            await self._registry.put(replace(entry.container, status=Status.RUNNING))
        self._tell("unpause", entry.container)

    async def rename(self, reference: str, name: str) -> None:
        """Give a container another name. Raises NameTaken, InvalidRequest."""
        entry = self._registry.find(reference)
        async with entry.lock:
            before = entry.container.name
            self._registry.claim_name(parse_name("container", name.removeprefix("/")), entry.container.id)
            await self._registry.put(replace(entry.container, name=name.removeprefix("/")))
            self._registry.release_name(before, entry.container.id)
        self._tell("rename", entry.container, oldName=f"/{before}")

    async def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container, with `force` also one that runs, with `volumes` its anonymous ones too.

        Raises NotFound; Conflict when it runs and `force` is not given.
        """
        entry = self._registry.find(reference)
        if force and entry.container.status.has_process:
            with contextlib.suppress(Conflict):
                await self.kill(entry.container.id)
        async with entry.lock:
            if entry.removed:
                return
            container = entry.container
            if container.status.has_process:
                raise Conflict(
                    f'cannot remove container "{container.name}": container is {container.status}: '
                    "stop the container before removing or force remove",
                    hint=f"atoll rm --force {container.name}",
                )
            await self._remove(entry, volumes=volumes)

    def attach(self, reference: str) -> Attachment:
        """The streams of a container; of one that does not run, of its next run. Raises NotFound, Conflict."""
        entry = self._registry.find(reference)
        attachment = Attachment()
        if entry.container.status.has_process:
            try:
                attachment.connect(self._places.bundle(entry.container.id))
            except OSError:
                attachment.close()
        else:
            entry.attachments.append(attachment)
        return attachment

    def wait(self, reference: str, condition: str = "not-running") -> asyncio.Future[Exit]:
        """How a container ends, in time; `condition` is not-running, next-exit or removed. Raises NotFound."""
        entry = self._registry.find(reference)
        if condition == "removed":
            future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
            entry.removals.append(future)
            return future
        if condition == "next-exit" or entry.container.status.has_process:
            return self._next_exit(entry)
        future = asyncio.get_running_loop().create_future()
        future.set_result(Exit(entry.container.exit_code, entry.container.error))
        return future

    def watch(self, entry: Entry) -> None:
        """Wait for the end of a container that runs, in the background."""
        entry.tasks["end"] = asyncio.create_task(self._follow(entry), name=f"end of {entry.container.name}")

    async def settle(self, entry: Entry) -> None:
        """Write down that a container has ended, and what follows from it: for one whose conmon is gone."""
        async with entry.lock:
            await self._ended(entry)

    async def close(self) -> None:
        """Stop waiting. The containers run on."""
        tasks = [task for entry in self._registry for task in entry.tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for entry in self._registry:
            for attachment in entry.attachments:
                attachment.close()

    async def _launch(self, entry: Entry) -> None:
        container = entry.container
        try:
            view = await self._network.make_sandbox(container)
            await self._preparer.prepare(container, view)
            pid, ticks = await self._launcher.create(container, entry.attachments)
            running = replace(
                container,
                status=Status.RUNNING,
                pid=pid,
                pid_start_ticks=ticks,
                exit_code=0,
                error="",
                oom_killed=False,
                started_ns=self._clock.now_ns(),
                health=Health.STARTING if self._preparer.effective(container).health else Health.NONE,
            )
            await self._registry.put(running)
            await self._launcher.begin(running)
        except BaseException as error:
            await asyncio.shield(self._undo(entry, container, error))
            raise
        self.watch(entry)
        self._tell("start", running)

    async def _undo(self, entry: Entry, before: Container, error: BaseException) -> None:
        """Take back a start that failed."""
        for attachment in entry.attachments:
            attachment.close()
        entry.attachments.clear()
        code = error.exit_code if isinstance(error, StartFailed) else 128
        message = error.message if isinstance(error, AtollError) else str(error)
        status = Status.CREATED if before.status is Status.CREATED else Status.EXITED
        ended_ns = self._clock.now_ns()
        await self._clear(before)
        await self._registry.put(
            replace(before, status=status, pid=0, exit_code=code, error=message, finished_ns=ended_ns)
        )
        entry.tell(entry.exits, Exit(code, message))

    async def _clear(self, container: Container) -> None:
        """Take away all that a run has: processes, mounts, bundle, sandbox. Goes on past what fails."""
        for step in (
            self._launcher.kill(container),
            self._preparer.clean(container.id),
            self._network.remove_sandbox(container),
        ):
            try:
                await step
            except AtollError:
                _log.exception("what container %s leaves is not all gone", container.name)

    async def _follow(self, entry: Entry) -> None:
        await self._launcher.ended(entry.container)
        await self.settle(entry)

    async def _ended(self, entry: Entry) -> None:
        container = entry.container
        ending = self._launcher.ending(container)
        again = restarts(container, ending.code)
        entry.cancel("health")
        # The sandbox before the answer: who waited for the end may want its ports.
        if not again:
            await self._network.remove_sandbox(container)
        ended = after(container, ending, self._clock.now_ns())
        ended = replace(
            ended,
            status=Status.RESTARTING if again else Status.EXITED,
            restart_count=container.restart_count + (1 if again else 0),
        )
        await self._registry.put(ended)
        self._tell("die", ended, exitCode=str(ending.code))
        entry.tell(entry.exits, Exit(ending.code, ending.error))
        await self._launcher.kill(ended)
        await self._preparer.clean(ended.id)
        if again:
            entry.tasks["restart"] = asyncio.create_task(self._restart_later(entry))
        elif ended.host.auto_remove:
            await self._remove(entry, volumes=True)

    async def _restart_later(self, entry: Entry) -> None:
        container = entry.container
        ran_s = (container.finished_ns - container.started_ns) / 1e9
        delay_s = next_delay_s(self._delays_s.get(container.id, 0), ran_s)
        self._delays_s[container.id] = delay_s
        await asyncio.sleep(delay_s)
        async with entry.lock:
            if entry.container.status is not Status.RESTARTING or entry.removed:
                return
            try:
                await self._launch(entry)
            except AtollError as error:
                _log.warning("container %s could not be started again: %s", container.name, error.message)

    async def _want_end(self, entry: Entry) -> None:
        """Remember, before it happens, that the end is wanted; one that waits to be started again has ended."""
        entry.cancel("restart")
        container = replace(entry.container, stop_requested=True)
        if container.status is Status.RESTARTING:
            await self._network.remove_sandbox(container)
            container = replace(container, status=Status.EXITED)
        if container != entry.container:
            await self._registry.put(container)

    async def _signal(self, entry: Entry, name: str) -> None:
        container = entry.container
        runc = self._launcher.runc(container)
        await runc.kill(container.id, name)
        if container.status is Status.PAUSED:
            # A frozen process gets no signal.
            await runc.resume(container.id)
            await self._registry.put(replace(container, status=Status.RUNNING))

    async def _remove(self, entry: Entry, *, volumes: bool) -> None:
        container = entry.container
        entry.cancel("restart")
        await self._network.remove_sandbox(container)
        await self._preparer.clean(container.id)
        await self._registry.delete(container)
        entry.removed = True
        await asyncio.to_thread(shutil.rmtree, self._places.kept(container.id), ignore_errors=True)
        self._delays_s.pop(container.id, None)
        for attachment in entry.attachments:
            attachment.close()
        self._tell("destroy", container)
        entry.tell(entry.exits, Exit(container.exit_code))
        entry.tell(entry.removals, Exit(container.exit_code, container.error))

    def _next_exit(self, entry: Entry) -> asyncio.Future[Exit]:
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        entry.exits.append(future)
        return future

    def _tell(self, action: str, container: Container, **attributes: str) -> None:
        told = {"name": container.name, "image": container.config.image, **attributes}
        self._emit(ContainerEvent(action, container, self._clock.now_ns(), told))


def _still_there(entry: Entry) -> None:
    if entry.removed:
        raise Conflict(f"container {short_id(entry.container.id)} is marked for removal and cannot be started")


async def _within(future: asyncio.Future[Exit], timeout_s: float) -> bool:
    done, _ = await asyncio.wait([future], timeout=None if timeout_s < 0 else timeout_s)
    return bool(done)
