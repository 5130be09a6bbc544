"""Attached namespaces that outlive what named them, and what the daemon does about those that don't."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.netns.namespaces import eventually, namespace, path_of
from tests.support.daemon import DaemonHost, daemon_host

SANDBOX = "/atoll/sandboxes/create"
QUIET_S = 1.0
"""Longer than the daemon waits before it checks what it changed itself."""


@pytest.fixture
def host() -> Iterator[DaemonHost]:
    with daemon_host("attached") as running:
        yield running


@contextmanager
def family() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process in a namespace of its own, and the pid of its child in the same one."""
    command = ["unshare", "--net", "sh", "-c", "sleep 60 & echo $!; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            yield parent, child
        finally:
            parent.kill()
            subprocess.run(["kill", "-9", str(child)], check=False, capture_output=True)


def exists(host: DaemonHost, name: str) -> bool:
    return host.ask("GET", f"/atoll/sandboxes/{name}").status == 200


def reaches_gateway(pid: int) -> bool:
    command = ["nsenter", "-t", str(pid), "-n", "ping", "-c1", "-W1", "172.17.0.1"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_network_stays_while_any_process_is_inside(host: DaemonHost) -> None:
    with family() as (parent, child):
        host.must("POST", SANDBOX, {"Name": "box", "Pid": parent.pid, "Publish": ["8080:80"]})
        parent.kill()
        parent.wait()
        time.sleep(QUIET_S)
        assert reaches_gateway(child)
        host.restart()
        time.sleep(QUIET_S)
        assert reaches_gateway(child)
        assert exists(host, "box")
        subprocess.run(["kill", "-9", str(child)], check=True)
        eventually(lambda: not exists(host, "box"), seconds=2)
        assert "atoll:endpoint" not in host.run("ip -d link")


def test_a_namespace_that_goes_is_no_error(host: DaemonHost) -> None:
    with namespace("attached-gone") as name:
        host.must("POST", SANDBOX, {"Name": "box", "NetnsPath": str(path_of(name))})
        subprocess.run(["ip", "netns", "del", name], check=True)
        eventually(lambda: not exists(host, "box"), seconds=2)
        Path("/run/netns", name).touch()  # for what removes it
    assert "ERROR" not in host.log
    assert "degraded" not in host.log
