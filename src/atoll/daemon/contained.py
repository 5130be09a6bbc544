"""The runtime of containers as long as the daemon lives: after the engine, which it needs, and ended before it."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from atoll.api.events import EventHub
from atoll.daemon.arguments import Arguments
from atoll.daemon.containing import EngineNetwork, EngineRecords
from atoll.daemon.queue import EngineQueue
from atoll.daemon.wiring import Parts
from atoll.engine.events import Event
from atoll.model.names import ID_LENGTH
from atoll.runtime.parts import ContainerEvent
from atoll.runtime.runtime import Runtime


@asynccontextmanager
async def contained(arguments: Arguments, parts: Parts, queue: EngineQueue, events: EventHub) -> AsyncIterator[Runtime]:
    """A started runtime as long as the block lasts; its containers run on. Raises StoreCorrupt, OSError."""
    runtime = Runtime(
        state=arguments.state,
        run=arguments.run,
        records=EngineRecords(parts.engine, queue),
        network=EngineNetwork(parts.engine, queue, arguments.resolv_conf),
        now_ns=time.time_ns,
        new_id=lambda: secrets.token_hex(ID_LENGTH // 2),
        emit=lambda event: events.publish(_event(event)),
    )
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.close()


def _event(told: ContainerEvent) -> Event:
    """An event of a container with its labels, as Docker's events have them."""
    container = told.container
    return Event("container", told.action, container.id, told.time_ns, {**container.config.labels, **told.attributes})
