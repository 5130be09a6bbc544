"""What strangers ask for or send stays where it belongs: paths, memory, secrets, rights."""

import grp
import http.client
import json
import socket
import stat
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.processes import resident_bytes
from tests.support.contained import Docker, contained_host
from tests.support.daemon import UnixConnection

GROWTH_MAX_BYTES = 16 << 20
POURED_BYTES = 96 << 20
PATIENCE_S = 3
SECRET = "hunter2-and-more"
PROGRAM = "from pathlib import Path; import sys; from atoll.daemon.listener import listen; listen(Path(sys.argv[1]))"


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with contained_host("guarded") as made:
        yield made


def resident(docker: Docker) -> int:
    assert docker.host.process is not None
    return resident_bytes(docker.host.process.pid)


def connected(docker: Docker, request: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(PATIENCE_S)
    client.connect(str(docker.host.socket))
    client.sendall(request.replace("\n", "\r\n").encode())
    return client


def test_socket_is_of_the_group_where_there_is_one(tmp_path: Path) -> None:
    groups, path = tmp_path / "group", tmp_path / "atoll.sock"
    free = max(each.gr_gid for each in grp.getgrall() if each.gr_gid < 60_000) + 1
    groups.write_text(f"{Path('/etc/group').read_text()}atoll:x:{free}:\n")
    script = 'mount --bind "$1" /etc/group && exec "$2" -c "$3" "$4"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    subprocess.run([*words, groups, sys.executable, PROGRAM, path], check=True)
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o660, 0, free)


def test_targets_of_mounts_do_not_follow_an_images_links_out(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "file").write_text("given")
    (tmp_path / "outside").mkdir()
    up = "../" * 20
    script = (
        f"ln -s {tmp_path}/outside /door; ln -s {up}{tmp_path}/outside /up; ln -s /proc/1/root{tmp_path}/outside /magic"
    )
    docker("run", "--name", "linked", "busybox", "sh", "-c", script)
    archive = docker.host.directory / "linked.tar"
    # The links as an image's own, by the files that the container has.
    container = docker("inspect", "--format", "{{.Id}}", "linked")
    upper = docker.host.state / "containers" / container / "upper"
    subprocess.run(["tar", "--create", "--file", archive, "--directory", upper, "."], check=True)
    subprocess.run(["tar", "--append", "--file", archive, "--directory", "/", "bin/busybox"], check=True)
    docker("import", str(archive), "linked:1")
    for door in ("door", "up", "magic"):
        for how in (
            ("--volume", f"{tmp_path}/given:/{door}/new"),
            ("--volume", f"kept:/{door}/new"),
            ("--tmpfs", f"/{door}/new"),
        ):
            docker.run("run", "--rm", *how, "linked:1", "/bin/busybox", "true")
            assert list((tmp_path / "outside").iterdir()) == []
    docker("rm", "linked")
    docker.run("volume", "rm", "kept")


@pytest.mark.parametrize("name", ["..", "../../etc", "/", "a/b", ".", "%2e%2e", "..%2f..%2fetc"])
def test_no_volume_is_elsewhere(docker: Docker, name: str) -> None:
    assert docker.host.ask("POST", "/volumes/create", {"Name": name}).status == 400
    assert docker.host.ask("DELETE", f"/volumes/{name}").status in (400, 404, 501)
    mount = {"Type": "volume", "Source": name, "Target": "/x"}
    for host in ({"Mounts": [mount]}, {"Binds": [f"{name}:/x"]} if not name.startswith("/") else {"Mounts": [mount]}):
        assert docker.host.ask("POST", "/containers/create", {"Image": "busybox", "HostConfig": host}).status == 400
    assert not list((docker.host.state / "volumes").glob("*")) if (docker.host.state / "volumes").exists() else True


