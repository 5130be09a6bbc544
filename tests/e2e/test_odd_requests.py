"""Requests that are unusual and yet fine, or look fine and are not: each against a running daemon."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netns.namespaces import eventually, namespace, path_of
from tests.support.daemon import Answer, DaemonHost, daemon_host

SANDBOX = "/atoll/sandboxes/create"
MTU = "com.docker.network.driver.mtu"


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with daemon_host("odd") as running:
        yield running


def inside(host: DaemonHost, sandbox: str, command: str) -> str:
    path = host.must("GET", f"/atoll/sandboxes/{sandbox}")["NetnsPath"]
    return subprocess.run(
        ["nsenter", f"--net={path}", *command.split()], capture_output=True, text=True, check=True
    ).stdout


def endpoint(host: DaemonHost, sandbox: str, network: str) -> dict[str, Any]:
    found: dict[str, Any] = host.must("GET", f"/atoll/sandboxes/{sandbox}")["Networks"][network]
    return found


def refused(answer: Answer, status: int, *words: str) -> None:
    assert answer.status == status, answer
    for word in words:
        assert word in answer.body["message"], answer


def test_the_hosts_own_namespace_is_not_attached(host: DaemonHost) -> None:
    assert host.process is not None
    links = host.run("ip -br link")
    for namespace_of in ({"NetnsPath": str(host.netns)}, {"Pid": host.process.pid}, {"NetnsPath": "/proc/self/ns/net"}):
        answer = host.ask("POST", SANDBOX, {"Name": "itself", **namespace_of})
        refused(answer, 403, "namespace of the host itself")
        assert answer.body["hint"] == "atoll sandbox create itself --network host"
    assert host.run("ip -br link") == links
    assert host.run("ip route show default") == ""


def test_a_relative_or_endless_namespace_path_is_refused_in_a_line(host: DaemonHost) -> None:
    refused(host.ask("POST", SANDBOX, {"Name": "box", "NetnsPath": "run/netns/x"}), 400, "run/netns/x", "begin with /")
    answer = host.ask("POST", SANDBOX, {"Name": "box", "NetnsPath": "/" + "x" * 5000})
    refused(answer, 400, "name too long")
    assert len(answer.body["message"]) < 300


def test_interfaces_that_a_sandboxs_owner_made_keep_their_names(host: DaemonHost) -> None:
    host.must("POST", "/networks/create", {"Name": "second"})
    host.must("POST", SANDBOX, {"Name": "busy"})
    inside(host, "busy", "ip link add eth1 type bridge")
    refused(
        host.ask("POST", "/networks/second/connect", {"Container": "busy", "EndpointConfig": ifname("eth1")}),
        403,
        "eth1",
    )
    host.must("POST", "/networks/second/connect", {"Container": "busy"})
    assert endpoint(host, "busy", "second")["Ifname"] == "eth2"
    assert "bridge" in inside(host, "busy", "ip -d link show eth1")


def ifname(name: str) -> dict[str, Any]:
    return {"DriverOpts": {"com.docker.network.endpoint.ifname": name}}


def test_the_mac_of_the_bridge_is_taken(host: DaemonHost) -> None:
    host.must("POST", "/networks/create", {"Name": "macs", "IPAM": {"Config": [{"Subnet": "10.3.0.0/24"}]}})
    asked = {"Network": "macs", "MacAddress": "02:42:0a:03:00:01"}
    refused(host.ask("POST", SANDBOX, {"Name": "box", "Endpoints": [asked]}), 403, "02:42:0a:03:00:01", "its bridge")


def test_ipv6_addresses_that_end_alike_get_macs_of_their_own(host: DaemonHost) -> None:
    network = {
        "Name": "alike",
        "EnableIPv4": False,
        "EnableIPv6": True,
        "IPAM": {"Config": [{"Subnet": "fd00:3::/48"}]},
    }
    host.must("POST", "/networks/create", network)
    # As the gateway, and as one another.
    addresses = ["fd00:3:0:1::1", "fd00:3:0:2::9", "fd00:3:0:3::9"]
    for number, address in enumerate(addresses):
        wanted = {"Network": "alike", "IPv6Address": address}
        host.must("POST", SANDBOX, {"Name": f"alike{number}", "Endpoints": [wanted]})
    macs = {endpoint(host, f"alike{number}", "alike")["MacAddress"] for number in range(len(addresses))}
    assert len(macs) == len(addresses)
    for address in addresses[1:]:
        inside(host, "alike0", f"ping -6 -c1 -W2 {address}")
    inside(host, "alike0", "ping -6 -c1 -W2 fd00:3::1")


def test_an_mtu_that_ipv6_would_not_take_serves_ipv4(host: DaemonHost) -> None:
    host.must("POST", "/networks/create", {"Name": "narrow", "Options": {MTU: "576"}})
    for name in ("narrow1", "narrow2"):
        host.must("POST", SANDBOX, {"Name": name, "Endpoints": [{"Network": "narrow"}]})
    assert "mtu 576" in inside(host, "narrow1", "ip link show eth0")
    other = endpoint(host, "narrow2", "narrow")["IPAddress"]
    inside(host, "narrow1", f"ping -c1 -W2 {other}")


def test_a_namespace_of_the_same_name_is_another_one(host: DaemonHost) -> None:
    """The first is gone and its successor stands at its path, before the daemon has seen either."""
    with namespace("odd-twin") as name:
        host.must("POST", SANDBOX, {"Name": "first", "NetnsPath": str(path_of(name))})
        for command in ("del", "add"):
            subprocess.run(["ip", "netns", command, name], check=True)
        host.must("POST", SANDBOX, {"Name": "second", "NetnsPath": str(path_of(name))})
        assert endpoint(host, "second", "bridge")["Ifname"] == "eth0"
        assert Path("/run/netns", name).exists()
        eventually(lambda: host.ask("GET", "/atoll/sandboxes/first").status == 404)
        inside(host, "second", "ping -c1 -W2 172.17.0.1")
