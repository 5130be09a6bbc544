"""Removing much at once: others are answered meanwhile, and bridges are deleted when nobody waits."""

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.netns.namespaces import eventually
from tests.support.daemon import DaemonHost, daemon_host

NETWORKS = 64
SANDBOXES = 160
PROBE = {"Name": "probe"}


@pytest.fixture
def host() -> Iterator[DaemonHost]:
    with daemon_host("slices") as made:
        yield made


def make_networks(host: DaemonHost) -> None:
    for number in range(NETWORKS):
        pool = {"Subnet": f"10.70.{number}.0/24"}
        host.must("POST", "/networks/create", {"Name": f"n{number}", "IPAM": {"Config": [pool]}})


def meanwhile(host: DaemonHost, method: str, target: str, body: Any = None) -> Iterator[float]:
    """Seconds that a request through the engine took, again and again."""
    while True:
        begun = time.monotonic()
        host.ask(method, target, body)
        yield time.monotonic() - begun


def links(host: DaemonHost) -> set[str]:
    return {line.split()[0] for line in host.run("ip -br link").splitlines()}


def test_a_prune_keeps_nobody_waiting(host: DaemonHost) -> None:
    make_networks(host)
    host.must("POST", "/atoll/sandboxes/create", {"Name": "box", "Endpoints": [{"Network": "n7"}]})
    begun = threading.Event()
    waits: list[float] = []

    def prune() -> tuple[list[str], float]:
        start = time.monotonic()
        begun.set()
        gone = host.must("POST", "/networks/prune")["NetworksDeleted"]
        return gone, time.monotonic() - start

    with ThreadPoolExecutor() as pool:
        pruning = pool.submit(prune)
        begun.wait()
        for wait_s in meanwhile(host, "POST", "/networks/create?dry-run=1", PROBE):
            waits.append(wait_s)
            if pruning.done():
                break
        gone, took_s = pruning.result()
    assert sorted(gone) == sorted({f"n{number}" for number in range(NETWORKS)} - {"n7"})
    # A bridge alone waits some 20 ms for the kernel.
    assert took_s < NETWORKS * 0.02, "as long as if bridges were deleted one after the other"
    assert len(waits) > 2, "nobody had his turn"
    assert {entry["Name"] for entry in host.must("GET", "/networks")} == {"bridge", "host", "none", "n7"}
    assert "10.70." not in host.run("ip -br addr").replace("10.70.7.1", "")
    # Nothing is in the way of the same again, and the rest is deleted when nobody waits.
    make = {"Name": "n0", "IPAM": {"Config": [{"Subnet": "10.70.0.0/24"}]}}
    host.must("POST", "/networks/create", make)
    eventually(lambda: len(links(host)) == 5, seconds=30)  # lo, three bridges, a cable
    assert "ERROR" not in host.log


def test_detached_bridges_of_a_killed_daemon_are_deleted_by_the_next(host: DaemonHost) -> None:
    make_networks(host)
    host.must("POST", "/networks/prune")
    host.kill9()
    assert len(links(host)) > 10
    host.start()
    eventually(lambda: links(host) == {"lo", "atoll0"}, seconds=30)


def test_a_purge_keeps_nobody_waiting_and_lets_nobody_make_anything(host: DaemonHost) -> None:
    for number in range(SANDBOXES):
        host.must("POST", "/atoll/sandboxes/create", {"Name": f"s{number}"})
    answers: list[int] = []
    waits: list[float] = []
    with ThreadPoolExecutor() as pool:
        purging = pool.submit(host.must, "POST", "/atoll/purge")
        while not purging.done():
            begun = time.monotonic()
            try:
                answers.append(host.ask("POST", "/networks/create", {"Name": f"late{len(answers)}"}).status)
            except OSError:
                break
            waits.append(time.monotonic() - begun)
        counts = purging.result()
    assert counts["Sandboxes"] == SANDBOXES
    assert counts["Networks"] == 3 + answers.count(201)
    assert answers.count(503) > 2
    assert statistics.median(waits) < 0.25
    assert host.process is not None
    assert host.process.wait(timeout=15) == 0
    host.process = None
    assert links(host) == {"lo"}
    assert host.run("nft list tables") == ""
    assert list(host.netns_directory.iterdir()) == []
