"""Further processes in containers. They are known as long as the daemon lives; one that outlives it runs on."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from atoll.errors import NotFound, WrongState
from atoll.model.container import Container, Status
from atoll.model.names import short_id
from atoll.runtime.bundle.effective import merged_env
from atoll.runtime.bundle.spec import process as process_spec
from atoll.runtime.programs import found
from atoll.runtime.registry import Registry
from atoll.runtime.runs import Runs
from atoll.runtime.supervise import conmon, process
from atoll.runtime.supervise.conmon import Conmon, StartFailed
from atoll.runtime.supervise.streams import Attachment
from atoll.runtime.trees import discard_tree

KEPT_MAX = 256
"""Processes that have ended and can still be asked about; Docker forgets them after five minutes."""
LOST_EXIT_CODE = 137

NOT_RUN_EXIT_CODE = 126
"""Of a process that could not be made at all. Source: Docker, as shells do."""


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A process to be run. `env` comes over the container's; `user` "" is the container's, `workdir` "" too."""

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    tty: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = True
    attach_stderr: bool = True
    privileged: bool = False
    console_size: tuple[int, int] | None = None
    """Height and width in characters."""


@dataclass(frozen=True, slots=True)
class Exec:
    """A process as it is now. `exit_code` is None until it has ended, `pid` 0 before it runs."""

    id: str
    container_id: str
    request: ExecRequest
    running: bool = False
    pid: int = 0
    exit_code: int | None = None


