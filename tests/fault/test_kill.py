"""Killed anywhere, an engine leaves at its next start either no trace of the request or all of it, and nothing else.

Each scenario runs once unharmed to learn its number of points: every step, every commit's before and
after, every reaping. Then once for each point, killed there, and once for each step, refused there.
"""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from atoll.errors import AtollError
from tests.fault.dying import DyingKernel, DyingStore, Fuse
from tests.fault.scenarios import SCENARIOS, Scenario
from tests.support.engines import EngineHost, in_child, make_engine, settle, was_killed
from tests.support.snapshot import host_text


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator["Hosts"]:
    made = Hosts(tmp_path)
    yield made
    made.remove()


class Hosts:
    """Fresh hosts, removed with all that is left on them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[EngineHost] = []

    def fresh(self) -> EngineHost:
        name = f"atoll-fault-{self._folder.name}"[:60]
        if self._made:
            self.remove()
        state = self._folder / "state"
        state.mkdir()
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        self._made.append(EngineHost(f"/run/netns/{name}", state))
        return self._made[-1]

    def remove(self) -> None:
        for host in self._made:
            for mount in host.netns_directory.iterdir() if host.netns_directory.is_dir() else ():
                subprocess.run(["umount", "-l", str(mount)], check=True)
            subprocess.run(["umount", "-l", str(host.netns_directory)], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", Path(host.netns).name], check=True)
            shutil.rmtree(host.state)
        self._made.clear()


@dataclass(frozen=True, slots=True)
class Clean:
    """What a host looks like before and after a scenario that nobody disturbed, and its number of points."""

    before: str
    after: str
    points: int


def state_of(host: EngineHost) -> str:
    return host_text(host.netns, host.netns_directory)


def act_on(host: EngineHost, scenario: Scenario, fuse: Fuse, *, started: bool) -> None:
    engine = make_engine(
        host,
        seed=scenario.name,
        wrap_kernel=lambda kernel: DyingKernel(kernel, fuse),
        wrap_store=lambda store: DyingStore(store, fuse),
    )
    fuse.armed = not started
    engine.start()
    settle(engine)
    scenario.prepare(engine)
    settle(engine)
    if started:
        (host.state / "before").write_text(state_of(host))
    fuse.armed = True
    try:
        scenario.act(engine)
    except AtollError:
        assert fuse.blown
    settle(engine)
    (host.state / "points").write_text(str(fuse.passed))


def recover(host: EngineHost) -> None:
    def start_again() -> None:
        engine = make_engine(host, seed="again")
        engine.start()
        settle(engine)
        assert not engine.degraded, dict(engine.degraded)

    assert in_child(host, start_again) == 0


def clean_run(hosts: Hosts, scenario: Scenario) -> Clean:
    host = hosts.fresh()
    first_start = scenario.name == "first start"
    assert in_child(host, lambda: act_on(host, scenario, Fuse(None, kills=False), started=not first_start)) == 0
    points = int((host.state / "points").read_text())
    before = "" if first_start else (host.state / "before").read_text()
    after = state_of(host)
    recover(host)
    assert state_of(host) == after, "a start changes what is right"
    return Clean(before or after, after, points)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_at_every_point(hosts: Hosts, scenario: Scenario) -> None:
    clean = clean_run(hosts, scenario)
    seen = set()
    for point in range(clean.points):
        host = hosts.fresh()
        fuse = Fuse(point, kills=True)
        started = scenario.name != "first start"
        assert was_killed(in_child(host, partial(act_on, host, scenario, fuse, started=started)))
        recover(host)
        after = state_of(host)
        assert after in (clean.before, clean.after), f"killed at point {point}:\n{after}\nwanted:\n{clean.after}"
        seen.add(after == clean.after)
    print(f"\n{scenario.name}: {clean.points} kill points")
    assert clean.points > 0
    assert True in seen, "no kill was late enough for the request to be finished"
