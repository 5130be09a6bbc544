"""Killed anywhere, an engine leaves at its next start either no trace of the request or all of it, and nothing else.

Each scenario runs once unharmed to learn its number of points: every step, every commit's before and
after, every reaping. Then once for each point, killed there, and once for each step, refused there.
"""

import difflib
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from atoll.errors import AtollError
from atoll.model.world import World
from atoll.plan.driver import Naming
from tests.fault.dying import DyingKernel, DyingStore, Fuse
from tests.fault.scenarios import SCENARIOS, Scenario, nothing
from tests.support.engines import EngineHost, in_child, make_engine, settle, was_killed
from tests.support.snapshot import host_text, run_in

PROBED_PORTS = ((socket.SOCK_STREAM, 8080), (socket.SOCK_DGRAM, 8081))


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
    """What standard tools see, less which families the host forwards: that is ensured, and never taken back."""
    text = host_text(host.netns, host.netns_directory)
    for family, sysctl in (("ipv4", "net.ipv4.ip_forward"), ("ipv6", "net.ipv6.conf.all.forwarding")):
        if run_in(host.netns, "sysctl", "-n", sysctl).strip() == "1":
            assert re.search(rf"set closed \{{[^}}]*{family}", text), f"an open router for {family}"
    return re.sub(r"(set closed \{)[^}]*\}?[^}]*\}", r"\1 }", text)


def act_on(host: EngineHost, scenario: Scenario, fuse: Fuse, *, started: bool) -> None:
    engine = make_engine(
        host,
        seed=scenario.name,
        naming=Naming(endpoints_max=scenario.endpoints_max),
        wrap_kernel=lambda kernel: DyingKernel(kernel, fuse),
        wrap_store=lambda store: DyingStore(store, fuse),
    )
    fuse.armed = not started
    engine.start()
    settle(engine)
    scenario.prepare(engine)
    settle(engine)
    fuse.armed = True
    try:
        scenario.act(engine)
        (host.state / "done").touch()
    except AtollError:
        assert fuse.blown
    settle(engine)
    (host.state / "points").write_text(str(fuse.passed))


def difference(wanted: str, found: str) -> str:
    return "\n".join(difflib.unified_diff(wanted.splitlines(), found.splitlines(), "wanted", "found", n=1))


def recover(host: EngineHost) -> str:
    """Start again, and let it settle; returns the host's state with what is stored, and which ports are free."""

    def start_again() -> None:
        engine = make_engine(host, seed="again")
        engine.start()
        settle(engine)
        assert not engine.degraded, dict(engine.degraded)
        (host.state / "world").write_text(world_text(engine.world) + free_ports())

    assert in_child(host, start_again) == 0
    return state_of(host) + (host.state / "world").read_text()


def world_text(world: World) -> str:
    tables = (world.networks, world.sandboxes, world.endpoints, world.allowances, world.removals)
    lines = [re.sub(r"\b[0-9a-f]{64}\b", "ID", str(record)) for table in tables for record in table.values()]
    return "\n== store\n" + "\n".join(sorted(lines))


def free_ports() -> str:
    return "".join(f"\n{kind.name} {port} is free" for kind, port in PROBED_PORTS if _can_bind(kind, port))


def _can_bind(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def clean_run(hosts: Hosts, scenario: Scenario) -> Clean:
    host = hosts.fresh()
    assert in_child(host, lambda: act_on(host, scenario, Fuse(None, kills=False), started=scenario.started)) == 0
    points = int((host.state / "points").read_text())
    at_once = state_of(host)
    after = recover(host)
    assert after.startswith(at_once), "a start changes what is right"
    if not scenario.started:
        return Clean(after, after, points)
    host = hosts.fresh()
    untouched = replace(scenario, act=nothing)
    assert in_child(host, lambda: act_on(host, untouched, Fuse(None, kills=False), started=True)) == 0
    return Clean(recover(host), after, points)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_at_every_point(hosts: Hosts, scenario: Scenario, tally: Callable[[str, int], None]) -> None:
    clean = clean_run(hosts, scenario)
    finished = 0
    for point in range(clean.points):
        host = hosts.fresh()
        fuse = Fuse(point, kills=True)
        assert was_killed(in_child(host, partial(act_on, host, scenario, fuse, started=scenario.started)))
        found = recover(host)
        check(f"killed at point {point}", found, clean.before, clean.after)
        finished += found == clean.after
    tally("kill points", clean.points)
    print(f"\n{scenario.name}: {clean.points} kill points, {finished} of them after the commit")
    assert finished, "no kill was late enough for the request to be finished"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.started], ids=lambda scenario: scenario.name)
def test_refused_at_every_point(hosts: Hosts, scenario: Scenario, tally: Callable[[str, int], None]) -> None:
    clean = clean_run(hosts, scenario)
    for point in range(clean.points):
        host = hosts.fresh()
        fuse = Fuse(point, kills=False)
        assert in_child(host, partial(act_on, host, scenario, fuse, started=True)) == 0
        found = recover(host)
        # A removal goes on past what is refused; everything else goes back.
        done = (host.state / "done").exists() or (scenario.removes and point > 0)
        check(f"refused at point {point}", found, clean.after if done else clean.before)
    tally("refused steps", clean.points)
    print(f"\n{scenario.name}: {clean.points} refusals")


def check(what: str, found: str, *wanted: str) -> None:
    if found not in wanted:
        nearest = min((difference(each, found) for each in wanted), key=len)
        pytest.fail(f"{what}, it differs by\n{nearest}")
