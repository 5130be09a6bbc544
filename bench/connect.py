"""New connections through the last of many published ports."""

from collections.abc import Callable
from functools import partial

from atoll.lab.host import Host
from atoll.lab.namespace import Namespace
from bench.bare import Bare
from bench.effort import Effort
from bench.peers.atoll import Atoll
from bench.samples import Samples, alternate
from bench.scene import Scene
from bench.section import MICROSECONDS, Limit, Row, Section
from bench.worker import Worker

FIRST = 10_000
MODULE = "bench.connecting"
TEXT = """How long connect() takes from another host to the last of so many published ports, each on a host of its
own; a value is the median of {connects} connections. *iptables* is the chain of DNAT rules that Docker, CNI and
netavark make of as many ports, and nothing else on the host."""


def measure(effort: Effort) -> Section:
    """Every number of ports, atoll's way and as a chain of rules, in turn."""
    with Scene() as scene:
        client = Worker(scene.machine("client"), MODULE)
        contestants: dict[str, Callable[[], float]] = {}
        for number, count in enumerate(effort.connect_ports):
            for who, host in (
                ("atoll", _published(scene, number, count)),
                ("iptables", _chained(scene, number, count)),
            ):
                where = {"address": str(host.address()), "port": FIRST + count - 1, "count": effort.connects}
                contestants[f"{who} {count}"] = partial(client.ask, "connect", **where)
        found = alternate(contestants, effort.connect_rounds)
    return _section(found, effort)


def _published(scene: Scene, number: int, count: int) -> Host:
    host = scene.machine(f"atoll-{number}")
    Atoll.on(host).create("web", [f"{FIRST}-{FIRST + count - 1}:{FIRST + 1}-{FIRST + count}"])
    _listen(host.sandbox("web"), FIRST + count)
    return host


def _chained(scene: Scene, number: int, count: int) -> Host:
    bare = Bare(scene, f"bare-{number}")
    guest, address = bare.guest()
    bare.chain_in(FIRST, count, address)
    _listen(guest, FIRST + count)
    return bare.host


def _listen(space: Namespace, port: int) -> None:
    Worker(space, MODULE).ask("listen", port=port)


def _section(found: dict[str, Samples], effort: Effort) -> Section:
    one = found["atoll 1"]
    rows = [
        Row(f"the last of {count:,}", who, found[f"{who} {count}"], MICROSECONDS, base=one)
        for count in effort.connect_ports
        for who in ("atoll", "iptables")
    ]
    limits = [
        Limit(
            f"connect through the last of {count:,} ports, within the upper quartile of the last of 1",
            found[f"atoll {count}"].median,
            one.quantile(75),
            MICROSECONDS,
        )
        for count in effort.connect_ports[1:]
    ]
    return Section("Connections", TEXT.format(connects=effort.connects), rows, limits, base="over atoll at 1")
