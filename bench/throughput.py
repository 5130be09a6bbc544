"""TCP throughput: between sandboxes, out through NAT, in through a published port, beside the bare kernel's."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from atoll.lab.namespace import Namespace
from bench import iperf
from bench.bare import Bare
from bench.effort import Effort
from bench.peers.atoll import Atoll
from bench.samples import Samples, alternate
from bench.scene import Scene
from bench.section import GIGABITS, TIMES, Limit, Row, Section

BETWEEN, OUT, IN = "from sandbox to sandbox", "out through masquerade", "in through a published port"
BARE, AGAIN, ATOLL = "bare", "bare again", "atoll"
FILTERING = ", bridge-nf-call 1"
LEAST = 0.97
TEXT = """One TCP connection, {size} MiB each time, every path by turns. *Bare* is a host with a bridge, two cables,
and for the ways out and in one nftables rule each, masquerade and DNAT; *bare again* is another such host, and shows
what of a difference is none. The limits are about the median of the quotients round by round."""


@dataclass(frozen=True, slots=True)
class _Site:
    """Two namespaces on a network of one host, and the addresses that lead to the second: its own, its host's."""

    sender: Namespace
    receiver: Namespace
    receiver_address: str
    host_address: str


@dataclass(frozen=True, slots=True)
class _Turn:
    path: str
    who: str
    filters: bool


def measure(effort: Effort) -> Section:
    """Every path, atoll's and the bare one, in turn."""
    with Scene() as scene:
        outside = scene.machine("outside")
        iperf.serve(outside)
        contestants: dict[_Turn, Callable[[], float]] = {}
        for filters in (False, True):
            sites = {
                BARE: _bare(scene, f"bare{filters:d}", filters=filters),
                AGAIN: _bare(scene, f"again{filters:d}", filters=filters),
                ATOLL: _managed(scene, filters=filters),
            }
            for who, site in sites.items():
                iperf.serve(site.receiver)
                for path, source, target in (
                    (BETWEEN, site.sender, site.receiver_address),
                    (OUT, site.sender, str(outside.address())),
                    (IN, outside, site.host_address),
                ):
                    send = partial(iperf.transfer, source, target, effort.pair_bytes)
                    contestants[_Turn(path, who, filters)] = send
        found = alternate(contestants, effort.pairs)
    return _section(found, effort)


def _managed(scene: Scene, *, filters: bool) -> _Site:
    host = scene.machine(f"managed{filters:d}", filters=filters)
    atoll = Atoll.on(host)
    atoll.create("sender", [])
    atoll.create("receiver", [f"{iperf.PORT}:{iperf.PORT}"])
    (place,) = atoll.client.ask("GET", "/atoll/sandboxes/receiver")["Networks"].values()
    return _Site(host.sandbox("sender"), host.sandbox("receiver"), place["IPAddress"], str(host.address()))


def _bare(scene: Scene, name: str, *, filters: bool) -> _Site:
    bare = Bare(scene, name, filters=filters)
    sender, _ = bare.guest()
    receiver, address = bare.guest()
    bare.masquerade()
    bare.lead_in(iperf.PORT, address)
    return _Site(sender, receiver, address, str(bare.host.address()))


def _section(found: dict[_Turn, Samples], effort: Effort) -> Section:
    rows, limits = [], []
    for filters, suffix in ((False, ""), (True, FILTERING)):
        for path in (BETWEEN, OUT, IN):
            bare = found[_Turn(path, BARE, filters)]
            rows += [
                Row(path + suffix, who, found[_Turn(path, who, filters)], GIGABITS, bare)
                for who in (BARE, AGAIN, ATOLL)
            ]
            quotient = found[_Turn(path, ATOLL, filters)].over(bare).median
            limits.append(Limit(f"throughput {path}{suffix}, over bare", quotient, LEAST, TIMES, least=True))
    return Section("Throughput", TEXT.format(size=effort.pair_bytes >> 20), rows, limits, base="over bare")
