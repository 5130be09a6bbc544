"""Processes that are not our children: known by number and start time, waited for by pidfd."""

import asyncio
import os
from pathlib import Path

_START_TICKS_FIELD = 22
"""`starttime` in /proc/PID/stat; source: proc(5)."""


def start_ticks(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 when there is none, or only its remains (a zombie)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # The program's name, in parentheses, may contain anything.
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in ("Z", "X") else int(fields[_START_TICKS_FIELD - 3])


def alive(pid: int, ticks: int) -> bool:
    """Whether it is still that process."""
    return pid > 0 and ticks > 0 and start_ticks(pid) == ticks


def read_pid(path: Path) -> int:
    """The number in a pid file, 0 when there is none."""
    try:
        return int(path.read_text().strip() or 0)
    except (FileNotFoundError, ValueError):
        return 0


async def ended(pid: int, ticks: int = 0) -> None:
    """Return once the process is gone. With `ticks` another process of that number counts as gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if ticks and start_ticks(pid) != ticks:
            return
        await _readable(descriptor)
    finally:
        os.close(descriptor)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
