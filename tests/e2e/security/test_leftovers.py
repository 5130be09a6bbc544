"""Flows that were let in once: they end with what let them in, and never reach who has the address next."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from atoll.lab.host import Host
from atoll.lab.namespace import Namespace
from atoll.lab.probe import Answerer
from tests.e2e.security import frames
from tests.e2e.security.air import SETTLE_S, Listener, Talk, shoot, way_from_lan
from tests.e2e.security.cells import PEER, UNPUBLISHED, WEB
from tests.e2e.security.frames import Way
from tests.e2e.security.ledger import Ledger
from tests.e2e.security.nets import NETS, VERSIONS, Net
from tests.e2e.security.stage import EVERYWHERE, Stage

LAST = 50
"""Last number of the address that goes from hand to hand."""
PORT, HOST_PORT, TALK_PORT, TALK_HOST_PORT = 90, 8900, 91, 8901
SOURCE_PORT = 46000
FORGOTTEN_S = 0.5
"""Connections are forgotten behind the answer, some tens of milliseconds later on an idle machine."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A LAN's host, its ways to published ports of a network, and the ports it asks there for UDP and TCP."""

    stage: Stage
    net: Net
    sender: Host
    ways: Mapping[int, Way]
    ports: tuple[int, int]

    def create(self, name: str, *publish: str) -> Namespace:
        """A sandbox with the address, and servers in it."""
        ends = f"ip={self.net.address(4, LAST)},ip6={self.net.address(6, LAST)}"
        words = [word for option in publish for word in ("-p", option)]
        self.stage.host.atoll(["sandbox", "create", name, "--network", f"{self.net.name},{ends}", *words])
        space = self.stage.host.sandbox(name)
        Answerer(space, name, [("udp", EVERYWHERE[version], PORT) for version in VERSIONS])
        for version in VERSIONS:
            Talk(space, "accept", EVERYWHERE[version], TALK_PORT)
        return space

    def send(self, to: str, talks: Mapping[int, Talk]) -> set[bytes]:
        """More of every flow; the marks that it has."""
        shoot(
            self.sender,
            [frames.udp(way, SOURCE_PORT, self.ports[0], _mark(to, "udp", v)) for v, way in self.ways.items()],
        )
        for version, talk in talks.items():
            talk.say(_mark(to, "tcp", version))
        return {_mark(to, protocol, version) for protocol in ("udp", "tcp") for version in self.ways}


def _mark(to: str, protocol: str, version: int) -> bytes:
    return f"{protocol} {version} to {to}.".encode()


@pytest.fixture(params=["nat", "routed", "trusting"])
def scene(stage: Stage, request: pytest.FixtureRequest) -> Scene:
    """Ports of the nat network are asked at the host, the others' at the container."""
    net = NETS[request.param]
    leg = 1 if net.trusts else 0
    sender = stage.far if leg else stage.neighbour
    direct = net.name != "nat"
    targets = {v: net.address(v, LAST) if direct else str(stage.host.address(v)) for v in VERSIONS}
    ways = {version: way_from_lan(sender, stage.host, target, leg=leg) for version, target in targets.items()}
    return Scene(stage, net, sender, ways, (PORT, TALK_PORT) if direct else (HOST_PORT, TALK_HOST_PORT))


@contextmanager
def flowing(scene: Scene) -> Iterator[Mapping[int, Talk]]:
    """UDP and TCP flows of both families that reach a sandbox called `first`."""
    listener = Listener(scene.create("first", f"{HOST_PORT}:{PORT}/udp", f"{TALK_HOST_PORT}:{TALK_PORT}/tcp"))
    talks = {v: Talk(scene.sender, "connect", way.target, scene.ports[1]) for v, way in scene.ways.items()}
    sent = scene.send("first", talks)
    listener.wait_for(sent)
    lost = [mark for mark in sent if not listener.heard(mark)]
    listener.stop()
    try:
        assert not lost
        yield talks
    finally:
        for talk in talks.values():
            talk.stop()
        scene.stage.host.atoll("sandbox rm -f first second")


def test_a_flow_does_not_reach_the_next_owner_of_an_address(scene: Scene, ledger: Ledger) -> None:
    with flowing(scene) as talks:
        scene.stage.host.atoll("sandbox rm first")
        listener = Listener(scene.create("second"))
        time.sleep(FORGOTTEN_S)
        sent = scene.send("second", talks)
        time.sleep(SETTLE_S)
        seen = sorted(mark.decode() for mark in sent if listener.heard(mark))
        listener.stop()
    promise = "a flow doesn't reach the next owner of its address"
    ledger.decide(promise, scene.net.name, kept=not seen, seen=", ".join(seen))
    assert not seen


def test_disallowing_ends_what_was_allowed(stage: Stage, ledger: Ledger) -> None:
    host, source, target = stage.host, NETS["nat"], NETS["snat"]
    peer, web = stage.peer(source.name), stage.web(target.name)
    ways = [Way(source.mac(PEER), source.mac(1), source.address(v, PEER), target.address(v, WEB)) for v in VERSIONS]
    listener = Listener(web)
    host.atoll(["network", "allow", "--one-way", source.name, target.name])
    shoot(peer, [frames.udp(way, SOURCE_PORT, UNPUBLISHED, b"allowed to " + way.target.encode()) for way in ways])
    allowed = [b"allowed to " + way.target.encode() for way in ways]
    listener.wait_for(allowed)
    assert all(listener.heard(mark) for mark in allowed)
    host.atoll(["network", "disallow", "--one-way", source.name, target.name])
    time.sleep(FORGOTTEN_S)
    shoot(peer, [frames.udp(way, SOURCE_PORT, UNPUBLISHED, b"closed to " + way.target.encode()) for way in ways])
    time.sleep(SETTLE_S)
    seen = [way.target for way in ways if listener.heard(b"closed to " + way.target.encode())]
    listener.stop()
    promise = "a flow ends when its networks are closed to each other"
    ledger.decide(promise, f"{source.name} to {target.name}", kept=not seen, seen=", ".join(seen))
    assert not seen
