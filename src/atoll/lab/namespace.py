"""One network namespace by its path: run programs in it, look at it, find who lives there."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from atoll.errors import AtollError
from atoll.lab.capture import Capture

Command = str | Sequence[str]
"""A program and its arguments; a string is split as a shell splits words, and nothing else is expanded."""

PACKAGE_ROOT = Path(__file__).parents[2]
"""The directory that holds the package `atoll`."""


class CommandFailed(AtollError):
    """A program in a lab ended with another code than 0; the message has its error output."""


class Namespace:
    """A network namespace that somebody else made; `path` is where it can be opened.

    What is left running in it is added to `started`. A namespace can go before those who live in it, and then they
    can't be found by it any more.
    """

    def __init__(self, name: str, path: Path, started: list[subprocess.Popen[str]]) -> None:
        self.name = name
        self.path = path
        self.started = started

    def argv(self, command: Command) -> list[str]:
        """The command as it has to be started from outside. `ip netns exec` would hide /sys, nsenter doesn't."""
        return ["nsenter", f"--net={self.path}", "--", *words(command)]

    def run(
        self, command: Command, *, check: bool = True, stdin: str = "", timeout_s: float = 20
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end. Raises CommandFailed when `check` and it fails; subprocess.TimeoutExpired."""
        done = subprocess.run(
            self.argv(command), check=False, input=stdin, capture_output=True, text=True, timeout=timeout_s
        )
        if check and done.returncode != 0:
            raise CommandFailed(
                f"{shlex.join(words(command))} in {self.name} ended with {done.returncode}: "
                f"{(done.stderr or done.stdout).strip()}"
            )
        return done

    def out(self, command: Command) -> str:
        """What a program prints. Raises CommandFailed."""
        return self.run(command).stdout

    def links(self) -> list[dict[str, Any]]:
        """The interfaces, as `ip -json -details link` says them."""
        found: list[dict[str, Any]] = json.loads(self.out("ip -json -details link"))
        return found

    def start(self, command: Command, *, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start a program in a process group of its own and leave it running, its input and outputs piped.

        The lab ends it, and what it has started, at the latest.
        """
        process = subprocess.Popen(
            self.argv(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            process_group=0,
        )
        self.started.append(process)
        return process

    def program(self, name: str, *arguments: str) -> list[str]:
        """The command of one of the lab's own programs (`programs/NAME.py`), started without site packages."""
        python = [sys.executable, "-S", "-P", "-m", f"atoll.lab.programs.{name}"]
        return ["env", f"PYTHONPATH={PACKAGE_ROOT}", *python, *arguments]

    def capture(self, ifname: str, expression: str = "") -> Capture:
        """A running capture on an interface; when this returns it is listening. `expression` is a pcap filter."""
        return Capture(self.argv, ifname, expression)

    def set_sysctls(self, values: Mapping[str, int | str]) -> None:
        """Write values below /proc/sys/net, by their path there: `{"ipv4/ip_forward": 1}`. Raises CommandFailed."""
        lines = "".join(f"{key} {value}\n" for key, value in values.items())
        script = 'while read -r key value; do echo "$value" > "/proc/sys/net/$key" || exit 1; done'
        self.run(["sh", "-c", script], stdin=lines)


def words(command: Command) -> list[str]:
    """A command as a list of words."""
    return shlex.split(command) if isinstance(command, str) else list(command)


def residents(paths: Iterable[Path]) -> list[int]:
    """Process ids whose network namespace is one of these. Effects: none."""
    wanted = set()
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        wanted.add((status.st_dev, status.st_ino))
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "ns/net").stat()
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in wanted:
            found.append(int(entry.name))
    return found


def end_residents(paths: Sequence[Path], *, patience_s: float = 2) -> None:
    """End every process in these namespaces: politely, then not. Never used on a namespace that isn't the lab's."""
    assert all(not _is_own(path) for path in paths), "the lab's own process lives in this namespace"
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + patience_s
        for pid in residents(paths):
            _send(pid, number)
        while (left := residents(paths)) and time.monotonic() < deadline:
            for pid in left:
                _reap(pid)
            time.sleep(0.01)
        if not left:
            return


def end_started(started: Iterable[subprocess.Popen[str]]) -> None:
    """End process groups that were left running, and close their pipes."""
    for process in started:
        if process.returncode is None:  # not waited for yet, so its number is still its own
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _is_own(path: Path) -> bool:
    return path.exists() and path.samefile("/proc/self/ns/net")


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap(pid: int) -> None:
    # A child of ours that has ended stays in /proc, without a namespace to look at, until it's waited for.
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
