"""What a container uses, and which processes it has, read from the kernel. Changes nothing."""

import os
import shlex
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atoll.errors import InvalidRequest
from atoll.runtime.programs import ProgramFailed, run

_DEFAULT_PS = "-ef"
_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of one interface, since it was made."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def host_cpu_ns() -> int:
    """What all processors of the host have worked or idled, in nanoseconds. Source: proc(5), /proc/stat."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:8]
    return sum(int(field) for field in fields) * _TICK_NS


def traffic(pid: int) -> dict[str, Traffic]:
    """What has passed the interfaces of a process's network namespace, but for loopback; none when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        fields = [int(field) for field in rest.split()]
        if name.strip() != "lo":
            found[name.strip()] = Traffic(*fields[0:4], *fields[8:12])
    return found


def disk_bytes(directory: Path) -> int:
    """What the files below a directory hold, hard links once; 0 when it isn't there."""
    counted: set[tuple[int, int]] = set()
    total = 0
    # Directories are opened one below the other, so that no link leads outside.
    for _, _, names, opened in os.fwalk(directory, follow_symlinks=False):
        for name in names:
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                key = status.st_dev, status.st_ino
                total += 0 if key in counted else status.st_size
                counted.add(key)
    return total


async def ps(pids: Collection[int], options: str) -> tuple[list[str], list[list[str]]]:
    """The columns and lines of the host's ps(1) that are about these processes. Raises InvalidRequest."""
    try:
        arguments = shlex.split(options or _DEFAULT_PS)
        output = (await run("ps", *arguments)).output.decode(errors="replace")
    except (ValueError, ProgramFailed) as error:
        raise InvalidRequest(f"error running ps: {error}") from None
    head, *lines = output.splitlines() or [""]
    titles = head.split()
    if "PID" not in titles:
        raise InvalidRequest("couldn't find PID field in ps output", hint="leave the options out, or add -o pid")
    column = titles.index("PID")
    rows = [line.split(None, len(titles) - 1) for line in lines]
    wanted = {str(pid) for pid in pids}
    return titles, [row for row in rows if len(row) > column and row[column] in wanted]
