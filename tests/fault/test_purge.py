"""A purge that is killed anywhere leaves what can be started, and purged, again; and then nothing is left."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from atoll.engine.engine import Engine
from atoll.engine.outcome import SLICE_MAX
from atoll.plan.driver import Naming
from tests.fault.dying import DyingKernel, DyingStore, Fuse
from tests.fault.scenarios import make_sandbox, two_networks
from tests.fault.test_kill import Hosts
from tests.support.engines import EngineHost, in_child, make_engine, settle, was_killed
from tests.support.snapshot import run_in

SANDBOXES = SLICE_MAX + 2
ENDPOINTS_MAX = SANDBOXES - 3
"""So that a bridge and a joint go, too."""
STRIDE = 7
"""Every so manieth point is one where it is killed: they are alike, but for where a slice ends."""


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(tmp_path)
    yield made
    made.remove()


def crowded(engine: Engine) -> None:
    """More sandboxes than one slice takes, on one network, and two more networks."""
    two_networks(engine)
    for number in range(SANDBOXES):
        make_sandbox(engine, f"s{number}", "web")


def purge_on(host: EngineHost, fuse: Fuse) -> None:
    engine = make_engine(
        host,
        naming=Naming(endpoints_max=ENDPOINTS_MAX),
        wrap_kernel=lambda kernel: DyingKernel(kernel, fuse),
        wrap_store=lambda store: DyingStore(store, fuse),
    )
    engine.start()
    crowded(engine)
    settle(engine)
    fuse.armed = True
    gone = [outcome.value for outcome in engine.purge()]
    assert [sum(counts) for counts in zip(*gone, strict=True)] == [5, SANDBOXES]
    (host.state / "points").write_text(str(fuse.passed))


def start_and_purge(host: EngineHost) -> None:
    engine = make_engine(host, seed="again", naming=Naming(endpoints_max=ENDPOINTS_MAX))
    engine.start()
    settle(engine)
    assert not engine.degraded, dict(engine.degraded)
    (host.state / "left").write_text(str(len(engine.world.sandboxes)))
    networks = engine.world.networks
    assert {network.name for network in networks.values()} >= {"bridge", "host", "none"}
    for endpoint in engine.world.endpoints.values():
        assert endpoint.network_id in networks
    for _ in engine.purge():
        pass


def leftovers(host: EngineHost) -> list[str]:
    links = re.findall(r"^\d+: ([^:@]+)", run_in(host.netns, "ip", "-o", "link"), re.MULTILINE)
    tables = run_in(host.netns, "nft", "list", "tables").split("\n")
    return [
        *(name for name in links if name != "lo"),
        *filter(None, tables),
        *(mount.name for mount in host.netns_directory.iterdir()),
    ]


@pytest.mark.timeout(300)
def test_a_purge_that_is_killed_can_be_done_again(hosts: Hosts) -> None:
    host = hosts.fresh()
    assert in_child(host, partial(purge_on, host, Fuse(None, kills=False))) == 0
    assert leftovers(host) == []
    points = int((host.state / "points").read_text())
    left: set[int] = set()
    for point in range(0, points, STRIDE):
        host = hosts.fresh()
        assert was_killed(in_child(host, partial(purge_on, host, Fuse(point, kills=True))))
        assert in_child(host, partial(start_and_purge, host)) == 0
        assert leftovers(host) == [], f"killed at point {point}"
        left.add(int((host.state / "left").read_text()))
    print(f"\n{points} points; sandboxes left: {sorted(left)}")
    assert left == {0, SANDBOXES - SLICE_MAX, SANDBOXES}, "a slice is real as a whole"
