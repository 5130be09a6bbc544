"""The daemon is killed while twenty containers run: they go on and serve, and the next one knows how each has fared."""

import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.netns.namespaces import eventually
from tests.support.contained import TIMEOUT_S, Docker, contained_host

PORTS = {"web0": 8080, "web1": 8081}
TICKING = tuple(f"tick{number}" for number in range(10))
TICK = ("sh", "-c", "n=0; while sleep 0.1; do n=$((n+1)); echo $n; done")
WAITING = ("seven", "removed", "fails", "succeeds", "always")
INSIDE = "echo $$; exec sleep 600"
GAP_MAX_S = 1.0
"""Between two lines of one that writes ten a second."""


@dataclass
class Scene:
    """Twenty containers: two publish a port, one is attached to, one has a command run in it; some end by themselves.

    `clients` are of the last two. `pids` are the first processes before the daemon died, by name.
    """

    docker: Docker
    clients: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    pids: dict[str, str] = field(default_factory=dict)

    def run(self, name: str, *words: str, options: tuple[str, ...] = ()) -> None:
        self.docker("run", "--detach", "--name", name, *options, "busybox", *words)

    def show(self, name: str, template: str) -> str:
        return self.docker("inspect", "--format", template, name)

    def pids_now(self) -> dict[str, str]:
        names = self.docker("ps", "--format", "{{.Names}}").split()
        lines = self.docker("inspect", "--format", "{{.Name}} {{.State.Pid}}", *names).splitlines()
        return dict(line.removeprefix("/").split() for line in lines)

    def page(self, name: str) -> str:
        return self.docker.host.run(f"curl --silent --max-time 5 http://127.0.0.1:{PORTS[name]}/").strip()

    def signal(self, number: signal.Signals, *names: str) -> None:
        """From outside: nobody's daemon knows of it."""
        for name in names:
            os.kill(int(self.pids[name]), number)


def waits(code: int) -> tuple[str, ...]:
    """A command that ends with this code once it gets SIGTERM."""
    return ("sh", "-c", f"trap 'echo ends; exit {code}' TERM; echo waits; while :; do sleep 600 & wait $!; done")


@pytest.fixture
def scene() -> Iterator[Scene]:
    with contained_host("killed") as docker:
        scene = Scene(docker)
        for name, port in PORTS.items():
            scene.run(name, "sh", "-c", f"echo {name} >/index.html; httpd -f -h /", options=("-p", f"{port}:80"))
        with ThreadPoolExecutor(4) as several:
            list(several.map(lambda name: scene.run(name, *TICK), TICKING))
        scene.run("seven", *waits(7))
        scene.run("removed", *waits(0), options=("--rm",))
        scene.run("fails", *waits(3), options=("--restart", "on-failure:5"))
        scene.run("succeeds", *waits(0), options=("--restart", "on-failure"))
        scene.run("always", *waits(0), options=("--restart", "always"))
        scene.run("killed", *waits(0), options=("--restart", "unless-stopped"))
        scene.run("inner", "sleep", "600")
        for command in (("run", "--name", "attached", "busybox", *TICK), ("exec", "inner", "sh", "-c", INSIDE)):
            scene.clients.append(docker.start(*command, stdout=subprocess.PIPE))
        try:
            yield scene
        finally:
            for client in scene.clients:
                client.kill()
                client.communicate()


def test_twenty_go_on_and_each_has_fared_as_it_has(scene: Scene) -> None:
    docker = scene.docker
    said = [client.stdout.readline().decode().strip() for client in scene.clients if client.stdout is not None]
    assert said[0] == "1"
    for name in WAITING:
        eventually(lambda name=name: "waits" in docker("logs", name))  # type: ignore[misc]
    scene.pids = scene.pids_now()
    assert len(scene.pids) == 20
    docker.host.kill9()
    for client in scene.clients:
        client.communicate(timeout=TIMEOUT_S)
    assert [scene.page(name) for name in PORTS] == list(PORTS)
    assert all(Path("/proc", pid).exists() for pid in scene.pids.values())
    scene.signal(signal.SIGTERM, *WAITING)
    scene.signal(signal.SIGKILL, "killed")
    time.sleep(0.5)
    docker.host.start()
    look(scene, said[1])
    use(scene)
    end(scene)


def look(scene: Scene, inside: str) -> None:
    """What lists and inspections tell of each."""
    docker, before = scene.docker, scene.pids
    gone = {"seven", "removed", "succeeds"}
    again = {"fails", "always", "killed"}
    listed = ("ps", "--filter", "status=running", "--format", "{{.Names}}")
    eventually(lambda: set(docker(*listed).split()) == set(before) - gone)
    assert set(docker("ps", "--all", "--format", "{{.Names}}").split()) == set(before) - {"removed"}
    pids = scene.pids_now()
    assert {name for name in pids if pids[name] != before[name]} == again
    assert scene.show("seven", "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"
    assert scene.show("succeeds", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}") == "exited 0 0"
    for name in again:
        assert scene.show(name, "{{.State.Status}} {{.RestartCount}}") == "running 1"
        assert docker("logs", name).splitlines()[-1] == "waits"
    assert docker("logs", "fails").splitlines() == ["waits", "ends", "waits"]
    assert docker("logs", "seven").splitlines() == ["waits", "ends"]
    assert [scene.page(name) for name in PORTS] == list(PORTS)
    # The process that was run in it, too, goes on.
    assert docker("exec", "inner", "cat", f"/proc/{inside}/cmdline").replace("\0", " ").split() == ["sleep", "600"]


def use(scene: Scene) -> None:
    """Logs without a gap, commands in each, names, a client that comes again."""
    docker = scene.docker
    for name in (*TICKING, "attached"):
        lines = [line.split() for line in docker("logs", "--timestamps", name).splitlines()]
        assert [int(number) for _, number in lines] == list(range(1, len(lines) + 1))
        stamps = [float(stamp[17:29]) for stamp, _ in lines]
        assert max((later - earlier) % 60 for earlier, later in itertools.pairwise(stamps)) < GAP_MAX_S
    for name in scene.pids_now():
        assert docker("exec", name, "hostname") == scene.show(name, "{{.Config.Hostname}}")
    assert "1 packets received" in docker("exec", "inner", "ping", "-c", "1", "web0")
    attached = docker.start("attach", "attached", stdout=subprocess.PIPE)
    assert attached.stdout is not None
    first, second = (int(attached.stdout.readline()) for _ in range(2))
    assert second == first + 1
    attached.kill()
    attached.communicate()


def end(scene: Scene) -> None:
    """Each stops as it would have, and stays so."""
    docker = scene.docker
    docker("stop", "--time", "1", "fails", "always", "killed", "web0", *TICKING[:2])
    codes = {name: scene.show(name, "{{.State.Status}} {{.State.ExitCode}}") for name in ("fails", "always", "web0")}
    assert codes == {"fails": "exited 3", "always": "exited 0", "web0": "exited 137"}
    assert docker("wait", "seven") == "7"
    docker("start", "seven", "web0")
    assert scene.page("web0") == "web0"
    listed = json.loads(docker("inspect", "fails"))[0]
    assert listed["RestartCount"] == 1 and not listed["State"]["Running"]
