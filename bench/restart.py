"""A daemon's start beside many sandboxes that are there already."""

import time

from bench.effort import Effort
from bench.peers.atoll import Atoll
from bench.processes import QUIET_S, busy_until
from bench.samples import Samples
from bench.scene import Scene
from bench.section import SECONDS, Limit, Row, Section

READY_LIMIT_S, SWEPT_LIMIT_S = 1.5, 10.0
TEXT = """The daemon is killed and started again beside {sandboxes:,} sandboxes. *Ready* is when it answers requests,
*swept* when it has looked into every sandbox: when it last used the processor before {quiet:.0f} s of quiet. Both
count from the start of its process."""


def measure(effort: Effort) -> Section:
    """Kill and start, again and again."""
    ready, swept = [], []
    with Scene() as scene:
        atoll = Atoll.on(scene.machine("host"))
        for number in range(effort.restart_sandboxes):
            atoll.create(f"s{number}", [])
        busy_until(atoll.daemon.pid)
        for _ in range(effort.restarts):
            atoll.daemon.kill()
            begun = time.monotonic()
            ready.append(atoll.daemon.restart())
            swept.append(busy_until(atoll.daemon.pid) - begun)
    beside = f"start beside {effort.restart_sandboxes:,} sandboxes"
    found = {"ready": Samples.of(ready), "swept": Samples.of(swept)}
    rows = [Row(beside, what, samples, SECONDS) for what, samples in found.items()]
    limits = [
        Limit(f"{beside}, ready", found["ready"].median, READY_LIMIT_S, SECONDS),
        Limit(f"{beside}, swept", found["swept"].median, SWEPT_LIMIT_S, SECONDS),
    ]
    return Section("Restart", TEXT.format(sandboxes=effort.restart_sandboxes, quiet=QUIET_S), rows, limits)
