"""Containers by atoll's own command: as by Docker's, line for line where both print the same."""

import io
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atoll.lab.terminal import Terminal
from tests.netns.namespaces import eventually, inside
from tests.support.contained import Docker, contained_host
from tests.support.images import command as run_program
from tests.support.images import make_layout, registry
from tests.support.snapshot import host_text

Atoll = Callable[..., str]


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with contained_host("clirun") as docker:
        yield docker


@pytest.fixture(scope="module")
def socket(docker: Docker) -> str:
    return str(docker.host.socket)


@pytest.fixture(scope="module")
def atoll(socket: str) -> Atoll:
    def run(*arguments: str, code: int = 0, stdin: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "atoll", "--socket", socket, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == code, done
        return (done.stdout + done.stderr).strip()

    return run


def test_run_has_the_processs_streams_and_exit_code(atoll: Atoll) -> None:
    assert atoll("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3", code=3) == "out\nerr"
    assert atoll("run", "--rm", "-i", "busybox", "wc", "-c", stdin="x" * 100_000) == "100000"
    assert "executable file not found" in atoll("run", "--rm", "busybox", "nosuch", code=127)
    assert "cannot reach the registry" in atoll("run", "--rm", "localhost:1/absent", "true", code=125)
    assert atoll("ps", "--all", "--quiet") == ""


def test_life_of_a_container(atoll: Atoll) -> None:
    web = ("--name", "web", "-p", "8080:80", "-p", "127.0.0.1:9000-9003:9000-9003/udp")
    made = atoll("run", "-d", *web, "busybox", "sh", "-c", "echo up; httpd -f -h /www")
    ports = "127.0.0.1:9000-9003->9000-9003/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
    assert atoll("ps", "--format", "{{.ID}} {{.Names}} {{.State}} {{.Ports}}") == f"{made[:12]} web running {ports}"
    assert atoll("exec", "-i", "web", "cat", stdin="given") == "given"
    atoll("exec", "web", "sh", "-c", "exit 4", code=4)
    assert atoll("logs", "web") == "up"
    assert atoll("stop", "--time", "0", "web") == "web"
    assert atoll("ps", "--quiet") == ""
    assert "is not running" in atoll("exec", "web", "true", code=1)
    assert atoll("start", "web") == "web"
    assert "container is running" in atoll("rm", "web", code=1)
    assert atoll("rm", "--force", "web") == "web"


@pytest.fixture
def web(atoll: Atoll) -> Iterator[str]:
    atoll("volume", "create", "--label", "colour=red", "kept")
    wanted = ("--name", "web", "-p", "8082:80", "-p", "127.0.0.1:9000-9003:9000-9003/udp", "--label", "tier=front")
    atoll("run", "-d", *wanted, "-v", "kept:/data", "busybox", "sh", "-c", "echo up; httpd -f -h /www")
    yield "web"
    atoll("rm", "--force", "web")
    atoll("volume", "rm", "kept")


SAME = """\
ps
ps --all --size
ps --quiet --no-trunc
ps --filter label=tier=front --filter network=bridge --format table {{.Names}}\\t{{.Ports}}\\t{{.Label "tier"}}
ps --format {{.ID}} {{.Image}} {{.Command}} {{.State}} {{.Status}} {{.Size}} {{.Labels}} {{.Mounts}} {{.LocalVolumes}}
ps --format {{.Names}} {{.Networks}} {{.RunningFor}} {{upper .State}} {{json .Names}}
ps --last 1
ps --filter status=exited
images
images --no-trunc --digests
images --format {{.Repository}}|{{.Tag}}|{{.ID}}|{{.CreatedSince}}|{{.CreatedAt}}|{{.Size}}|{{.Digest}}
images busy*
images absent
volume ls
volume ls --filter dangling=false --format table {{.Name}}\\t{{.Driver}}\\t{{.Labels}}\\t{{.Scope}}
volume inspect kept
volume inspect --format {{.Name}} {{index .Labels "colour"}} kept
top web
top web -o pid,args
port web 80
port web 9001/udp
logs web
logs --tail 0 web
inspect --format {{.Name}} {{.State.Status}} {{.HostConfig.NetworkMode}} {{range .Mounts}}{{.Destination}}{{end}} web
inspect --format {{json .Config.Labels}} web
inspect --type image --format {{.Os}} busybox
inspect web busybox bridge kept
network inspect bridge --format {{range .Containers}}{{.Name}}{{end}}
container ls --format {{.Names}}
container inspect --format {{.State.Running}} web
image ls --quiet
stats --no-stream --format {{.Name}} {{.PIDs}} {{.Container}}
exec web sh -c exit 7
exec web nosuch
exec -e A=1 -w /tmp web sh -c pwd; echo $A
"""


@pytest.mark.parametrize("line", SAME.splitlines())
def test_prints_what_dockers_command_prints(docker: Docker, socket: str, web: str, line: str) -> None:
    """The same request may be answered a second later, when another age is shown: then both are asked again."""
    words = [word.replace("\\t", "\t") for word in line.split(" ")]
    argv = merged(words)

    def agree() -> bool:
        theirs = docker.run(*argv)
        ours = command(socket, *argv)
        last[:] = [theirs.stdout, ours.stdout, theirs.stderr, ours.stderr]
        # Read as text, where "\r\n" is a line's end.
        printed = ours.stdout.replace("\r\n", "\n")
        return (ours.returncode, printed) == (theirs.returncode, theirs.stdout)

    last: list[str] = []
    try:
        eventually(agree)
    except AssertionError:
        raise AssertionError("\n".join(last)) from None


def merged(words: list[str]) -> list[str]:
    """Words of a line: a template, and what `sh -c` is given, are one word each."""
    for opener in ("--format", "-c"):
        if opener in words:
            at = words.index(opener) + 1
            names = [word for word in words[at:] if word in ("web", "busybox", "kept")][-1:] if opener != "-c" else []
            names = names if words[-1:] == names else []
            middle = words[at : len(words) - len(names)]
            return [*words[:at], " ".join(middle), *names]
    return words


def command(socket: str, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "atoll", "--socket", socket, *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


REFUSED = """\
rm nosuch
rm --force nosuch
start nosuch
stop nosuch
kill nosuch
logs nosuch
inspect nosuch
port web 99
cp web:/nosuch /tmp
exec nosuch true
wait nosuch
rename nosuch other
top nosuch
rmi nosuch
tag nosuch other
volume inspect nosuch
volume rm nosuch
volume rm kept
run --rm --network nosuch busybox true
run --rm -p 8082:80 busybox true
run --rm busybox nosuch
run --rm busybox /etc/passwd
run --nosuch busybox
run --rm --memory 1k busybox true
run --rm --pull never absent true
run --rm --name web busybox true
create --name web busybox true
pull localhost:1/absent
"""


@pytest.mark.parametrize("line", REFUSED.splitlines())
def test_refuses_with_dockers_exit_status(docker: Docker, socket: str, web: str, line: str) -> None:
    theirs, ours = docker.run(*line.split()), command(socket, *line.split())
    assert ours.returncode == theirs.returncode, (ours.stderr, theirs.stderr)
    assert bool(ours.stderr) == bool(theirs.stderr)
    assert "Traceback" not in ours.stderr


def test_every_flag_of_run_reaches_the_container(docker: Docker, atoll: Atoll, tmp_path: Path) -> None:
    """As Docker's command asks for it: the two requests end in containers that are inspected to the same."""
    (tmp_path / "env").write_text("# comment\nC=3\n")
    (tmp_path / "labels").write_text("fromfile=yes\n")
    flags = [
        *("--hostname", "box", "--domainname", "example.org", "--user", "1:1", "--workdir", "/tmp", "-e", "A=1"),
        *("-e", "PATH", "--env-file", f"{tmp_path}/env", "--label", "a=b", "--label-file", f"{tmp_path}/labels"),
        *("-m", "64m", "--memory-reservation", "32m", "--cpus", "0.5", "--cpu-shares", "512", "--pids-limit", "50"),
        *("--shm-size", "32m", "--oom-score-adj", "100", "--ulimit", "nofile=100:200", "--ulimit", "core=0"),
        *("--cap-add", "NET_ADMIN", "--cap-drop", "MKNOD", "--security-opt", "no-new-privileges", "--read-only"),
        *("--tmpfs", "/scratch:size=1m", "--mount", f"type=bind,source={tmp_path},target=/here,readonly"),
        *("--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770", "-v", f"{tmp_path}:/there:ro"),
        *("--device", "/dev/null:/dev/nil:rw", "--sysctl", "net.ipv4.ip_default_ttl=60", "--group-add", "5"),
        *("--dns", "192.0.2.53", "--dns-search", "example.org", "--dns-option", "ndots:2", "--init"),
        *("--add-host", "there:192.0.2.1", "--restart", "on-failure:3", "--stop-signal", "USR1", "--stop-timeout", "3"),
        *("--health-cmd", "true", "--health-interval", "1m30s", "--health-retries", "2", "--expose", "7000-7001"),
        *("-p", "7002:7002/udp", "--log-opt", "max-size=1m", "--annotation", "k=v", "--network-alias", "nick"),
        *("--ip", "10.77.0.7", "--mac-address", "02:00:00:00:00:77", "--network", "flagged", "--entrypoint", "sh"),
        *("--ipc", "private", "--pid", "host", "--cgroupns", "private", "-i", "-t", "--privileged=false"),
    ]
    docker("network", "create", "--subnet", "10.77.0.0/24", "flagged")
    try:
        seen = []
        for make in (docker, atoll):
            make("create", "--name", "flags", *flags, "busybox", "-c", "exit 3")
            seen.append(docker.host.must("GET", "/containers/flags/json"))
            # docker's command sends variables of several sources in any order.
            seen[-1]["Config"]["Env"].sort()
            docker("rm", "flags")
        theirs, ours = ({key: each[key] for key in ("Path", "Args", "HostConfig", "Mounts", "Config")} for each in seen)
        for part in theirs:
            if isinstance(theirs[part], dict):
                differing = {key: (theirs[part][key], ours[part].get(key)) for key in theirs[part]}
                assert {key: pair for key, pair in differing.items() if pair[0] != pair[1]} == {}
            else:
                assert ours[part] == theirs[part]
        assert seen[0]["NetworkSettings"]["Networks"] == seen[1]["NetworkSettings"]["Networks"]
    finally:
        docker("network", "rm", "flagged")


def test_join_shares_three_namespaces(atoll: Atoll, web: str) -> None:
    def namespaces(*where: str) -> list[str]:
        return atoll(*where, "sh", "-c", "for n in net ipc uts mnt pid; do readlink /proc/self/ns/$n; done").split()

    owner, joined = namespaces("exec", web), namespaces("run", "--rm", "--join", web, "busybox")
    assert joined[:3] == owner[:3]
    assert not set(joined[3:]) & set(owner[3:])
    atoll("exec", web, "sh", "-c", "echo page >/www/index.html")
    assert atoll("run", "--rm", "--join", web, "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1/") == "page"
    assert "conflicts with --network" in atoll("run", "--rm", "--join", web, "--network", "none", "busybox", code=125)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(docker: Docker, atoll: Atoll, web: str) -> None:
    def seen() -> str:
        return host_text(str(docker.host.netns), docker.host.netns_directory) + docker("ps", "-aq")

    before = seen()
    said = atoll("run", "--dry-run", "--name", "dry", "-p", "8090:80", "-v", "fresh:/data", "busybox", "httpd", "-f")
    for part in ("ip netns add", "mount -t overlay", "nft add element inet atoll any4", "volumes/fresh", "runc", "# "):
        assert part in said
    assert "8082" in atoll("run", "--dry-run", "-p", "8082:80", "busybox", "true", code=125)
    assert "kill -TERM" in atoll("stop", "--dry-run", web)
    assert "ip netns del" in atoll("rm", "--force", "--dry-run", web)
    assert "stop the container before removing" in atoll("rm", "--dry-run", web, code=1)
    for verb in (["restart"], ["kill"], ["pause"], ["update", "--memory", "64m"], ["start"]):
        atoll(*verb, "--dry-run", web)
    assert "is called site" in atoll("rename", "--dry-run", web, "site")
    assert "already in use" in atoll("create", "--dry-run", "--name", web, "busybox", code=1)
    assert "No such image" in atoll("create", "--dry-run", "absent", code=1)
    assert "volumes/other" in atoll("volume", "create", "--dry-run", "other")
    atoll("volume", "rm", "--dry-run", "kept")
    assert atoll("container", "prune", "--force", "--dry-run") == ""
    refused = docker.host.ask("POST", "/images/busybox/tag?repo=mine&dry-run=1")
    assert (refused.status, docker("images", "-q", "mine")) == (501, "")
    assert seen() == before


def test_verbs_of_a_life(atoll: Atoll, docker: Docker, tmp_path: Path) -> None:
    made = atoll(
        "create",
        "--name",
        "one",
        "--cidfile",
        str(tmp_path / "id"),
        "busybox",
        "sh",
        "-c",
        "trap 'exit 8' TERM; while sleep 0.1; do :; done",
    )
    assert (tmp_path / "id").read_text() == made
    assert "ID file found" in atoll("create", "--cidfile", str(tmp_path / "id"), "busybox", code=1)
    assert atoll("start", "one") == atoll("pause", "one") == atoll("unpause", "one") == "one"
    assert atoll("update", "--memory", "80m", "one") == "one"
    assert atoll("inspect", "-f", "{{.HostConfig.Memory}}", "one") == str(80 << 20)
    assert atoll("rename", "one", "two") == ""
    assert atoll("restart", "--time", "0", "two") == "two"
    waiting = subprocess.Popen(
        [sys.executable, "-m", "atoll", "--socket", str(docker.host.socket), "wait", "two"], stdout=subprocess.PIPE
    )
    caught = ("exec", "two", "sed", "-n", "s/SigCgt:\t//p", "/proc/1/status")
    eventually(lambda: int(docker(*caught), 16) >> (signal.SIGTERM - 1) & 1)
    assert atoll("kill", "--signal", "TERM", "two") == "two"
    assert waiting.communicate(timeout=20)[0] == b"8\n"
    assert "Deleted Containers" in atoll("container", "prune", "--force")
    assert "No such container" in atoll("start", "--attach", "two", code=1)


def test_signals_reach_the_process(docker: Docker, socket: str) -> None:
    program = "trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    words = [sys.executable, "-m", "atoll", "--socket", socket, "run", "--rm", "busybox", "sh", "-c", program]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        try:
            assert client.stdout.readline() == "ready\n"
            client.terminate()
            assert (client.communicate(timeout=20)[0], client.returncode) == ("told\n", 9)
        finally:
            client.kill()


def test_files_are_copied_both_ways(atoll: Atoll, docker: Docker, socket: str, web: str, tmp_path: Path) -> None:
    """What lies where afterwards is what `docker cp` makes of the same words."""
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "file").write_text("content")
    (tree / "link").symlink_to("inner/file")
    (tree / "run").write_text("#!/bin/sh")
    (tree / "run").chmod(0o755)
    atoll("exec", web, "mkdir", "/a", "/b")
    for copy, place in ((docker, "/a"), (atoll, "/b")):
        for source, target in (
            (tree, f"{place}/new"), (tree, place), (f"{tree}/.", f"{place}/flat"), (tree / "run", f"{place}/run"),
            (tree / "run", f"{place}/tree/"),
        ):  # fmt: skip
            copy("cp", str(source), f"{web}:{target}")
        (tmp_path / f"out{place}").parent.mkdir(exist_ok=True)
        (tmp_path / f"out{place}").mkdir()
        for source, target in ((place, "new"), (f"{place}/.", "flat"), (f"{place}/run", "ran"), (place, ".")):
            (tmp_path / f"out{place}" / "flat").mkdir(exist_ok=True)
            copy("cp", f"{web}:{source}", str(tmp_path / f"out{place}" / target))
    listing = (
        "cd $0; find . | sort | while read f; do stat -c '%n %a %F %u' $f; readlink $f || cat $f 2>/dev/null; done"
    )
    assert atoll("exec", web, "sh", "-c", listing, "/a") == atoll("exec", web, "sh", "-c", listing, "/b")
    assert outside(tmp_path / "out/a") == outside(tmp_path / "out/b")
    archive = command(socket, "cp", f"{web}:/a/run", "-").stdout.encode()
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        assert opened.getnames() == ["run"]
    assert command(socket, "cp", "-", f"{web}:/tmp", stdin=archive).returncode == 0
    assert atoll("exec", web, "cat", "/tmp/run") == "#!/bin/sh"


def outside(directory: Path) -> dict[str, str]:
    """What lies below a directory. The directory that was copied whole has another name in each."""
    found = {}
    for path in directory.rglob("*"):
        name = re.sub(r"^(a|b)(?=/|$)", "whole", str(path.relative_to(directory)))
        kind = str(path.readlink()) if path.is_symlink() else "dir" if path.is_dir() else path.read_text()
        found[name] = f"{kind} {path.lstat().st_mode:o}"
    return found


def test_images(atoll: Atoll) -> None:
    assert atoll("images", "--format", "{{.Repository}}:{{.Tag}}") == "busybox:latest"
    assert "Deleted: sha256:" in atoll("image", "rm", "busybox")
    assert "No such image" in atoll("image", "rm", "busybox", code=1)
    assert atoll("image", "bootstrap") == "busybox:latest"


def test_images_come_and_go(atoll: Atoll, docker: Docker, tmp_path: Path) -> None:
    layout = make_layout(tmp_path, "small")
    run_program(
        "skopeo", "--insecure-policy", "copy", f"oci:{layout}:small", f"docker-archive:{tmp_path}/s.tar:small:1"
    )
    assert atoll("load", "--input", str(tmp_path / "s.tar")) == "Loaded image: small:1"
    assert atoll("run", "--rm", "small:1", "/bin/busybox", "cat", "/etc/tag") == "small"
    assert atoll("tag", "small:1", "localhost:5000/other:2") == ""
    assert atoll("images", "--format", "{{.Repository}}:{{.Tag}}", "localhost:5000/other") == "localhost:5000/other:2"
    assert atoll("rmi", "localhost:5000/other:2") == "Untagged: localhost:5000/other:2"
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
    assert atoll("import", "--message", "by hand", str(tmp_path / "root.tar"), "mine:1").startswith("sha256:")
    assert atoll("run", "--rm", "mine:1", "/bin/busybox", "echo", "hi") == "hi"
    assert atoll("image", "inspect", "-f", "{{.Comment}}", "mine:1") == docker(
        "image", "inspect", "-f", "{{.Comment}}", "mine:1"
    )
    assert "cannot open" in atoll("load", "-i", str(tmp_path / "absent"), code=1)
    assert "Deleted Images" in atoll("image", "prune", "--all", "--force")


def test_pulls_show_how_far_they_are(docker: Docker, atoll: Atoll, socket: str, tmp_path: Path) -> None:
    layout = make_layout(tmp_path, "far")

    def pulled() -> None:
        with registry(tmp_path) as address:
            run_program(
                *("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false"),
                *(f"oci:{layout}:far", f"docker://{address}/far:1"),
            )
            said = atoll("pull", f"{address}/far:1")
            assert "Pull complete" in said and f"Status: Downloaded newer image for {address}/far:1" in said
            assert atoll("pull", "--quiet", f"{address}/far:1") == f"{address}/far:1"
            with Terminal([sys.executable, "-m", "atoll", "--socket", socket, "pull", f"{address}/far:1"]) as terminal:
                assert "━" in terminal.read_rest()
            assert (
                atoll("run", "--rm", "--pull", "always", "-q", f"{address}/far:1", "/bin/busybox", "echo", "hi") == "hi"
            )

    inside(docker.host.name, pulled)
    assert "No such image" in atoll("run", "--pull", "never", "absent", code=125)
