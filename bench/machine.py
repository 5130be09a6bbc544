"""What the figures were measured on."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import atoll
from bench.peers.unpacked import versions

_SHOWN = ("docker.io", "containernetworking-plugins", "netavark", "iperf3")


def machine(loads: Sequence[float]) -> dict[str, str]:
    """Words by name; `loads` are the machine's load averages of a minute, before and after each subject."""
    release = platform.freedesktop_os_release()
    found = versions()
    commit = _first_line(["git", "-c", "safe.directory=*", "describe", "--always", "--dirty"])
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "atoll": f"{atoll.__version__}, commit {commit}",
        "machine": f"{os.cpu_count()} x {_processor()}, {_memory_gib():.0f} GiB",
        "load": f"{loads[0]:.1f} at the start, at most {max(loads):.1f} between subjects",
        "kernel": f"{platform.release()} {platform.machine()}",
        "system": release["PRETTY_NAME"],
        "Python": sys.version.split()[0],
        "iptables": _first_line(["iptables", "--version"]).removeprefix("iptables "),
        "nftables": _first_line(["nft", "--version"]).removeprefix("nftables "),
        "others": ", ".join(f"{name} {found[name]}" for name in _SHOWN if name in found),
    }


def _processor() -> str:
    match = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def _memory_gib() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or [""])[0]
