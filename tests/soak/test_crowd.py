"""Networks larger than a bridge, at the size that is promised: some minutes, and more than `make test` has room for."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from atoll.kernel import netns
from atoll.lab.host import Host
from atoll.lab.topology import Lab
from bench.client import Client
from bench.reaching import unreached

NETWORK = "crowd"
NEIGHBOUR_STATISTICS = ("arp_cache", "ndisc_cache")


@contextmanager
def crowd(count: int, **options: str) -> Iterator[tuple[Host, list[dict[str, Any]]]]:
    """A host with that many sandboxes on one network of both families, and what is told of each."""
    with Lab("soak") as lab:
        host = lab.host("host")
        client = Client(host.start_daemon().socket)
        body = {
            "Name": NETWORK,
            "EnableIPv6": True,
            "Options": options,
            "IPAM": {"Config": [{"Subnet": "10.66.0.0/16"}]},
        }
        client.timed("POST", "/networks/create", body)
        for number in range(count):
            client.timed("POST", "/atoll/sandboxes/create", {"Name": f"s{number}", "Endpoints": [{"Network": NETWORK}]})
        yield host, client.ask("GET", "/atoll/sandboxes")


def place(sandbox: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = sandbox["Networks"][NETWORK]
    return found


def bridges_of(host: Host) -> dict[str, str]:
    """The bridge of each port, by its name."""
    return {link["ifname"]: link["master"] for link in host.links() if "master" in link}


def pairs_across(host: Host, sandboxes: list[dict[str, Any]], count: int) -> list[list[dict[str, Any]]]:
    """Random pairs whose ports are on different bridges."""
    bridges = bridges_of(host)
    by_bridge: dict[str, list[dict[str, Any]]] = {}
    for sandbox in sandboxes:
        by_bridge.setdefault(bridges[place(sandbox)["HostIfname"]], []).append(sandbox)
    assert len(by_bridge) > 1, "all are on one bridge"
    chance = random.Random(1)
    several = sorted(by_bridge)
    return [[chance.choice(by_bridge[name]) for name in chance.sample(several, 2)] for _ in range(count)]


def ping(sandbox: dict[str, Any], address: str) -> bool:
    """Whether one of three pings from a sandbox is answered."""
    # Who asks for the MAC asks 1,500 ports at once, more than a processor's queue holds (net.core.netdev_max_backlog).
    return any(not netns.run_in(sandbox["NetnsPath"], partial(unreached, [address])) for _ in range(3))


def table_full() -> list[int]:
    """How often the machine's neighbour tables were found full: the column `table_fulls`, in hexadecimal."""
    counts = []
    for name in NEIGHBOUR_STATISTICS:
        head, *rows = Path(f"/proc/net/stat/{name}").read_text().splitlines()
        column = head.split().index("table_fulls")
        counts.append(sum(int(row.split()[column], 16) for row in rows))
    return counts


@pytest.mark.timeout(600)
def test_1500_sandboxes_of_one_network_reach_each_other_and_the_host() -> None:
    before = table_full()
    with crowd(1500) as (host, sandboxes):
        assert len(sandboxes) == 1500
        addresses = [place(sandbox)["IPAddress"] for sandbox in sandboxes]
        # A ping may be lost among 1,500; one that is not answered twice is no accident.
        missed = netns.run_in(str(host.path), partial(unreached, addresses))
        assert netns.run_in(str(host.path), partial(unreached, missed)) == []
        pairs = pairs_across(host, sandboxes, 200)
        with ThreadPoolExecutor(8) as several:
            answered = list(several.map(lambda pair: ping(pair[0], place(pair[1])["IPAddress"]), pairs))
        assert answered.count(True) == 200
        print(f"200 pairs across {len(set(bridges_of(host).values()))} bridges, tables full {before}, {table_full()}")
    assert table_full() == before


@pytest.mark.timeout(600)
def test_1100_isolated_sandboxes_reach_their_gateway_alone() -> None:
    with crowd(1100, **{"com.docker.network.bridge.enable_icc": "false"}) as (host, sandboxes):
        pairs = pairs_across(host, sandboxes, 100)
        with ThreadPoolExecutor(8) as several:
            answered = list(several.map(lambda pair: ping(pair[0], place(pair[1])["IPAddress"]), pairs))
            gateways = list(several.map(lambda pair: ping(pair[0], place(pair[0])["Gateway"]), pairs))
        assert (answered.count(True), gateways.count(True)) == (0, 100)
