"""The daemon's life: start the engine and the runtime, serve them, end when told to. Networks and containers stay."""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from atoll.api.app import make_app
from atoll.api.backend import Backend
from atoll.api.connection import Connection
from atoll.api.events import EventHub
from atoll.daemon.about import netns_inode, read_about
from atoll.daemon.arguments import Arguments
from atoll.daemon.contained import contained
from atoll.daemon.listener import BACKLOG, listen, notify_manager
from atoll.daemon.notices import follow_notices, sweep_regularly
from atoll.daemon.queue import EngineQueue
from atoll.daemon.servicewatch import follow_service
from atoll.daemon.wiring import NAMES_NAME, RELAY_NAME, Parts, start_engine
from atoll.engine.events import Event
from atoll.runtime.runtime import Runtime

_log = logging.getLogger(__name__)

ANSWERS_OUT_S = 2.0
"""How long open requests may take to their end when the daemon ends."""


async def serve(arguments: Arguments) -> None:
    """Run a daemon until it is told to end (SIGTERM, SIGINT, a purge).

    Raises what `start_engine` and `listen` raise.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    events = EventHub()

    def emit(event: Event) -> None:
        loop.call_soon_threadsafe(events.publish, event)

    queue = EngineQueue()
    try:
        parts = await queue.run(start_engine, arguments, emit)
        try:
            async with (
                contained(arguments, parts, queue, events) as runtime,
                _served(arguments, _backend(arguments, parts, queue, runtime, events, ended)),
                _followed(arguments, parts, queue),
            ):
                manager = os.environ.get("NOTIFY_SOCKET", "")
                notify_manager(manager, "READY=1")
                _log.info("serving %s, state in %s", arguments.socket, arguments.state)
                await ended.wait()
                notify_manager(manager, "STOPPING=1")
                _log.info("ending; networks and sandboxes stay as they are")
        finally:
            await queue.run(parts.close)
    finally:
        await queue.stop()


def _backend(
    arguments: Arguments,
    parts: Parts,
    queue: EngineQueue,
    runtime: Runtime,
    events: EventHub,
    ended: asyncio.Event,
) -> Backend:
    return Backend(
        engine=parts.engine,
        queue=queue,
        runtime=runtime,
        events=events,
        about=read_about(arguments, parts.engine_id),
        now_ns=time.time_ns,
        netns_inode=netns_inode,
        stop=ended.set,
    )


@asynccontextmanager
async def _served(arguments: Arguments, backend: Backend) -> AsyncIterator[None]:
    """The API on its socket, as long as the block lasts; answers under way are finished."""
    listening = listen(arguments.socket)
    # A client that goes takes its request along, unless the engine has begun it.
    runner = web.AppRunner(make_app(backend), handler_cancellation=True, shutdown_timeout=ANSWERS_OUT_S)
    try:
        await runner.setup()
        accepting = await _accept(runner, listening)
        try:
            yield
        finally:
            accepting.close()
    finally:
        backend.events.close()
        await runner.cleanup()
        arguments.socket.unlink(missing_ok=True)


async def _accept(runner: web.AppRunner, listening: socket.socket) -> asyncio.Server:
    connections = runner.server
    assert connections is not None, "an application that was not set up"
    loop = asyncio.get_running_loop()
    silent = logging.Logger("access", logging.CRITICAL)
    return await loop.create_unix_server(
        # A body is what came, as with Docker: encoded ones would be unpacked to any size, also those that nobody reads.
        lambda: Connection(connections, loop=loop, access_log=silent, auto_decompress=False),
        sock=listening,
        backlog=BACKLOG,
    )


@asynccontextmanager
async def _followed(arguments: Arguments, parts: Parts, queue: EngineQueue) -> AsyncIterator[None]:
    """Repairs and background work, as long as the block lasts."""
    queue.set_idle(parts.engine.idle)
    tasks = [
        asyncio.create_task(follow_notices(parts.monitor, parts.engine, queue)),
        asyncio.create_task(sweep_regularly(parts.engine, queue)),
        asyncio.create_task(follow_service(arguments.run / NAMES_NAME, parts.engine.renew_names, queue)),
        asyncio.create_task(follow_service(arguments.run / RELAY_NAME, parts.engine.renew_relay, queue)),
    ]
    # The first slice of what the start left to do comes with the first call.
    await queue.run(lambda: None)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
