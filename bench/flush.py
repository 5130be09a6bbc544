"""A foreign `nft flush ruleset` on a host with many published ports, whose tables are owned or shared."""

import socket
import time
from functools import partial

from atoll.kernel import netns
from atoll.lab.host import Host
from atoll.lab.probe import Answerer
from bench.effort import Effort
from bench.peers.atoll import NETWORK, Atoll
from bench.samples import Samples, settle
from bench.scene import Scene
from bench.section import SECONDS, Limit, Row, Section

FIRST = 20_000
ANSWER_S, PATIENCE_S = 0.02, 30.0
WHOLE_LIMIT_S = 1.0
TEXT = """From another program's `nft flush ruleset` until a host outside is answered at the last of {ports:,}
published ports. *Owned* tables, the default, aren't reached by it; *shared* ones are put back by one transaction."""


def measure(effort: Effort) -> Section:
    """Flush, and ask until there is an answer."""
    with Scene() as scene:
        outside = scene.machine("outside")
        hosts = {"owned": scene.machine("owned"), "shared": scene.machine("shared")}
        for name, options in (("owned", ()), ("shared", ("--shared-tables",))):
            _publish(hosts[name], options, effort.flush_ports)
        found = {
            name: Samples.of(_whole_after_flush(host, outside, effort.flush_ports) for _ in range(effort.flushes))
            for name, host in hosts.items()
        }
    what = f"flush under {effort.flush_ports:,} ports"
    rows = [Row(what, f"{name} tables", samples, SECONDS) for name, samples in found.items()]
    limits = [Limit(f"{what}, shared tables whole again", found["shared"].median, WHOLE_LIMIT_S, SECONDS)]
    return Section("Flushed rules", TEXT.format(ports=effort.flush_ports), rows, limits)


def _publish(host: Host, options: tuple[str, ...], count: int) -> None:
    atoll = Atoll(host.start_daemon(*options))
    atoll.make_network(NETWORK)
    last = FIRST + count - 1
    atoll.create("web", [f"{FIRST}-{last}:{FIRST + 1}-{last + 1}"])
    Answerer(host.sandbox("web"), "web", [("tcp", "0.0.0.0", last + 1)])


def _whole_after_flush(host: Host, outside: Host, count: int) -> float:
    host.run("nft flush ruleset")
    begun = time.perf_counter()
    netns.run_in(str(outside.path), partial(_await_answer, str(host.address()), FIRST + count - 1))
    taken = time.perf_counter() - begun
    settle()
    return taken


def _await_answer(address: str, port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with socket.socket() as client:
            client.settimeout(ANSWER_S)
            if client.connect_ex((address, port)) == 0:
                return
    raise RuntimeError(f"{address}:{port} has not answered for {PATIENCE_S:.0f} s")
