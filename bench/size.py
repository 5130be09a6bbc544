"""A crowded network: how long it takes to fill, whether the host reaches everybody, and what the daemon weighs."""

import time
from concurrent.futures import ThreadPoolExecutor
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
TOGETHER = 2
TEXT = """Sandboxes on one network, made by clients that each wait for one before asking for the next, then a ping
from the host to each: on a network as it is by default, of IPv4 alone, by one client and by {together} at once, and on
one of both families. The limit is about the {together}. Resident memory is the daemon's own, once it has come to rest.
One run of it, so *n* is 1.{note}"""
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
        alone = _crowd(scene, "by-one", effort.sandboxes, clients=1, ipv6=False)
        plain = _crowd(scene, "by-two", effort.sandboxes, clients=TOGETHER, ipv6=False)
        dual = _crowd(scene, "both", effort.sandboxes, clients=TOGETHER, ipv6=True)
        with_ports = _with_ports(scene, effort.crowd)
    crowds = (alone, plain, dual)
    note = "".join(
        SHORT.format(made=each.made, wanted=effort.sandboxes, why=each.why_not_more)
        for each in crowds
        if each.why_not_more
    )
    who = f"{plain.made:,} sandboxes on one network"
    ports = f"{effort.crowd:,} published ports"
    silent = sum(each.silent for each in crowds)
    rows = [
        Row(who, "made in, by one client", Samples((alone.seconds,)), SECONDS),
        Row(who, f"made in, by {TOGETHER}", Samples((plain.seconds,)), SECONDS),
        Row(who, f"made in, of both families, by {TOGETHER}", Samples((dual.seconds,)), SECONDS),
        Row(who, "do not answer the host", Samples((float(silent),)), COUNT),
        Row(who, "daemon's resident memory", Samples((float(dual.resident),)), MEBIBYTES),
        Row(ports, "daemon's resident memory", Samples((float(with_ports),)), MEBIBYTES),
    ]
    limits = [
        Limit(f"{effort.sandboxes:,} sandboxes on one network", plain.made, effort.sandboxes, COUNT, least=True),
        Limit(f"{who}, made in, by {TOGETHER}", plain.seconds, FILL_LIMIT_S * plain.made, SECONDS),
        Limit(f"{who}: out of the host's reach", silent, 0, COUNT),
        Limit(f"resident memory with {who}", dual.resident, RESIDENT_LIMIT_BYTES, MEBIBYTES),
        Limit(f"resident memory with {ports}", with_ports, RESIDENT_LIMIT_BYTES, MEBIBYTES),
    ]
    return Section("Size", TEXT.format(note=note, together=TOGETHER), rows, limits)


def _crowd(scene: Scene, name: str, wanted: int, *, clients: int, ipv6: bool) -> _Crowd:
    host = scene.machine(name)
    atoll = Atoll.on(host)
    atoll.make_network(NETWORK, SUBNET, ipv6=ipv6)
    crews = [Atoll(atoll.daemon) for _ in range(clients)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        shares = [range(first, wanted, clients) for first in range(clients)]
        done = list(pool.map(_fill, crews, shares))
    filled = time.perf_counter() - begun
    made = sum(count for count, _ in done)
    addresses = [each["Networks"][NETWORK]["IPAddress"] for each in atoll.client.ask("GET", "/atoll/sandboxes")]
    silent = Worker(host, "bench.reaching").ask("unreached", addresses=addresses)
    busy_until(atoll.daemon.pid)
    why = next((why for _, why in done if why), "")
    return _Crowd(made, why, filled, len(silent), resident_bytes(atoll.daemon.pid))


def _fill(atoll: Atoll, numbers: range) -> tuple[int, str]:
    """How many could be made, and why not more."""
    for made, number in enumerate(numbers):
        try:
            atoll.create(f"s{number}", [], network=NETWORK)
        except RuntimeError as refused:
            return made, str(refused)
    return len(numbers), ""


def _with_ports(scene: Scene, count: int) -> int:
    atoll = Atoll.on(scene.machine("ports"))
    last = CROWD_FIRST + count - 1
    atoll.create("crowd", [f"{CROWD_FIRST}-{last}:{CROWD_FIRST + 1}-{last + 1}"])
    busy_until(atoll.daemon.pid)
    return resident_bytes(atoll.daemon.pid)
