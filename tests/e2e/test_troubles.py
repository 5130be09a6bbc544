"""Trouble that comes from outside: it is told, it stays told while it lasts, and it ends by itself."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.netns.namespaces import eventually, namespace, path_of, running
from tests.support.daemon import DaemonHost, daemon_host

SANDBOX = "/atoll/sandboxes/create"


@pytest.fixture
def host() -> Iterator[DaemonHost]:
    with daemon_host("troubles") as made:
        yield made


def reasons(host: DaemonHost, name: str) -> str:
    return "; ".join(host.must("GET", f"/atoll/sandboxes/{name}")["Degraded"])


def inner_link(host: DaemonHost, name: str) -> str:
    return str(host.must("GET", f"/atoll/sandboxes/{name}")["Networks"]["bridge"]["HostIfname"])


def test_a_taken_port_stays_told_over_another_repair(host: DaemonHost) -> None:
    host.must("POST", SANDBOX, {"Name": "web", "Publish": ["8080:80"]})
    link = inner_link(host, "web")
    host.stop()
    with running(host.name, ["socat", "TCP4-LISTEN:8080,fork", "/dev/null"]):
        eventually(lambda: ":8080" in host.run("ss -Hltn"), seconds=3)
        host.run(f"ip link set {link} nomaster")
        host.start()
        eventually(lambda: "master atoll0" in host.run(f"ip link show {link}"), seconds=2)
        assert "8080" in reasons(host, "web")
        assert "socat" in reasons(host, "web")


def test_a_renamed_cable_is_replaced_at_once(host: DaemonHost) -> None:
    host.must("POST", SANDBOX, {"Name": "web"})
    link = inner_link(host, "web")
    host.run(f"ip link set {link} down")
    host.run(f"ip link set {link} name elsewhere")

    def whole() -> bool:
        links = host.run("ip -br link")
        return link in links and "elsewhere" not in links and not reasons(host, "web")

    eventually(whole, seconds=3)
    path = host.must("GET", "/atoll/sandboxes/web")["NetnsPath"]
    pinging = ["nsenter", f"--net={path}", "ping", "-c1", "-W1", "172.17.0.1"]
    assert subprocess.run(pinging, capture_output=True, check=False).returncode == 0


def test_a_namespace_made_anew_is_attached_under_its_old_name(host: DaemonHost) -> None:
    with namespace("guest") as name:
        request = {"Name": "guest", "NetnsPath": str(path_of(name))}
        host.must("POST", SANDBOX, request)
        for _ in range(3):
            subprocess.run(["ip", "netns", "del", name], check=True)
            subprocess.run(["ip", "netns", "add", name], check=True)
            # The kernel takes the old one's cable away some time after its name.
            eventually(lambda: host.ask("POST", SANDBOX, request).status == 201, seconds=1)
        assert len(host.must("GET", "/atoll/sandboxes")) == 1


def test_dry_run_without_a_value_makes_nothing(host: DaemonHost) -> None:
    answer = host.ask("POST", f"{SANDBOX}?dry-run", {"Name": "web"})
    assert answer.status == 200
    assert answer.body["Steps"]
    assert host.must("GET", "/atoll/sandboxes") == []
