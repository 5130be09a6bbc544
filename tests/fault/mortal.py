"""A whole daemon that dies at a given point.

Points are before and after every commit and every change of mounts, before every signal, before and after every start
of a program, and if it is to be fine, before every step in the kernel and every change of a file.
"""

import asyncio
import http.client
import mmap
import os
import struct
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ParamSpec

from atoll.daemon import wiring
from atoll.daemon.main import main
from atoll.runtime.supervise import mounts
from tests.fault.dying import DyingKernel, DyingStore, Fuse
from tests.netns.namespaces import enter, eventually
from tests.support.daemon import DaemonHost

AFTERMATH_S = 0.1
"""In which what goes on behind an answer may still kill."""

P = ParamSpec("P")

_FIELDS = struct.Struct("=qqq")
_OPENS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_PATHS = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.chown", "os.symlink", "os.link"})
_PROGRAMS = frozenset({"subprocess.Popen", "os.kill"})
"""Audit events: changes of a path, and what is done to processes. Source: Python's table of audit events."""


class Fate(Fuse):
    """A fuse in a file: whether it is armed, the point at which it blows, and how many were passed since."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_FIELDS.size))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _FIELDS.size)
        self.kills = True

    def arm(self, at: int) -> None:
        """Count from 0 on, and die at this point."""
        self._shared[:] = _FIELDS.pack(True, at, 0)

    def disarm(self) -> None:
        """Let it live."""
        self._shared[:] = _FIELDS.pack(False, 0, 0)

    @property
    def passed(self) -> int:  # type: ignore[override]
        """How many points were passed."""
        return int(_FIELDS.unpack(self._shared)[2])

    @property
    def armed(self) -> bool:  # type: ignore[override]
        """Whether points count."""
        return bool(_FIELDS.unpack(self._shared)[0])

    def room(self) -> int | None:
        """How many more points may pass; None when it doesn't matter."""
        armed, at, passed = _FIELDS.unpack(self._shared)
        return max(at - passed, 0) if armed else None

    def pass_points(self, count: int) -> None:
        """Note that so many points were passed."""
        armed, at, passed = _FIELDS.unpack(self._shared)
        if armed:
            self._shared[:] = _FIELDS.pack(armed, at, passed + count)

    def blow(self) -> None:
        """Die here; the next daemon lives."""
        self.disarm()
        super().blow()

    def point(self) -> None:
        """Die here, or pass."""
        if self.room() == 0:
            self.blow()
        self.pass_points(1)


def run(fate: Fate, directory: str, arguments: list[str], *, fine: bool) -> int:
    """A daemon that keeps its files below a directory; its exit status, if it lives to have one."""
    store, kernel, start_program = wiring.SqliteStore, wiring.RealKernel, asyncio.create_subprocess_exec
    wiring.SqliteStore = lambda path: DyingStore(store(path), fate)  # type: ignore[assignment, misc]
    if fine:
        wiring.RealKernel = lambda *parts: DyingKernel(kernel(*parts), fate)  # type: ignore[assignment, misc]

    async def started(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await start_program(*command, **options)
        fate.point()
        return process

    asyncio.create_subprocess_exec = started
    mounts._mount = _around(mounts._mount, fate)
    mounts._unmount_below = _around(mounts._unmount_below, fate)

    def hear(event: str, given: tuple[Any, ...]) -> None:
        if event in _PROGRAMS or (fine and _writes(event, given) and str(given[0]).startswith(directory)):
            fate.point()

    sys.addaudithook(hear)
    return main(arguments)


def _around(change: Callable[P, None], fate: Fate) -> Callable[P, None]:
    def around(*args: P.args, **kwargs: P.kwargs) -> None:
        fate.point()
        change(*args, **kwargs)
        fate.point()

    return around


def _writes(event: str, given: tuple[Any, ...]) -> bool:
    return event in _PATHS or (event == "open" and isinstance(given[2], int) and bool(given[2] & _OPENS))


@dataclass
class Forked:
    """A child process, as `subprocess.Popen` has one."""

    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its status, once it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its status, in time."""
        eventually(lambda: self.poll() is not None, seconds=timeout or 60)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, sig)


@dataclass
class MortalHost(DaemonHost):
    """A host whose daemon dies as `fate` has it. `fine`: file and kernel are points, too."""

    fine: bool = False
    fate: Fate = field(init=False)

    def __post_init__(self) -> None:
        self.fate = Fate(self.directory / "fate")

    def begin(self, log: IO[bytes], *options: str) -> Forked:
        """A fork of this process instead of a new one, which would begin with half a second of imports."""
        sys.stdout.flush()
        child = os.fork()
        if child:
            return Forked(child)
        try:
            for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), log.fileno(), log.fileno())):
                os.dup2(file, number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            enter(self.name)
            run(self.fate, str(self.directory), self.arguments(*options), fine=self.fine)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def dies(self, act: Callable[[DaemonHost], None], at: int) -> bool:
        """Whether the daemon dies at this point of an act, or shortly after it."""
        assert self.process is not None
        self.fate.arm(at)
        try:
            act(self)
            time.sleep(AFTERMATH_S)
        except (OSError, http.client.HTTPException):
            self.process.wait(timeout=5)
        self.fate.disarm()
        # It may be dying at this very moment.
        time.sleep(0.02)
        if self.process.poll() is None:
            return False
        self.process = None
        return True
