"""A crowded network: how long it takes to fill, whether the host reaches everybody, and what the daemon weighs."""

import time
from dataclasses import dataclass

from bench.effort import Effort
from bench.peers.atoll import Atoll
from bench.ports import CROWD_FIRST
from bench.processes import busy_until, resident_bytes
from bench.samples import Samples
from bench.scene import Scene
from bench.section import COUNT, MEBIBYTES, SECONDS, Limit, Row, Section
from bench.worker import Worker

NETWORK, SUBNET = "crowded", "10.66.0.0/16"
FILL_LIMIT_S = 6 / 1500
"""For each sandbox."""
RESIDENT_LIMIT_BYTES = 120 << 20
TEXT = """Sandboxes on one network, made by one client one after another, then a ping from the host to each: on a
network as it is by default, of IPv4 alone, and on one of both families. Resident memory is the daemon's own, once it
has come to rest. One run of it, so *n* is 1.{note}"""
SHORT = " The network took {made:,} of {wanted:,} and then said: {why}"


@dataclass(frozen=True, slots=True)
class _Crowd:
    """What became of a crowded network."""

    made: int
    why_not_more: str
    seconds: float
    silent: int
    resident: int


def measure(effort: Effort) -> Section:
    """Fill networks, and publish many ports on another host."""
    with Scene() as scene:
        plain = _crowd(scene, effort.sandboxes, ipv6=False)
        dual = _crowd(scene, effort.sandboxes, ipv6=True)
        with_ports = _with_ports(scene, effort.crowd)
    note = "".join(
        SHORT.format(made=each.made, wanted=effort.sandboxes, why=each.why_not_more)
        for each in (plain, dual)
        if each.why_not_more
    )
    who = f"{plain.made:,} sandboxes on one network"
    ports = f"{effort.crowd:,} published ports"
    rows = [
        Row(who, "made in", Samples((plain.seconds,)), SECONDS),
        Row(who, "made in, of both families", Samples((dual.seconds,)), SECONDS),
        Row(who, "do not answer the host", Samples((float(plain.silent + dual.silent),)), COUNT),
        Row(who, "daemon's resident memory", Samples((float(dual.resident),)), MEBIBYTES),
        Row(ports, "daemon's resident memory", Samples((float(with_ports),)), MEBIBYTES),
    ]
    limits = [
        Limit(f"{effort.sandboxes:,} sandboxes on one network", plain.made, effort.sandboxes, COUNT, least=True),
        Limit(f"{who}, made in", plain.seconds, FILL_LIMIT_S * plain.made, SECONDS),
        Limit(f"{who}: out of the host's reach", plain.silent + dual.silent, 0, COUNT),
        Limit(f"resident memory with {who}", dual.resident, RESIDENT_LIMIT_BYTES, MEBIBYTES),
        Limit(f"resident memory with {ports}", with_ports, RESIDENT_LIMIT_BYTES, MEBIBYTES),
    ]
    return Section("Size", TEXT.format(note=note), rows, limits)


def _crowd(scene: Scene, wanted: int, *, ipv6: bool) -> _Crowd:
    host = scene.machine("crowded-dual" if ipv6 else "crowded")
    atoll = Atoll.on(host)
    atoll.make_network(NETWORK, SUBNET, ipv6=ipv6)
    begun = time.perf_counter()
    made, why = _fill(atoll, wanted)
    filled = time.perf_counter() - begun
    addresses = [each["Networks"][NETWORK]["IPAddress"] for each in atoll.client.ask("GET", "/atoll/sandboxes")]
    silent = Worker(host, "bench.reaching").ask("unreached", addresses=addresses)
    busy_until(atoll.daemon.pid)
    return _Crowd(made, why, filled, len(silent), resident_bytes(atoll.daemon.pid))


def _fill(atoll: Atoll, count: int) -> tuple[int, str]:
    """How many could be made, and why not more."""
    for number in range(count):
        try:
            atoll.create(f"s{number}", [], network=NETWORK)
        except RuntimeError as refused:
            return number, str(refused)
    return count, ""


def _with_ports(scene: Scene, count: int) -> int:
    atoll = Atoll.on(scene.machine("ports"))
    last = CROWD_FIRST + count - 1
    atoll.create("crowd", [f"{CROWD_FIRST}-{last}:{CROWD_FIRST + 1}-{last + 1}"])
    busy_until(atoll.daemon.pid)
    return resident_bytes(atoll.daemon.pid)