def test_a_body_without_a_length_is_bounded_too(docker: Docker) -> None:
    before = resident(docker)
    head = "POST /containers/create HTTP/1.1\nHost: x\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n"
    with connected(docker, head) as client:
        part = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            for _ in range(POURED_BYTES // 0x10000):
                client.sendall(part)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass
        assert b" 413 " in client.recv(100)
    assert resident(docker) - before < GROWTH_MAX_BYTES


def test_streams_that_nobody_reads_are_bounded(docker: Docker) -> None:
    """Input that the program doesn't read, output that the client doesn't."""
    docker("run", "--detach", "--name", "deaf", "--interactive", "busybox", "sleep", "1000")
    docker("run", "--detach", "--name", "loud", "busybox", "yes", "x" * 1000)
    time.sleep(0.3)
    before = resident(docker)
    upgrade = "HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: tcp\n\n"
    with (
        connected(docker, f"POST /containers/deaf/attach?stream=1&stdin=1 {upgrade}") as giving,
        connected(docker, f"POST /containers/loud/attach?stream=1&stdout=1 {upgrade}"),
        connected(docker, "GET /containers/loud/logs?follow=1&stdout=1 HTTP/1.1\nHost: x\n\n"),
    ):
        given = 0
        giving.settimeout(0.5)
        try:
            while given < POURED_BYTES:
                given += giving.send(b"x" * 65536)
        except TimeoutError:
            pass
        time.sleep(1)
        assert given < GROWTH_MAX_BYTES
        assert resident(docker) - before < GROWTH_MAX_BYTES
    docker("rm", "--force", "deaf", "loud")
    assert docker.host.must("GET", "/containers/json?all=1") == []


def test_secrets_are_told_to_nobody(docker: Docker) -> None:
    auth = urlsafe_b64encode(json.dumps({"username": "me", "password": SECRET}).encode()).decode()
    pulled = docker.host.ask("POST", "/images/create?fromImage=127.0.0.1:9/x&tag=1", headers={"X-Registry-Auth": auth})
    assert pulled.status >= 400 or "error" in str(pulled.body)
    assert SECRET not in str(pulled)
    body = {"Image": "busybox", "Cmd": ["/nosuch"], "Env": [f"PASSWORD={SECRET}"], "Labels": {"key": SECRET}}
    made = docker.host.must("POST", "/containers/create", body)["Id"]
    started = docker.host.ask("POST", f"/containers/{made}/start")
    assert started.status == 400 and SECRET not in str(started.body)
    docker.host.must("DELETE", f"/containers/{made}")
    assert docker.host.ask("POST", "/containers/create", {**body, "Env": [f"A={SECRET}", 5]}).status == 400
    # In what is told to those who watch, too: whoever may read events may not read environments.
    events = docker.host.ask("GET", f"/events?since=0&until={int(time.time())}")
    assert f"PASSWORD={SECRET}" not in str(events.body)
    encoded = urlsafe_b64encode(f"me:{SECRET}".encode()).decode()
    for told in (SECRET, auth, encoded):
        assert told not in docker.host.log
    for left in docker.host.directory.rglob("auth.json"):
        pytest.fail(f"{left} is left")


def test_nothing_is_read_by_a_shell(docker: Docker, tmp_path: Path) -> None:
    trap = tmp_path / "trapped"
    words = [f"$(touch {trap})", f"`touch {trap}`", f"; touch {trap}", f"| touch {trap}", f"\ntouch {trap}\n"]
    docker("run", "--detach", "--name", "shy", "busybox", "sleep", "1000")
    for word in words:
        body = {
            "Image": "busybox",
            "Cmd": ["true", word],
            "Env": [f"A={word}"],
            "Labels": {word: word},
            "User": word,
            "WorkingDir": word,
        }
        made = docker.host.ask("POST", "/containers/create", body)
        if made.status == 201:
            docker.host.ask("POST", f"/containers/{made.body['Id']}/start")
            docker.host.must("DELETE", f"/containers/{made.body['Id']}?force=1")
        for verb in (
            ("top", "shy", word),
            ("exec", "shy", "echo", word),
            ("exec", "--user", word, "shy", "true"),
            ("pull", word),
        ):
            docker.run(*verb)
        assert not trap.exists()
    docker("rm", "--force", "shy")


def test_further_processes_get_no_more_than_the_first(docker: Docker) -> None:
    docker("run", "--detach", "--name", "plain", "busybox", "sleep", "1000")
    read = ("grep", "-E", "Cap|Seccomp:|NoNewPrivs", "/proc/self/status")
    first = docker("exec", "plain", *(word if word != "/proc/self/status" else "/proc/1/status" for word in read))
    assert docker("exec", "plain", *read) == first
    assert "CapEff:\t00000000a80425fb" in first and "Seccomp:\t2" in first
    assert docker("exec", "plain", "readlink", "/proc/self/ns/mnt") != str(Path("/proc/self/ns/mnt").readlink())
    docker("rm", "--force", "plain")


def test_an_archive_that_breaks_off_is_seen_to(docker: Docker) -> None:
    """A file gets shorter while it is read: what was sent can't be completed, and a second answer is none."""
    docker("run", "--detach", "--name", "shrinking", "busybox", "sleep", "1000")
    docker("exec", "shrinking", "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=64")
    before = docker.host.log
    connection = UnixConnection(docker.host.socket)
    connection.request("GET", "/containers/shrinking/archive?path=/big")
    answer = connection.getresponse()
    assert answer.status == 200 and len(answer.read(1 << 16)) == 1 << 16
    docker("exec", "shrinking", "truncate", "-s", "0", "/big")
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()
    said = docker.host.log.removeprefix(before)
    assert "broke off" in said and "Traceback" not in said
    docker("rm", "--force", "shrinking")
