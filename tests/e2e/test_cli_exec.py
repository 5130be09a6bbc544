"""`sandbox exec` in real namespaces: only the network changes, and the command's exit status is ours."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http_server import Exchange, serve

NAME = f"cli-exec-{os.getpid()}"
PATH = Path("/run/netns") / NAME


@pytest.fixture(scope="module")
def netns() -> Iterator[Path]:
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    try:
        yield PATH
    finally:
        subprocess.run(["ip", "netns", "del", NAME], check=True)


@pytest.fixture
def daemon(tmp_path: Path, netns: Path) -> Iterator[Exchange]:
    with serve(tmp_path / "atoll.sock") as exchange:
        exchange.answers["GET /atoll/sandboxes/web"] = (
            200,
            {"Id": "1" * 64, "Name": "web", "NetnsPath": str(netns), "NetnsInode": netns.stat().st_ino},
        )
        yield exchange


def run(daemon: Exchange, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "atoll", "--socket", str(daemon.socket), "sandbox", "exec", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


def test_only_the_network_namespace_changes(daemon: Exchange, netns: Path) -> None:
    done = run(daemon, "web", "stat", "-Lc", "%i", "/proc/self/ns/net", "/proc/self/ns/mnt", "/proc/self/ns/pid")
    mine = [str(Path(f"/proc/self/ns/{kind}").stat().st_ino) for kind in ("mnt", "pid")]
    assert done.stdout.split() == [str(netns.stat().st_ino), *mine]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["web", "sh", "-c", "exit 7"], 7),
        (["web", "--", "sh", "-c", "exit 0"], 0),
        (["web", "true", "--help", "-x", "--socket"], 0),
        (["web", "no-such-command"], 127),
        (["web", "/etc/passwd"], 126),
    ],
)
def test_exit_status_is_the_commands(daemon: Exchange, words: list[str], status: int) -> None:
    done = run(daemon, *words)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(f"atoll: cannot run {words[1]}: ") == (status in (126, 127))


def test_options_of_the_command_are_its_own(daemon: Exchange) -> None:
    assert run(daemon, "web", "echo", "-n", "--verbose", "-h").stdout == "--verbose -h"


def test_a_namespace_that_is_gone_or_another_is_not_entered(daemon: Exchange, netns: Path) -> None:
    for path, inode in ((f"{netns}-gone", 1), (str(netns), netns.stat().st_ino + 1)):
        daemon.answers["GET /atoll/sandboxes/web"] = (200, {"NetnsPath": path, "NetnsInode": inode})
        done = run(daemon, "web", "echo", "in")
        assert (done.returncode, done.stdout) == (1, "")
        assert f"the namespace of web is gone: {'cannot open ' if inode == 1 else ''}{path}" in done.stderr


def test_a_host_sandbox_is_the_daemons_namespace(daemon: Exchange, netns: Path) -> None:
    with subprocess.Popen(["nsenter", f"--net={netns}", "sleep", "60"]) as elsewhere:
        daemon.answers["GET /atoll/sandboxes/web"] = (200, {"NetnsPath": "", "NetnsInode": 0})
        daemon.answers["GET /atoll/status"] = (200, {"Pid": elsewhere.pid})
        while Path(f"/proc/{elsewhere.pid}/ns/net").stat().st_ino != netns.stat().st_ino:
            assert elsewhere.poll() is None
        done = run(daemon, "web", "stat", "-Lc", "%i", "/proc/self/ns/net")
        elsewhere.terminate()
    assert done.stdout.strip() == str(netns.stat().st_ino)
