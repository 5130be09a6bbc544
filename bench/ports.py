"""Publishing ports: few and many, alone and in a crowd, single and in ranges, and as others do it."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from bench.effort import Effort
from bench.peers.atoll import Atoll
from bench.peers.cni import Cni
from bench.peers.docker import Docker
from bench.peers.netavark import Netavark
from bench.peers.peer import Peer, once, shifted
from bench.samples import Samples, alternate, settle
from bench.scene import Scene
from bench.section import MILLISECONDS, TIMES, Limit, Row, Section

CROWD_FIRST = 10_000
FIRST = 1100
STRIDE = 7
"""Between scattered ports: no two of them are neighbours."""

ADD_LIMIT_S, RANGE_ADD_LIMIT_S, RANGE_REMOVE_LIMIT_S = 0.025, 0.010, 0.020
CROWD_FACTOR = 1.2
FILTERING = "bridge-nf-call 1"

TEXT = """Through the API: a sandbox with these ports published less one without ports, in the same round; everywhere
on the host, both families, TCP. *Scattered* are single ports, each asked for by itself; *shifted* is one request for
as many that lead to the next higher number, which takes an element a port. *Beside* means on a host where {crowd:,}
single ports are published already. *Same numbers* is a range of {crowd:,} that keeps its numbers: one element. On hosts
with *bridge-nf-call 1* frames inside bridges cross the inet hooks; there the relay carries `::1`, port by port."""

PEERS_TEXT = """A sandbox with so many ports published less one without, in the same round; every port leads to the
next higher number."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Ports in the API's words."""

    scattered: list[str]
    shifted: list[str]
    crowd: list[str]
    same: list[str]

    @classmethod
    def of(cls, effort: Effort) -> "_Asked":
        last, crowd_last = FIRST + effort.ports - 1, CROWD_FIRST + effort.crowd - 1
        return cls(
            [f"{FIRST + STRIDE * number}:80" for number in range(effort.ports)],
            [f"{FIRST}-{last}:{FIRST + 1}-{last + 1}"],
            [f"{CROWD_FIRST}-{crowd_last}:{CROWD_FIRST + 1}-{crowd_last + 1}"],
            [f"{CROWD_FIRST}-{crowd_last}:{CROWD_FIRST}-{crowd_last}"],
        )


def measure(effort: Effort) -> Section:
    """atoll with few and with many, in turn."""
    asked = _Asked.of(effort)
    with Scene() as scene:
        alone, beside = Atoll.on(scene.machine("alone")), Atoll.on(scene.machine("beside"))
        beside.create("crowd", asked.crowd)
        filtering = Atoll.on(scene.machine("filtering", filters=True))
        contestants: dict[str, Callable[[], float]] = {
            "scattered alone": partial(_added, alone, asked.scattered),
            "scattered beside": partial(_added, beside, asked.scattered),
            "scattered filtering": partial(_added, filtering, asked.scattered),
            "shifted alone": partial(_added, alone, asked.shifted),
            "shifted beside": partial(_added, beside, asked.shifted),
            "same added": partial(_added, alone, asked.same),
            "same removed": partial(_removed, alone, asked.same),
        }
        found = alternate(contestants, effort.port_rounds)
    return _section(found, effort)


def measure_peers(effort: Effort) -> Section:
    """Everybody at one port and at many, in turn."""
    with ExitStack() as stack:
        scene = stack.enter_context(Scene())
        cni, netavark, docker = map(scene.machine, ("cni", "netavark", "docker"))
        dockerd = stack.enter_context(Docker(docker, scene.room(docker)))
        peers: dict[str, Peer] = {
            "atoll": Atoll.on(scene.machine("atoll")),
            "CNI": Cni(cni, scene.room(cni)),
            "netavark": Netavark(netavark, scene.room(netavark)),
            "Docker": dockerd,
        }
        rows = []
        for count in (1, effort.peer_ports):
            turns = {name: partial(_publish, peer, count) for name, peer in peers.items()}
            rows += _rows(count, alternate(turns, effort.peer_port_rounds, warm_up=count == 1))
        if effort.docker_ports:
            turns = {name: partial(_publish, peers[name], effort.docker_ports) for name in ("atoll", "Docker")}
            rows += _rows(effort.docker_ports, alternate(turns, 1, warm_up=False))
    return Section("Ports, beside others", PEERS_TEXT, rows, base="over atoll")


def _publish(peer: Peer, count: int) -> float:
    without = once(peer, ())
    return once(peer, shifted(CROWD_FIRST, count)) - without


def _rows(count: int, found: dict[str, Samples]) -> list[Row]:
    what = "1 port" if count == 1 else f"{count:,} ports"
    return [Row(what, name, samples, base=found["atoll"]) for name, samples in found.items()]


def _added(atoll: Atoll, publish: list[str]) -> float:
    without = _times(atoll, [])[0]
    return _times(atoll, publish)[0] - without


def _removed(atoll: Atoll, publish: list[str]) -> float:
    without = _times(atoll, [])[1]
    return _times(atoll, publish)[1] - without


def _times(atoll: Atoll, publish: list[str]) -> tuple[float, float]:
    taken = atoll.create("published", publish), atoll.remove("published")
    settle()
    return taken


def _section(found: dict[str, Samples], effort: Effort) -> Section:
    rows, limits = [], []
    for kind in ("scattered", "shifted"):
        alone, beside = found[f"{kind} alone"], found[f"{kind} beside"]
        what = f"{effort.ports:,} {kind}"
        rows += [Row(what, "alone", alone), Row(what, f"beside {effort.crowd:,}", beside)]
        worst = max(alone.median, beside.median)
        limits.append(Limit(f"{what} ports, alone and beside {effort.crowd:,}", worst, ADD_LIMIT_S, MILLISECONDS))
        limits.append(Limit(f"{what} ports, beside over alone", beside.median / alone.median, CROWD_FACTOR, TIMES))
    filtering = found["scattered filtering"]
    rows.append(Row(f"{effort.ports:,} scattered", FILTERING, filtering))
    what = f"{effort.crowd:,} of the same numbers"
    rows += [Row(what, "added", found["same added"]), Row(what, "removed", found["same removed"])]
    limits.append(Limit(f"{what}, added", found["same added"].median, RANGE_ADD_LIMIT_S, MILLISECONDS))
    limits.append(Limit(f"{what}, removed", found["same removed"].median, RANGE_REMOVE_LIMIT_S, MILLISECONDS))
    return Section("Ports", TEXT.format(crowd=effort.crowd), rows, limits)
