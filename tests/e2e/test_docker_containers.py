"""Containers by Docker's own command: what is typed every day does what it does with Docker."""

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.netns.namespaces import eventually
from tests.support.contained import Docker, contained_host

WEB = ("busybox", "httpd", "-f", "-h", "/www")
TERMINAL_S = 20


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with contained_host("run") as docker:
        yield docker


@pytest.fixture
def named(docker: Docker, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Gives containers names that only one test has, and removes them after it."""
    given: list[str] = []

    def name(short: str) -> str:
        given.append(f"{short}-{abs(hash(request.node.name)) % 10**6}")
        return given[-1]

    yield name
    docker.run("rm", "--force", *given)


def show(docker: Docker, name: str, template: str) -> str:
    return docker("inspect", "--format", template, name)


def test_output_and_exit_code_come_back(docker: Docker) -> None:
    assert docker("run", "--rm", "busybox", "echo", "hi") == "hi"
    done = docker.run("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert docker("ps", "--all", "--quiet") == ""


def test_output_of_very_short_ones_is_complete(docker: Docker) -> None:
    for number in range(10):
        assert docker("run", "--rm", "busybox", "seq", str(number * 100)).splitlines()[-1:] == (
            [str(number * 100)] if number else []
        )


def test_input_reaches_the_process_and_ends(docker: Docker) -> None:
    assert docker("run", "--rm", "--interactive", "busybox", "wc", "-c", stdin="x" * 100_000) == "100000"


@pytest.mark.parametrize(("argv", "code"), [(("nosuch",), 127), (("/etc/passwd",), 126), (("/etc",), 126)])
def test_what_cannot_be_run_has_the_shells_exit_codes(docker: Docker, argv: tuple[str, ...], code: int) -> None:
    assert argv[0] in docker("run", "--rm", "busybox", *argv, code=code)
    assert docker("ps", "--all", "--quiet") == ""


def test_a_limit_that_cannot_be_set_leaves_nothing(docker: Docker) -> None:
    before = cgroups()
    assert "cpuset" in docker("run", "--cpuset-cpus", "4000", "--name", "limited", "busybox", "true", code=125)
    docker("rm", "limited")
    assert cgroups() == before


def cgroups() -> set[Path]:
    return set(Path("/sys/fs/cgroup").glob("*/atoll/*")) | set(Path("/sys/fs/cgroup").glob("atoll/*"))


def test_missing_image_is_told(docker: Docker) -> None:
    told = docker("run", "--rm", "localhost:1/absent", "true", code=125)
    assert "Unable to find image 'localhost:1/absent:latest' locally" in told


def test_published_port_serves_the_host(docker: Docker, named: Callable[[str], str]) -> None:
    web = named("web")
    docker("run", "--detach", "--name", web, "--publish", "8080:80", *WEB)
    docker("exec", web, "sh", "-c", "echo page >/www/index.html")
    assert docker.host.run("curl --silent --max-time 5 http://127.0.0.1:8080/").strip() == "page"
    assert docker("port", web).splitlines() == ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]
    (line,) = docker("ps", "--filter", f"name={web}", "--format", "{{.Ports}}").splitlines()
    assert line == "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
    taken = docker("run", "--rm", "--publish", "8080:80", *WEB, code=125)
    assert "8080" in taken
    assert (
        show(docker, web, "{{.State.Status}} {{.State.Running}} {{.HostConfig.NetworkMode}}") == "running true default"
    )
    docker("stop", "--time", "1", web)
    assert show(docker, web, "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"
    assert docker("port", web) == ""
    docker("start", web)
    assert docker.host.run("curl --silent --max-time 5 http://127.0.0.1:8080/").strip() == "page"


def test_two_find_each_other_by_name(docker: Docker, named: Callable[[str], str]) -> None:
    web, other = named("web"), named("other")
    docker("network", "create", "friends")
    try:
        docker("run", "--detach", "--name", web, "--network", "friends", "--network-alias", "site", *WEB)
        docker("run", "--detach", "--name", other, "--network", "friends", "busybox", "sleep", "1000")
        docker("exec", web, "sh", "-c", "echo page >/www/index.html")
        for name in (web, "site", f"{web}.friends"):
            assert docker("exec", other, "wget", "-q", "-O", "-", f"http://{name}/") == "page"
            assert "1 packets received" in docker("exec", other, "ping", "-c", "1", name)
        docker("rename", web, f"{web}x")
        assert "1 packets received" in docker("exec", other, "ping", "-c", "1", f"{web}x")
        docker("rename", f"{web}x", web)
        members = json.loads(docker("network", "inspect", "friends"))[0]["Containers"]
        assert {member["Name"] for member in members.values()} == {web, other}
        assert set(members) == {show(docker, name, "{{.Id}}") for name in (web, other)}
        for word in ("friends", docker("network", "inspect", "--format", "{{.Id}}", "friends")):
            listed = docker("ps", "--filter", f"network={word}", "--format", "{{.Names}}")
            assert set(listed.splitlines()) == {web, other}
        assert docker("ps", "--filter", "network=bridge", "--quiet") == ""
    finally:
        docker.run("rm", "--force", web, other)
        docker("network", "rm", "friends")


def test_networks_of_one_that_runs_change(docker: Docker, named: Callable[[str], str]) -> None:
    box = named("box")
    docker("network", "create", "extra")
    try:
        docker("run", "--detach", "--name", box, "busybox", "sleep", "1000")
        docker("network", "connect", "--alias", "nick", "extra", box)
        address = show(docker, box, "{{.NetworkSettings.Networks.extra.IPAddress}}")
        assert address in docker("exec", box, "cat", "/etc/hosts")
        assert "1 packets received" in docker("run", "--rm", "--network", "extra", "busybox", "ping", "-c1", "nick")
        docker("restart", "--time", "0", box)
        assert set(json.loads(show(docker, box, "{{json .NetworkSettings.Networks}}"))) == {"bridge", "extra"}
        docker("network", "disconnect", "extra", box)
        docker("network", "disconnect", "bridge", box)
        docker("restart", "--time", "0", box)
        assert "eth0" not in docker("exec", box, "ip", "link")
        docker("network", "connect", "bridge", box)
        assert set(json.loads(show(docker, box, "{{json .NetworkSettings.Networks}}"))) == {"bridge"}
    finally:
        docker.run("rm", "--force", box)
        docker("network", "rm", "extra")


def test_networks_of_one_that_does_not_run_change(docker: Docker, named: Callable[[str], str]) -> None:
    box = named("box")
    docker("create", "--name", box, "busybox", "ip", "-o", "-4", "address", "show", "eth0")
    docker("network", "disconnect", "bridge", box)
    docker("network", "connect", "--ip", "172.17.0.77", "bridge", box)
    assert "already exists in network bridge" in docker("network", "connect", "bridge", box, code=1)
    assert "172.17.0.77/16" in docker("start", "--attach", box)


def test_namespace_of_another_is_joined(docker: Docker, named: Callable[[str], str]) -> None:
    web = named("web")
    docker("run", "--detach", "--name", web, *WEB)
    docker("exec", web, "sh", "-c", "echo page >/www/index.html")
    joined = ("run", "--rm", "--network", f"container:{web}", "busybox")
    assert docker(*joined, "wget", "-q", "-O", "-", "http://127.0.0.1/") == "page"
    assert docker(*joined, "hostname") == show(docker, web, "{{.Config.Hostname}}")
    assert "atoll0" in docker("run", "--rm", "--network", "host", "busybox", "ip", "link")
    alone = docker("run", "--rm", "--network", "none", "busybox", "ip", "-o", "link")
    assert len(alone.splitlines()) == 1
    docker("stop", "--time", "0", web)
    assert "non running container" in docker(*joined, "true", code=125)


def test_namespaces_and_who_shares_them_are_shown(docker: Docker, named: Callable[[str], str]) -> None:
    first, second = named("first"), named("second")
    docker("run", "--detach", "--name", first, "--ipc", "shareable", "busybox", "sleep", "1000")
    joined = (f"--network=container:{first}", f"--ipc=container:{first}", "--uts=host")
    docker("run", "--detach", "--name", second, *joined, "busybox", "sleep", "1000")
    script = "for kind in ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done"
    for name, other in ((first, second), (second, first)):
        shown = json.loads(show(docker, name, "{{json .Namespaces}}"))
        inside = docker("exec", name, "sh", "-c", script).splitlines()
        assert inside == [f"{kind}:[{shown[kind]['Inode']}]" for kind in shown]
        shared = {kind: each["SharedWith"] for kind, each in shown.items()}
        uts = ["host"] if name == second else []
        assert shared == {"ipc": [other], "mnt": [], "net": [other], "pid": [], "user": ["host", other], "uts": uts}
    docker("stop", "--time", "0", first)
    assert show(docker, first, "{{json .Namespaces}}") == "{}"


def test_exec_runs_beside(docker: Docker, named: Callable[[str], str]) -> None:
    box = named("box")
    docker("run", "--detach", "--name", box, "--env", "A=1", "busybox", "sleep", "1000")
    assert docker("exec", "--env", "B=2", "--workdir", "/tmp", box, "sh", "-c", "echo $A$B; pwd") == "12\n/tmp"
    assert docker("exec", "--interactive", box, "cat", stdin="given") == "given"
    docker("exec", box, "sh", "-c", "exit 4", code=4)
    assert "nosuch" in docker("exec", box, "nosuch", code=127)
    docker("exec", "--detach", box, "touch", "/tmp/made")
    eventually(lambda: docker("exec", box, "ls", "/tmp") == "made")
    assert "sleep 1000" in docker("top", box)


def test_logs(docker: Docker, named: Callable[[str], str]) -> None:
    box = named("box")
    docker("run", "--name", box, "busybox", "sh", "-c", "for n in 1 2 3; do echo $n; done; echo err >&2")
    done = docker.run("logs", box)
    assert (done.stdout, done.stderr) == ("1\n2\n3\n", "err\n")
    assert docker.run("logs", "--tail", "2", box).stdout == "3\n"
    stamped = docker.run("logs", "--timestamps", box).stdout.split()
    assert stamped[1] == "1" and stamped[0].startswith("20") and stamped[0].endswith("Z")
    docker("start", box)
    assert docker.run("logs", "--follow", box).stdout == "1\n2\n3\n" * 2


def test_states(docker: Docker, named: Callable[[str], str]) -> None:
    box = named("box")
    docker("create", "--name", box, "busybox", "sleep", "1000")
    assert show(docker, box, "{{.State.Status}}") == "created"
    assert "is not running" in docker("exec", box, "true", code=1)
    docker("start", box)
    docker("pause", box)
    assert docker("ps", "--filter", "status=paused", "--format", "{{.Names}}") == box
    docker("unpause", box)
    assert "container is running" in docker("rm", box, code=1)
    waiting = docker.start("wait", box, stdout=subprocess.PIPE)
    eventually(lambda: waiting.poll() is None)
    docker("kill", box)
    assert waiting.communicate(timeout=20)[0] == b"137\n"
    docker("rm", box)
    docker("rm", "--force", box)
    assert "No such container" in docker("start", box, code=1)


def test_terminal(docker: Docker) -> None:
    primary, secondary = pty.openpty()
    command = ("run", "--rm", "--interactive", "--tty", "--name", "client", "busybox", "sh")
    shell = docker.start(*command, stdin=secondary, stdout=secondary, stderr=secondary)
    os.close(secondary)
    try:
        read_until(primary, "# ")
        os.write(primary, b"tty; stty size; exit 5\n")
        assert "/dev/pts/0" in read_until(primary, "exit 5") + read_rest(primary)
        assert shell.wait(TERMINAL_S) == 5
    finally:
        shell.kill()
        os.close(primary)


def test_terminal_outlives_the_daemon(docker: Docker, named: Callable[[str], str]) -> None:
    box = named("box")
    primary, secondary = pty.openpty()
    command = ("run", "--interactive", "--tty", "--name", box, "busybox", "sh")
    shell = docker.start(*command, stdin=secondary, stdout=secondary, stderr=secondary)
    try:
        read_until(primary, "# ")
        os.write(primary, b"kept=yes\n")
        read_until(primary, "# ")
        docker.host.kill9()
        shell.wait(TERMINAL_S)
        docker.host.start()
        again = docker.start("attach", box, stdin=secondary, stdout=secondary, stderr=secondary)
        os.write(primary, b"echo $kept$kept\n")
        read_until(primary, "yesyes")
        os.write(primary, bytes((16, 17)))
        again.wait(TERMINAL_S)
        assert show(docker, box, "{{.State.Status}}") == "running"
    finally:
        shell.kill()
        os.close(secondary)
        os.close(primary)


def read_until(terminal: int, text: str) -> str:
    found, deadline = "", time.monotonic() + TERMINAL_S
    while text not in found:
        assert time.monotonic() < deadline, found
        if select.select([terminal], [], [], 0.1)[0]:
            found += os.read(terminal, 4096).decode()
    return found


def read_rest(terminal: int) -> str:
    """What comes until the other end is closed."""
    found = ""
    while select.select([terminal], [], [], TERMINAL_S)[0]:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        found += part.decode()
    return found


def test_files_are_copied(docker: Docker, named: Callable[[str], str]) -> None:
    box, place = named("box"), docker.host.directory
    docker("run", "--detach", "--name", box, "busybox", "sleep", "1000")
    (place / "sent").write_text("content")
    docker("cp", str(place / "sent"), f"{box}:/tmp/come")
    assert docker("exec", box, "cat", "/tmp/come") == "content"
    docker("cp", f"{box}:/tmp/come", str(place / "back"))
    assert (place / "back").read_text() == "content"
    assert "Could not find the file" in docker("cp", f"{box}:/absent", str(place), code=1)


def test_volumes_keep(docker: Docker) -> None:
    docker("run", "--rm", "--volume", "kept:/data", "busybox", "touch", "/data/there")
    assert docker("run", "--rm", "--volume", "kept:/data:ro", "busybox", "ls", "/data") == "there"
    assert "kept" in docker("volume", "ls", "--quiet").splitlines()
    docker("volume", "rm", "kept")
    docker("run", "--rm", "--volume", "/data", "busybox", "true")
    assert docker("volume", "ls", "--quiet") == ""


def test_images_have_names(docker: Docker) -> None:
    docker("tag", "busybox", "mine:1")
    assert docker("image", "inspect", "--format", "{{json .RepoTags}}", "mine:1") == '["busybox:latest","mine:1"]'
    assert docker("images", "--format", "{{.Repository}}:{{.Tag}}", "mine") == "mine:1"
    assert docker("rmi", "mine:1") == "Untagged: mine:1"
    assert "reclaimed space: 0B" in docker("image", "prune", "--force")
    assert "busybox" in docker("images")
    assert "No such" in docker("inspect", "mine:1", code=1)


def test_containers_outlive_the_daemon(docker: Docker, named: Callable[[str], str]) -> None:
    web, ends = named("web"), named("ends")
    docker("run", "--detach", "--name", web, "--publish", "8081:80", *WEB)
    docker("exec", web, "sh", "-c", "echo page >/www/index.html; echo line >/proc/1/fd/1")
    docker("run", "--detach", "--name", ends, "busybox", "sh", "-c", "sleep 1; exit 7")
    docker.host.kill9()
    assert docker.host.run("curl --silent --max-time 5 http://127.0.0.1:8081/").strip() == "page"
    time.sleep(1.2)
    docker.host.start()
    assert docker.host.run("curl --silent --max-time 5 http://127.0.0.1:8081/").strip() == "page"
    assert show(docker, web, "{{.State.Status}}") == "running"
    assert show(docker, ends, "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"
    assert docker("logs", web) == "line"
    assert docker("exec", web, "echo", "alive") == "alive"
    assert "1 packets received" in docker("run", "--rm", "busybox", "ping", "-c", "1", web)
    docker("stop", "--time", "0", web)
    docker("rm", web)


def test_clients_do_not_hold_up_the_daemons_end(docker: Docker, named: Callable[[str], str]) -> None:
    box = named("box")
    docker("run", "--detach", "--name", box, "busybox", "sh", "-c", "while sleep 0.1; do echo tick; done")
    verbs = (("logs", "--follow"), ("attach",), ("wait",))
    clients = [docker.start(*verb, box, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for verb in verbs]
    for client in clients[:2]:
        assert client.stdout is not None and client.stdout.readline() == b"tick\n"
    begun = time.monotonic()
    assert docker.host.stop() == 0
    assert time.monotonic() - begun < 1.5
    for client in clients:
        client.communicate(timeout=TERMINAL_S)
    docker.host.start()
    assert show(docker, box, "{{.State.Status}}") == "running"


def test_sandbox_of_a_container_is_its_own(docker: Docker, named: Callable[[str], str]) -> None:
    box = named("box")
    docker("run", "--detach", "--name", box, "busybox", "sleep", "1000")
    (listed,) = [each for each in docker.host.must("GET", "/atoll/sandboxes") if each["Name"] == box]
    assert listed["Id"] == show(docker, box, "{{.Id}}")
    assert docker.host.ask("DELETE", f"/atoll/sandboxes/{box}").status == 403
    assert docker.host.ask("POST", "/atoll/sandboxes/create", {"Name": box}).status == 409
    docker.host.must("POST", "/atoll/sandboxes/create", {"Name": "plain"})
    assert "already in use" in docker("run", "--rm", "--name", "plain", "busybox", "true", code=125)
    docker.host.must("DELETE", "/atoll/sandboxes/plain")


def test_events(docker: Docker, named: Callable[[str], str]) -> None:
    box, begun = named("box"), str(time.time())
    docker("run", "--rm", "--name", box, "--label", "a=b", "busybox", "false", code=1)
    span = ("events", "--since", begun, "--until", str(time.time()))
    lines = docker(*span, "--format", "{{json .}}").splitlines()
    told = [json.loads(line) for line in lines]
    mine = [event["Action"] for event in told if event["Type"] == "container"]
    assert mine == ["create", "start", "die", "destroy"]
    assert {event["Type"] for event in told} == {"container", "network"}
    filtered = docker(*span, "--filter", "event=die", "--filter", "label=a=b")
    assert "exitCode=1" in filtered and len(filtered.splitlines()) == 1
