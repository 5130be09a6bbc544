"""Run: a container that ends at once, by docker's own command, and what a hundred that do nothing cost."""

import io
import subprocess
import tarfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from atoll.lab.daemon import Daemon
from bench.client import Client
from bench.effort import Effort
from bench.peers.atoll import Atoll
from bench.peers.docker import API, Docker
from bench.peers.unpacked import unpacked
from bench.processes import busy_until, resident_bytes, running_with
from bench.samples import Samples, alternate
from bench.scene import Scene
from bench.section import MEBIBYTES, Limit, Row, Section

FACTOR = 0.8
IDLE_LIMIT_BYTES = 60 << 20
COMMAND = ("run", "--rm", "busybox", "true")
IMPORT = "/images/create?fromSrc=-&repo=busybox&tag=latest"
TEXT = """`docker {command}` as a whole process, on the default bridge, by one docker client of both daemons, which
have the same image; Docker with overlay2. *Idle containers* run `sleep`, {count} of them on the default bridge: the
daemon's resident memory less what it was before, once it has come to rest; that of all their conmons, which are
processes of their own and share most of theirs; and that of the process that answers names. One run of it, so *n* is
1."""


def measure(effort: Effort) -> Section:
    """Runs in turn, and then idle containers."""
    with ExitStack() as stack:
        scene = stack.enter_context(Scene())
        other = scene.machine("docker")
        docker = stack.enter_context(Docker(other, scene.room(other), "--storage-driver", "overlay2"))
        Client(docker.socket).timed("POST", f"{API}{IMPORT}", _image())
        daemon = Atoll.on(scene.machine("daemon"))
        stack.callback(_purge, daemon.daemon)
        daemon.client.timed("POST", IMPORT, _image())
        sockets = {"Docker": docker.socket, "atoll": daemon.daemon.socket}
        program = unpacked("docker") / "usr" / "bin" / "docker"
        found = alternate({name: partial(_run, program, socket) for name, socket in sockets.items()}, effort.run_rounds)
        idle = _idle(daemon, effort.idle_containers)
    return _section(found, idle, effort)


def _run(program: Path, socket: Path) -> float:
    begun = time.perf_counter()
    subprocess.run([program, "-H", f"unix://{socket}", *COMMAND], check=True, capture_output=True)
    return time.perf_counter() - begun


def _idle(atoll: Atoll, count: int) -> dict[str, int]:
    """What the parts take by then, by name; of the daemon, what it takes more."""
    daemon = atoll.daemon
    busy_until(daemon.pid)
    before = resident_bytes(daemon.pid)
    for number in range(count):
        wanted = {"Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": "bridge"}}
        atoll.client.ask("POST", f"/containers/create?name=idle{number}", wanted)
        atoll.client.ask("POST", f"/containers/idle{number}/start")
    busy_until(daemon.pid)
    place = str(daemon.socket.parent)
    return {
        "daemon, over none": resident_bytes(daemon.pid) - before,
        "conmons": _resident(running_with("conmon", place)),
        "name service": _resident(running_with("atoll.dns", place)),
    }


def _resident(pids: Sequence[int]) -> int:
    return sum(resident_bytes(pid) for pid in pids)


def _purge(daemon: Daemon) -> None:
    """Containers outlive their daemon otherwise."""
    Client(daemon.socket).timed("POST", "/atoll/purge")


def _image() -> bytes:
    """Busybox under the names that are used here."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "sleep", "true"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return archive.getvalue()


def _section(found: dict[str, Samples], idle: dict[str, int], effort: Effort) -> Section:
    docker, count = found["Docker"], effort.idle_containers
    command = f"docker {' '.join(COMMAND)}"
    rows = [Row(command, name, samples, base=docker) for name, samples in found.items()]
    rows += [Row(f"{count} idle containers", name, Samples((float(taken),)), MEBIBYTES) for name, taken in idle.items()]
    limits = [
        Limit(f"`{command}`, over Docker", found["atoll"].median / docker.median, FACTOR),
        Limit(
            f"daemon's memory with {count} idle containers, over none",
            idle["daemon, over none"],
            IDLE_LIMIT_BYTES,
            MEBIBYTES,
        ),
    ]
    return Section("Run", TEXT.format(command=" ".join(COMMAND), count=count), rows, limits, base="over Docker")