@dataclass(slots=True)
class _Kept:
    state: Exec
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Execs:
    """Further processes of all containers, for one event loop."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._registry: Registry = runs.registry
        self._kept: dict[str, _Kept] = {}

    def create(self, reference: str, request: ExecRequest) -> Exec:
        """Remember a process to be run in a container. Raises NotFound; WrongState when the container does not run."""
        container = self._running(reference)
        state = Exec(self._runs.clock.new_id(), container.id, request)
        self._kept[state.id] = _Kept(state)
        self._forget()
        self._runs.tell(f"exec_create: {_told(request.argv)}", container, execID=state.id)
        return state

    def find(self, exec_id: str) -> Exec:
        """A process by its id. Raises NotFound in Docker's words."""
        return self._find(exec_id).state

    def of(self, container_id: str) -> tuple[str, ...]:
        """Ids of the processes of a container that run."""
        return tuple(
            kept.state.id
            for kept in self._kept.values()
            if kept.state.container_id == container_id and kept.state.running
        )

    async def start(self, exec_id: str, *, attach: bool) -> Attachment | None:
        """Run a process; its streams when `attach` is given. Raises StartFailed, WrongState, NotFound."""
        kept = self._find(exec_id)
        if kept.state.running or kept.state.exit_code is not None:
            raise WrongState(f"exec {short_id(exec_id)} has been started already")
        container = self._running(kept.state.container_id)
        attachment = Attachment() if attach else None
        kept.state = replace(kept.state, running=True)
        directory = self._runs.places.execs(container.id) / exec_id
        try:
            directory.mkdir(mode=0o700, parents=True)
            (directory / "process.json").write_text(json.dumps(self._spec(container, kept.state.request)))
            pid = await conmon.start(self._conmon(container, kept.state), attachment)
        except BaseException as error:
            code = error.exit_code if isinstance(error, StartFailed) else NOT_RUN_EXIT_CODE
            kept.state = replace(kept.state, running=False, exit_code=code)
            kept.ended.set()
            discard_tree(directory)
            raise
        kept.state = replace(kept.state, pid=pid)
        kept.task = asyncio.create_task(self._follow(kept, container), name=f"end of exec {short_id(exec_id)}")
        self._runs.tell(f"exec_start: {_told(kept.state.request.argv)}", container, execID=exec_id)
        return attachment

    async def wait(self, exec_id: str) -> int:
        """The exit code of a process, in time. Raises NotFound."""
        kept = self._find(exec_id)
        await kept.ended.wait()
        assert kept.state.exit_code is not None
        return kept.state.exit_code

    def resize(self, exec_id: str, *, height: int, width: int) -> None:
        """Tell a process's terminal its size in characters. Raises NotFound, WrongState."""
        state = self.find(exec_id)
        if not state.running:
            raise WrongState(f"exec {short_id(exec_id)} is not running")
        directory = self._runs.places.execs(state.container_id) / exec_id
        self._runs.launcher.resize(directory, height=height, width=width)

    def kill(self, exec_id: str) -> None:
        """End a process that is taking too long; of one that has ended, nothing. Raises NotFound."""
        state = self.find(exec_id)
        if state.running and state.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Stop waiting. The processes run on."""
        tasks = [kept.task for kept in self._kept.values() if kept.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _running(self, reference: str) -> Container:
        container = self._registry.find(reference).container
        if container.status is Status.PAUSED:
            raise WrongState(f"container {container.name} is paused, unpause the container before exec")
        if container.status is not Status.RUNNING:
            raise WrongState(f"container {container.id} is not running", hint=f"atoll start {container.name}")
        return container

    def _find(self, exec_id: str) -> _Kept:
        try:
            return self._kept[exec_id]
        except KeyError:
            raise NotFound(f"No such exec instance: {exec_id}", subject=exec_id) from None

    def _spec(self, container: Container, request: ExecRequest) -> dict[str, Any]:
        preparer = self._runs.preparer
        bundle = self._runs.places.bundle(container.id)
        base = json.loads((bundle / "config.json").read_text())["process"]
        user = preparer.user(container, request.user or preparer.effective(container).user)
        # HOME is of the user that runs it.
        env = merged_env(base["env"], (f"HOME={user.home}",) if request.user else ())
        if request.tty:
            env = merged_env(("TERM=xterm",), env)
        spec = process_spec(
            base,
            argv=request.argv,
            env=merged_env(env, request.env),
            user=user,
            workdir=request.workdir,
            tty=request.tty,
            privileged_by=preparer.abilities if request.privileged else None,
        )
        if request.console_size is not None and request.tty:
            spec["consoleSize"] = {"height": request.console_size[0], "width": request.console_size[1]}
        return spec

    def _conmon(self, container: Container, state: Exec) -> Conmon:
        directory = self._runs.places.execs(container.id) / state.id
        return Conmon(
            container_id=container.id,
            unit=state.id,
            directory=directory,
            runtime=found(container.host.runtime),
            runtime_root=self._runs.launcher.runc(container).root,
            tty=state.request.tty,
            stdin=state.request.attach_stdin,
            stdin_once=not state.request.tty,
            exec_spec=directory / "process.json",
        )

    async def _follow(self, kept: _Kept, container: Container) -> None:
        directory = self._runs.places.execs(container.id) / kept.state.id
        pid = process.read_pid(directory / "conmon.pid")
        if pid:
            await process.ended(pid)
        code = LOST_EXIT_CODE
        with contextlib.suppress(FileNotFoundError, ValueError):
            code = int((directory / "exits" / container.id).read_text())
        kept.state = replace(kept.state, running=False, exit_code=code)
        kept.ended.set()
        await asyncio.to_thread(discard_tree, directory)
        self._runs.tell("exec_die", container, execID=kept.state.id, exitCode=str(code))

    def _forget(self) -> None:
        """Forget the oldest of those that have ended, or were never run."""
        idle = [exec_id for exec_id, kept in self._kept.items() if not kept.state.running]
        for exec_id in idle[: max(0, len(idle) - KEPT_MAX)]:
            del self._kept[exec_id]


def _told(argv: Sequence[str]) -> str:
    """A command as events have it: a blank follows the program's name, also when nothing else does."""
    return f"{argv[0]} {' '.join(argv[1:])}"
