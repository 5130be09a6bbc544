"""Containers by atoll's own command."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support.contained import contained_host

Atoll = Callable[..., str]


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    with contained_host("clirun") as docker:
        yield str(docker.host.socket)


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
    ports = "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 127.0.0.1:9000-9003->9000-9003/udp"
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


def test_terminal(socket: str) -> None:
    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "atoll", "--socket", socket, "run", "--rm", "-i", "-t", "busybox", "tty"]
    shell = subprocess.Popen(command, stdin=secondary, stdout=secondary, stderr=secondary)
    assert shell.wait(30) == 0
    assert b"/dev/pts/0\r\n" in os.read(primary, 4096)
    os.close(secondary)
    os.close(primary)


def test_images(atoll: Atoll) -> None:
    assert atoll("images", "--format", "{{.Repository}}:{{.Tag}}") == "busybox:latest"
    assert "Deleted: sha256:" in atoll("image", "rm", "busybox")
    assert "No such image" in atoll("image", "rm", "busybox", code=1)
    assert atoll("image", "bootstrap") == "busybox:latest"
