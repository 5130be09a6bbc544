"""Attached namespaces that outlive what named them, and what the daemon does about those that don't."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.netns.namespaces import eventually, namespace, path_of, run
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


@contextmanager
def with_default_route(purpose: str, *routes: str) -> Iterator[Path]:
    """A namespace with an interface and routes of its own."""
    with namespace(purpose) as name:
        for command in (
            "ip link add uplink type bridge",
            "ip link set uplink up",
            "ip addr add 10.98.0.2/24 dev uplink",
            "ip addr add fd98::2/64 dev uplink nodad",
            *(f"ip {route}" for route in routes),
        ):
            run(name, command)
        yield path_of(name)


def everything(host: DaemonHost, inside: Path) -> str:
    """What an attachment would change."""
    looks = ("ip -br addr", "ip route", "ip -6 route", "ip neigh show nud permanent")
    seen = [run(inside.name, look) for look in looks] + [host.run(look) for look in looks]
    return "\n".join([*seen, str(host.must("GET", "/atoll/sandboxes")), host.run("nft -s list ruleset")])


@pytest.mark.parametrize(
    ("route", "shown"),
    [
        ("route add default via 10.98.0.1", "default via 10.98.0.1 dev uplink"),
        ("route add default via 10.98.0.1 metric 100", "default via 10.98.0.1 dev uplink metric 100"),
        ("route add unreachable default", "unreachable default"),
        ("-6 route add default via fd98::1", "default via fd98::1 dev uplink metric 1024"),
    ],
)
def test_a_namespace_keeps_its_own_default_route(host: DaemonHost, route: str, shown: str) -> None:
    host.must("POST", "/networks/create", {"Name": "dual", "EnableIPv6": True})
    host.must("POST", "/networks/create", {"Name": "inner", "EnableIPv6": True, "Internal": True})
    with with_default_route("attached-routed", route) as inside:
        before = everything(host, inside)
        for query in ("", "?dry-run=1"):
            answer = host.ask(
                "POST", SANDBOX + query, {"Name": "box", "NetnsPath": str(inside), "Endpoints": [{"Network": "dual"}]}
            )
            assert answer.status == 403, answer
            assert shown in answer.message
            assert "--internal" in answer.body["hint"]
            assert str(inside) in answer.body["hint"]
        assert everything(host, inside) == before
        host.must("POST", SANDBOX, {"Name": "box", "NetnsPath": str(inside), "Endpoints": [{"Network": "inner"}]})
        # The kernel takes a moment to find that the cable is plugged in at both ends.
        eventually(lambda: "fe80::42:" in run(inside.name, "ip -br addr show dev eth0"))
        before = everything(host, inside)
        answer = host.ask("POST", "/networks/dual/connect", {"Container": "box"})
        assert answer.status == 403, answer
        assert shown in answer.message
        assert everything(host, inside) == before
        host.must("DELETE", "/atoll/sandboxes/box")
        assert shown.split(" metric ")[0] in run(inside.name, "ip route") + run(inside.name, "ip -6 route")
    assert "ERROR" not in host.log


def test_another_familys_default_route_is_in_nobodys_way(host: DaemonHost) -> None:
    with with_default_route("attached-six", "-6 route add default via fd98::1") as inside:
        host.must("POST", SANDBOX, {"Name": "box", "NetnsPath": str(inside)})
        assert "default via 172.17.0.1" in run(inside.name, "ip route")
        assert "default via fd98::1" in run(inside.name, "ip -6 route")


def test_loopback_is_mended_where_we_made_the_namespace_and_nowhere_else(host: DaemonHost) -> None:
    host.must("POST", SANDBOX, {"Name": "made"})
    made = host.must("GET", "/atoll/sandboxes/made")["NetnsPath"]
    with namespace("attached-lo") as name:
        host.must("POST", SANDBOX, {"Name": "box", "NetnsPath": str(path_of(name))})
        time.sleep(QUIET_S)
        run(name, "ip link set lo down")
        subprocess.run(["nsenter", f"--net={made}", "ip", "link", "set", "lo", "down"], check=True)

        def loopback_is_up() -> bool:
            ping = ["nsenter", f"--net={made}", "ping", "-c1", "-W1", "127.0.0.1"]
            return subprocess.run(ping, capture_output=True, check=False).returncode == 0

        assert not loopback_is_up()
        eventually(loopback_is_up, seconds=3)
        assert "DOWN" in run(name, "ip -br link show lo")
        assert host.log.count("link set lo") == 1
