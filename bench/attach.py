"""Attach: a namespace, its cable, addresses and routes of both families, and one published port."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bench.effort import Effort
from bench.peers.atoll import Atoll
from bench.peers.cni import Cni
from bench.peers.docker import Docker
from bench.peers.netavark import Netavark
from bench.peers.peer import Peer, once
from bench.samples import Samples, alternate
from bench.scene import Scene
from bench.section import TIMES, Limit, Row, Section
from bench.worker import Worker

PORTS = [(8080, 80)]
STORM_FIRST = 10_000
"""Host port of the first attach in a storm; each of them publishes the next."""
TEXT = """A namespace, its cable, addresses and routes of both families and one published port, of a sandbox at a time.
*Floor* are the very bytes that the engine sends for it to rtnetlink and nftables, the sockets it binds and the rows it
commits, sent again in a bare loop without claiming, planning, looking or encoding, on a namespace that it makes at
that moment; the engine takes one that was made in advance. *Engine* is its verb called in a process, *daemon* the
whole HTTP request. CNI is bridge with host-local, then portmap; netavark's addresses are given; neither is charged for
making the namespace. Docker is `run` with its bridge less `run` without a network. *While others go*: whole requests
while another client removes {storm} sandboxes one after another, and until their cables are gone."""


def measure(effort: Effort) -> Section:
    """Attach as everybody does it, in turn."""
    with ExitStack() as stack:
        scene = stack.enter_context(Scene())
        within, cni, netavark, docker = map(scene.machine, ("engine", "cni", "netavark", "docker"))
        pair = Worker(within, "bench.inprocess", str(scene.room(within)), str(within.netns_directory))
        host = scene.machine("daemon")
        daemon = Atoll.on(host)
        peers: dict[str, Peer] = {
            "daemon": daemon,
            "CNI": Cni(cni, scene.room(cni)),
            "netavark": Netavark(netavark, scene.room(netavark)),
            "Docker": stack.enter_context(Docker(docker, scene.room(docker))),
        }
        contestants: dict[str, Callable[[], float]] = {
            "floor": lambda: float(pair.ask("floor")),
            "engine": lambda: float(pair.ask("engine")),
            **{name: partial(once, peer, PORTS) for name, peer in peers.items()},
        }
        found = alternate(contestants, effort.attach_rounds)
        other = Worker(host, "bench.removing", str(daemon.daemon.socket))
        storms = (_storm(daemon, other, effort.storm_sandboxes) for _ in range(effort.storms))
        busy = Samples.of(value for storm in storms for value in storm)
    return _section(found, busy, effort)


def _storm(daemon: Atoll, other: Worker, count: int) -> list[float]:
    """Attaches as long as another client removes `count` sandboxes, and until their cables are gone."""
    names = [f"doomed-{number}" for number in range(count)]
    for name in names:
        daemon.create(name, [])
    removal = threading.Thread(target=partial(other.ask, "remove", names=names))
    taken: list[float] = []
    removal.start()
    while removal.is_alive():
        taken.append(daemon.create(f"new-{len(taken)}", [f"{STORM_FIRST + len(taken)}:80"]))
    removal.join()
    for number in range(len(taken)):
        daemon.remove(f"new-{number}")
    return taken


def _section(found: dict[str, Samples], busy: Samples, effort: Effort) -> Section:
    floor = found["floor"]
    rows = [Row("attach", name, samples, base=floor) for name, samples in found.items()]
    rows.append(Row(f"attach while {effort.storm_sandboxes} others go", "daemon", busy, base=floor))
    calm = found["daemon"].median
    limits = [
        Limit("attach in the engine, over the floor", found["engine"].median / floor.median, 2),
        *(
            Limit(f"attach, whole request, over {name}", calm / found[name].median, 0.1, TIMES)
            for name in ("CNI", "netavark")
        ),
        Limit(
            f"attach while {effort.storm_sandboxes} sandboxes are deleted, p99 over p50", busy.quantile(99) / calm, 5
        ),
    ]
    return Section("Attach", TEXT.format(storm=effort.storm_sandboxes), rows, limits, base="over the floor")
