"""One run of a container, from its bundle to its exit code: what starts it, and what is done when it has ended."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.model.container import Container
from atoll.runtime import cgroups
from atoll.runtime.places import Places
from atoll.runtime.programs import ProgramFailed, found
from atoll.runtime.supervise import conmon, process
from atoll.runtime.supervise.conmon import Conmon, StartFailed
from atoll.runtime.supervise.runc import Runc
from atoll.runtime.supervise.streams import Attachment

LOST_EXIT_CODE = 137
"""Of a container whose conmon was killed, and which was killed then: 128 and SIGKILL."""
CONMON_TIMEOUT_S = 5
"""After which a conmon that outlives its container is killed."""
REBOOT_EXIT_CODE = 255
"""Of one that ran when the host went down. Source: Docker."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended. `finished_ns` is Unix time, 0 where nothing tells; `lost`: its processes may still be there."""

    code: int
    oom_killed: bool = False
    finished_ns: int = 0
    error: str = ""
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Launcher:
    """Starts the first processes of containers whose bundles are prepared."""

    places: Places

    def runc(self, container: Container) -> Runc:
        """The runtime that this container is run by."""
        return Runc(container.host.runtime, self.places.runtimes)

    async def create(self, container: Container, attachments: list[Attachment]) -> tuple[int, int]:
        """Make the container's processes, its streams connected, nothing begun: pid and start time of the first.

        Raises StartFailed.
        """
        bundle = self.places.bundle(container.id)
        pid = await conmon.start(
            Conmon(
                container_id=container.id,
                unit=container.id,
                directory=bundle,
                runtime=found(container.host.runtime),
                runtime_root=self.runc(container).root,
                log=str(self.places.log(container.id)),
                log_max_bytes=container.host.log_max_bytes,
                tty=container.config.tty,
                stdin=container.config.open_stdin,
                # A terminal's input has no end but the one that is typed: who leaves it may come again.
                stdin_once=container.config.stdin_once and not container.config.tty,
            )
        )
        self.connect(container, attachments)
        return pid, process.start_ticks(pid)

    def connect(self, container: Container, attachments: list[Attachment]) -> None:
        """Connect those who wait: before the program's first output, which is else only in the log."""
        while attachments:
            attachment = attachments.pop()
            try:
                attachment.connect(self.places.bundle(container.id))
            except OSError:
                # conmon has gone, which whoever waits for it finds out.
                attachment.close()

    async def begin(self, container: Container) -> None:
        """Let it run. Raises StartFailed."""
        try:
            await self.runc(container).start(container.id)
        except ProgramFailed as error:
            raise StartFailed(error.message, detail=error.detail) from error

    def waits(self, container: Container) -> bool:
        """Whether it is made and has not begun. Source: runc's FIFO, which its first process opens before it begins."""
        return (self.runc(container).root / container.id / "exec.fifo").exists()

    def conmon_pid(self, container_id: str) -> int:
        """conmon's pid, 0 when it is gone."""
        pid = process.read_pid(self.places.bundle(container_id) / "conmon.pid")
        return pid if pid and container_id in _arguments(pid) else 0

    async def ended(self, container: Container) -> None:
        """Wait until the container has ended."""
        pid = self.conmon_pid(container.id)
        if pid:
            await process.ended(pid)

    def resize(self, directory: Path, *, height: int, width: int) -> None:
        """Tell the terminal of the process that works in `directory` its size. Source: conmon's ctrl.c."""
        try:
            control = os.open(directory / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            # It has ended, or not begun.
            return
        with os.fdopen(control, "w") as file:
            file.write(f"1 {height} {width}\n")

    def ending(self, container: Container) -> Ending:
        """What was written down of the end of a container whose conmon is gone."""
        bundle = self.places.bundle(container.id)
        path = bundle / "exits" / container.id
        try:
            text, finished_ns = path.read_text(), path.stat().st_mtime_ns
            return Ending(int(text), (bundle / "oom").exists(), finished_ns)
        except (FileNotFoundError, ValueError):
            if not bundle.is_dir():
                return Ending(REBOOT_EXIT_CODE)
            return Ending(LOST_EXIT_CODE, error="its conmon was killed, and so it was too", lost=True)

    async def kill(self, container: Container) -> None:
        """End whatever there is of the container's processes and of the runtime's traces. Raises ProgramFailed."""
        try:
            await self._kill(container)
        finally:
            # A runtime that could not set a limit forgets what it had made by then.
            cgroups.remove_empty(cgroups.path_of(container))

    async def _kill(self, container: Container) -> None:
        runc = self.runc(container)
        await runc.delete(container.id)
        pid = self.conmon_pid(container.id)
        if not pid:
            return
        try:
            await asyncio.wait_for(process.ended(pid), CONMON_TIMEOUT_S)
        except TimeoutError:
            # It may be about to make the container.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await process.ended(pid)
            await runc.delete(container.id)


def _arguments(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def after(container: Container, ending: Ending, now_ns: int) -> Container:
    """The record of a container that has ended, its status not yet set."""
    return replace(
        container,
        pid=0,
        pid_start_ticks=0,
        kill_at_ns=0,
        exit_code=ending.code,
        oom_killed=ending.oom_killed,
        error=ending.error,
        finished_ns=ending.finished_ns or now_ns,
    )
