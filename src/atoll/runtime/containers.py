"""The verbs on containers.

Everything here belongs to one event loop. What changes a container's state holds its lock; what waits for its end does
not. A verb that has begun is finished, also when its caller is cancelled.
"""

import asyncio
import contextlib
import functools
import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from atoll.errors import InvalidRequest, Unavailable, Unsupported, WrongState
from atoll.model.container import NEVER_NS, Container, ContainerRequest, Limits, RestartPolicy, Status
from atoll.model.names import parse_name, short_id, shown
from atoll.runtime.bundle.effective import effective
from atoll.runtime.bundle.resources import resources
from atoll.runtime.mounting import Mounting
from atoll.runtime.programs import ProgramFailed, found
from atoll.runtime.registry import Commit, Entry, Exit
from atoll.runtime.runs import Runs
from atoll.runtime.signals import parse_signal, signal_number
from atoll.runtime.supervise.streams import Attachment

STOP_TIMEOUT_S = 10
"""Before a container that is to stop is killed. Source: Docker."""
KILL_TIMEOUT_S = 10
"""After which a container that was killed counts as one that can't be."""

_RUNTIME = re.compile(r"[a-z][a-z0-9_-]{0,31}\Z")

P = ParamSpec("P")
T = TypeVar("T")


def finished(
    verb: Callable[Concatenate["Containers", P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["Containers", P], Awaitable[T]]:
    """A verb that goes on to its end when who called it is cancelled: a client may go at any time."""

    @functools.wraps(verb)
    async def call(self: "Containers", *args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(verb(self, *args, **kwargs))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        return await asyncio.shield(task)

    # Its type says what mypy can't see through `wraps`.
    return cast(Callable[Concatenate["Containers", P], Awaitable[T]], call)


class Containers:
    """All containers of a daemon. References are ids, names or unambiguous prefixes of ids."""

    def __init__(self, runs: Runs, mounting: Mounting) -> None:
        self._runs = runs
        self._registry = runs.registry
        self._mounting = mounting
        self.under_way: set[asyncio.Task[Any]] = set()
        self.purging = False
        """Everything is being removed: nothing is made or started."""

    def all(self) -> tuple[Container, ...]:
        """All records, the newest first."""
        records = [entry.container for entry in self._registry]
        return tuple(sorted(records, key=lambda container: (-container.created_ns, container.id)))

    def find(self, reference: str) -> Container:
        """One record. Raises NotFound, WrongState."""
        return self._registry.find(reference).container

    def entry(self, reference: str) -> Entry:
        """One record with what lives beside it: its lock, its health checks. Raises NotFound, WrongState."""
        return self._registry.find(reference)

    @finished
    async def create(self, request: ContainerRequest, *, name: str) -> Container:
        """Make a container called `name`, not its processes. Raises NotFound (image), NameTaken, InvalidRequest."""
        self._check_open()
        container_id = self._runs.clock.new_id()
        self._registry.claim_name(parse_name("container", name), container_id)
        try:
            _check_runtime(request.host.runtime)
            if request.host.init and not self._runs.preparer.init_program:
                raise Unsupported("no init for containers is installed", hint="apt-get install tini")
            image = self._runs.preparer.images.find(request.config.image)
            merged = effective(image.config, request.config)
            parse_signal(merged.stop_signal)
            container = Container(
                id=container_id,
                name=name,
                image_id=image.id,
                created_ns=self._runs.clock.now_ns(),
                config=request.config,
                host=request.host,
                mounts=await self._mounting.settle(container_id, request.host.mounts, merged.volumes, image),
                network=request.network,
            )
            await self._registry.put(container)
        except BaseException:
            self._registry.release_name(name, container_id)
            await self._runs.remove_tied(container_id)
            raise
        self._runs.preparer.volumes.untie(container.volumes)
        self._runs.tell("create", container)
        return container

    @finished
    async def start(self, reference: str) -> bool:
        """Start a container; False when it runs already. Raises WrongState, StartFailed and what its network raises."""
        self._check_open()
        entry = self._registry.find(reference)
        async with entry.lock:
            if entry.removed:
                raise WrongState(
                    f"container {short_id(entry.container.id)} is marked for removal and cannot be started"
                )
            if entry.container.status is Status.PAUSED:
                raise WrongState("cannot start a paused container, try unpause instead")
            if entry.container.status.has_process:
                return False
            entry.cancel("restart")
            entry.delay_s = 0.0
            entry.container = replace(entry.container, stop_requested=False, restart_count=0)
            await self._runs.launch(entry)
        return True

    @finished
    async def stop(self, reference: str, *, timeout_s: float | None = None, signal: str = "") -> bool:
        """Ask a container to end, and kill it after `timeout_s` (-1: never); False when it does not run.

        Without a time or a signal they are the container's own, or 10 s and SIGTERM.
        """
        entry = self._registry.find(reference)
        async with entry.lock:
            container = entry.container
            if timeout_s is None:
                own_s = container.config.stop_timeout_s
                timeout_s = STOP_TIMEOUT_S if own_s is None else own_s
            await self._runs.want_end(entry, kill_after_s=timeout_s)
            if not container.status.has_process:
                return False
        await self._see_to_end(entry, signal, timeout_s)
        return True

    def finish_stops(self) -> None:
        """Go on, in the background, with the stops that a daemon had begun before it died."""
        for entry in self._registry:
            container = entry.container
            if container.status.has_process and container.kill_at_ns:
                left_s = max(0, container.kill_at_ns - self._runs.clock.now_ns()) / 1e9
                timeout_s = -1 if container.kill_at_ns == NEVER_NS else left_s
                stop = self._see_to_end(entry, "", timeout_s)
                entry.tasks["stop"] = asyncio.create_task(stop, name=f"stop of {container.name}")

    async def restart(self, reference: str, *, timeout_s: float | None = None) -> None:
        """Stop and start. Raises as these do."""
        await self.stop(reference, timeout_s=timeout_s)
        await self.start(reference)
        self._runs.tell("restart", self.find(reference))

    @finished
    async def kill(self, reference: str, signal: str = "SIGKILL") -> None:
        """Send a signal by name or number. Raises WrongState when the container does not run, InvalidRequest."""
        entry = self._registry.find(reference)
        name = parse_signal(signal)
        async with entry.lock:
            container = entry.container
            if not container.status.has_process:
                raise WrongState(f"container {container.id} is not running", hint=f"atoll start {container.name}")
            if name == "SIGKILL":
                await self._runs.want_end(entry, kill_after_s=0)
            elif name == parse_signal(self._runs.preparer.effective(container).stop_signal):
                await self._runs.want_end(entry)
            ended = self._next_exit(entry)
            await self._signal(entry, name)
        if name == "SIGKILL":
            await _within(ended, KILL_TIMEOUT_S)

    @finished
    async def pause(self, reference: str) -> None:
        """Freeze a container. Raises WrongState."""
        entry = self._registry.find(reference)
        async with entry.lock:
            if entry.container.status is Status.PAUSED:
                raise WrongState(f"container {entry.container.id} is already paused")
            if entry.container.status is not Status.RUNNING:
                raise WrongState(f"container {entry.container.id} is not running")
            await self._runs.pause(entry)
        self._runs.tell("pause", entry.container)

    @finished
    async def unpause(self, reference: str) -> None:
        """Let a frozen container go on. Raises WrongState."""
        entry = self._registry.find(reference)
        async with entry.lock:
            if entry.container.status is not Status.PAUSED:
                raise WrongState(f"container {entry.container.id} is not paused")
            await self._resume(entry)
        self._runs.tell("unpause", entry.container)

    @finished
    async def rename(self, reference: str, name: str) -> None:
        """Give a container another name. Raises NameTaken, InvalidRequest."""
        entry = self._registry.find(reference)
        fresh = parse_name("container", name.removeprefix("/"))
        async with entry.lock:
            before = entry.container.name
            self._registry.claim_name(fresh, entry.container.id)
            await self._registry.put(replace(entry.container, name=fresh))
            if fresh != before:
                self._registry.release_name(before, entry.container.id)
        self._runs.tell("rename", entry.container, oldName=f"/{before}")

    @finished
    async def update(
        self, reference: str, *, limits: Limits | None = None, restart: RestartPolicy | None = None
    ) -> None:
        """Change the limits or the restart policy, also of a container that runs. Raises InvalidRequest."""
        entry = self._registry.find(reference)
        async with entry.lock:
            host = entry.container.host
            host = replace(host, limits=limits or host.limits, restart=restart or host.restart)
            if limits is not None and entry.container.status.has_process:
                wanted = resources(
                    limits, devices=(), privileged=True, swap_limit=self._runs.preparer.abilities.swap_limit
                )
                del wanted["devices"]
                path = self._runs.places.bundle(entry.container.id) / "resources.json"
                path.write_text(json.dumps(wanted))
                try:
                    await self._runs.launcher.runc(entry.container).update(entry.container.id, path)
                except ProgramFailed as error:
                    name = entry.container.name
                    raise InvalidRequest(f"cannot update container {name}: {error.message}") from error
            await self._registry.put(replace(entry.container, host=host))
        self._runs.tell("update", entry.container)

    @finished
    async def change_network(
        self, reference: str, change: Callable[[Container], Container], commit: Commit
    ) -> Container:
        """Replace a record by what `change` makes of it: what the container asks of its network, changed by `commit`.

        Raises NotFound and what the two raise.
        """
        entry = self._registry.find(reference)
        async with entry.lock:
            await self._runs.change_network(entry, change(entry.container), commit)
            return entry.container

    @finished
    async def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container, with `force` also one that runs, with `volumes` its anonymous ones too.

        Raises NotFound; WrongState when it runs and `force` is not given.
        """
        entry = self._registry.find(reference)
        if force and entry.container.status.has_process:
            with contextlib.suppress(WrongState):
                await self.kill(entry.container.id)
        async with entry.lock:
            if entry.removed:
                return
            container = entry.container
            if container.status.has_process or (container.status is Status.RESTARTING and not force):
                raise WrongState(
                    f'cannot remove container "{container.name}": container is {container.status}: '
                    "stop the container before removing or force remove",
                    hint=f"atoll rm --force {container.name}",
                )
            await self._runs.remove(entry, volumes=volumes)

    def attach(self, reference: str) -> Attachment:
        """The streams of a container; of one that does not run, of its next run. Raises NotFound."""
        entry = self._registry.find(reference)
        attachment = Attachment()
        if entry.container.status.has_process:
            try:
                attachment.connect(self._runs.places.bundle(entry.container.id))
            except OSError:
                attachment.close()
        else:
            entry.attachments.append(attachment)
        return attachment

    def resize(self, reference: str, *, height: int, width: int) -> None:
        """Tell a container's terminal its size in characters. Raises NotFound, WrongState."""
        container = self._running(reference)
        self._runs.launcher.resize(self._runs.places.bundle(container.id), height=height, width=width)

    async def processes(self, reference: str) -> list[int]:
        """Pids of the host of a container's processes. Raises NotFound, WrongState."""
        container = self._running(reference)
        return await self._runs.launcher.runc(container).processes(container.id)

    async def stats(self, reference: str) -> dict[str, Any]:
        """What a container uses now, in the words of `runc events --stats`. Raises NotFound, WrongState."""
        container = self._running(reference)
        return await self._runs.launcher.runc(container).stats(container.id)

    def wait(self, reference: str, condition: str = "not-running") -> asyncio.Future[Exit]:
        """How a container ends, in time; `condition` is not-running, next-exit or removed. Raises NotFound."""
        entry = self._registry.find(reference)
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        if condition == "removed":
            entry.removals.append(future)
        elif condition == "next-exit" or entry.container.status.has_process:
            entry.exits.append(future)
        else:
            future.set_result(Exit(entry.container.exit_code, entry.container.error))
        return future

    async def close(self) -> None:
        """Finish what is under way, and stop waiting. The containers run on."""
        await asyncio.gather(*self.under_way, return_exceptions=True)
        await self._runs.close()

    def _check_open(self) -> None:
        if self.purging:
            raise Unavailable("everything is being removed: nothing can be made meanwhile", hint="atoll up, afterwards")

    def _running(self, reference: str) -> Container:
        container = self.find(reference)
        if not container.status.has_process:
            raise WrongState(f"container {container.id} is not running", hint=f"atoll start {container.name}")
        return container

    async def _see_to_end(self, entry: Entry, signal: str, timeout_s: float) -> None:
        """Send a signal, by default the container's own, and SIGKILL after `timeout_s`, -1 being never.

        Raises WrongState when that is of no use.
        """
        async with entry.lock:
            container = entry.container
            if not container.status.has_process:
                return
            ended = self._next_exit(entry)
            await self._signal(entry, parse_signal(signal or self._runs.preparer.effective(container).stop_signal))
        if not await _within(ended, timeout_s):
            async with entry.lock:
                await self._signal(entry, "SIGKILL")
            if not await _within(ended, KILL_TIMEOUT_S):
                raise WrongState(
                    f"container {container.name} does not end although it was killed", subject=container.id
                )
        self._runs.tell("stop", entry.container)

    async def _signal(self, entry: Entry, name: str) -> None:
        container = entry.container
        if not container.status.has_process:
            return
        with contextlib.suppress(WrongState):
            # The runtime knows no names of real-time signals.
            number = str(signal_number(name))
            await self._runs.launcher.runc(container).kill(container.id, number)
            self._runs.tell("kill", container, signal=number)
        if container.status is Status.PAUSED:
            # A frozen process gets no signal.
            await self._resume(entry)

    async def _resume(self, entry: Entry) -> None:
        await self._runs.launcher.runc(entry.container).resume(entry.container.id)
        await self._registry.put(replace(entry.container, status=Status.RUNNING))

    def _next_exit(self, entry: Entry) -> asyncio.Future[Exit]:
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        entry.exits.append(future)
        return future


def _check_runtime(name: str) -> None:
    """Raises InvalidRequest for what is no name of a program, Unsupported for one that isn't there."""
    if not _RUNTIME.match(name):
        raise InvalidRequest(f"unknown or invalid runtime name: {shown(name)}", hint="leave it out, or say runc")
    found(name)


async def _within(future: asyncio.Future[Exit], timeout_s: float) -> bool:
    done, _ = await asyncio.wait([future], timeout=None if timeout_s < 0 else timeout_s)
    return bool(done)
