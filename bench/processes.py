"""What the kernel tells about a process. Source: man 5 proc."""

import time
from pathlib import Path

QUIET_S = 1.0
LOOK_S = 0.05


def resident_bytes(pid: int) -> int:
    """Memory that is resident now: VmRSS."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise ValueError(f"process {pid} has no memory")


def running_with(*words: str) -> list[int]:
    """Pids of the processes in whose command lines all of the words stand."""
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdecimal():
            continue
        try:
            command = (directory / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if all(word in command for word in words):
            found.append(int(directory.name))
    return found


def busy_until(pid: int) -> float:
    """Wait until the process has used no processor time for QUIET_S; when it last did, as `time.monotonic`."""
    last, at = _ticks(pid), time.monotonic()
    while time.monotonic() - at < QUIET_S:
        time.sleep(LOOK_S)
        used = _ticks(pid)
        if used != last:
            last, at = used, time.monotonic()
    return at


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
