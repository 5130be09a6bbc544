"""From the kernel's notifications to the engine: read when some have come, handed over together."""

import asyncio
import logging

from atoll.api.backend import Queue
from atoll.engine.engine import Engine
from atoll.errors import AtollError
from atoll.kernel.monitor import Monitor

_log = logging.getLogger(__name__)

GATHER_S = 0.02
"""How long further notices are waited for: one deletion makes many."""
SWEEP_INTERVAL_S = 60.0
"""How often everything is looked at, for what the kernel tells nobody, such as a changed sysctl."""


async def follow_notices(monitor: Monitor, engine: Engine, queue: Queue) -> None:
    """Hand over notices for ever. What waits meanwhile waits in the kernel's buffer, whose overflow is a notice too."""
    while True:
        await _readable(monitor)
        await asyncio.sleep(GATHER_S)
        drained_ns = monitor.drained_ns
        try:
            await queue.run(engine.notice, monitor.read(), drained_ns)
        except AtollError as error:
            _log.error("repair: %s %s", error.message, error.detail)
        except Exception:
            _log.exception("repair failed")


async def sweep_regularly(engine: Engine, queue: Queue) -> None:
    """Sweep for ever."""
    while True:
        await asyncio.sleep(SWEEP_INTERVAL_S)
        try:
            await queue.run(engine.sweep)
        except AtollError as error:
            _log.error("sweep: %s %s", error.message, error.detail)
        except Exception:
            _log.exception("sweep failed")


async def _readable(monitor: Monitor) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    descriptors = monitor.filenos()
    for descriptor in descriptors:
        loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        # Watched only while waiting: they stay readable until they are read.
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
