"""The command line: a listing as a whole process, from the start of the program to its end."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from bench.effort import Effort
from bench.peers.atoll import Atoll
from bench.peers.unpacked import unpacked
from bench.samples import alternate
from bench.scene import Scene
from bench.section import Limit, Row, Section

FACTOR = 4
TEXT = """`network ls` as a whole process, both against the same daemon and its three networks and one more: the
`atoll` command as `make setup` leaves it, the `docker` client, and for comparison what Python itself takes to do
nothing."""


def measure(effort: Effort) -> Section:
    """Both clients in turn."""
    with Scene() as scene:
        socket = Atoll.on(scene.machine("host")).daemon.socket
        docker = unpacked("docker") / "usr" / "bin" / "docker"
        python = Path(sys.executable)
        commands = {
            "docker": [str(docker), "-H", f"unix://{socket}", "network", "ls"],
            "atoll": [str(python.with_name("atoll")), "--socket", str(socket), "network", "ls"],
            "python -I -c pass": [str(python), "-I", "-c", "pass"],
        }
        found = alternate({name: partial(_run, command) for name, command in commands.items()}, effort.cli_rounds)
    docker_time = found["docker"]
    rows = [Row("network ls", name, samples, base=docker_time) for name, samples in found.items()]
    limit = Limit("`atoll network ls` over `docker network ls`", found["atoll"].median / docker_time.median, FACTOR)
    return Section("Command line", TEXT, rows, [limit], base="over docker")


def _run(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun
