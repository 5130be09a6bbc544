"""The engine's thread: calls are made one after another, and background work when nobody waits."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from atoll.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)

WAITING_MAX = 1024
"""Calls that may wait; further ones are refused."""
IDLE_AFTER_S = 0.05
"""Silence after which background work begins: a burst of removals is to be finished as one."""


@dataclass(frozen=True, slots=True)
class _Call:
    make: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Any]


class EngineQueue:
    """One thread and the calls that wait for it, in the order of their coming."""

    def __init__(self) -> None:
        self._calls: queue.Queue[_Call | None] = queue.Queue(WAITING_MAX)
        self._idle: Callable[[], float | None] = _nothing
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()

    def set_idle(self, idle: Callable[[], float | None]) -> None:
        """Call `idle` whenever calls were made and no more wait, and again after the seconds that it returns."""
        self._idle = idle

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call in the engine's thread; its result or its error.

        A caller that is cancelled before its turn is passed over; once begun, a call is finished. Raises
        Unavailable when too many wait.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        try:
            self._calls.put_nowait(_Call(lambda: call(*args, **kwargs), loop, result))
        except queue.Full:
            raise Unavailable(f"{WAITING_MAX} requests wait already", hint="try again") from None
        return await result

    async def stop(self) -> None:
        """End the thread once what waits is done."""
        await asyncio.to_thread(self._calls.put, None)
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        patience_s: float | None = None
        while True:
            try:
                call = self._calls.get(timeout=patience_s)
            except queue.Empty:
                # A slice at a time, and at least a look at the queue between two.
                patience_s = self._work_idly()
                continue
            if call is None:
                return
            if not call.result.cancelled():
                _make(call)
            patience_s = IDLE_AFTER_S

    def _work_idly(self) -> float | None:
        try:
            wait_s = self._idle()
        except Exception:
            _log.exception("background work failed")
            return None
        return None if wait_s is None else max(wait_s, 0.001)


def _make(call: _Call) -> None:
    try:
        result = call.make()
    except StopIteration as error:
        # A future can't hold it, and its caller would wait for ever.
        call.loop.call_soon_threadsafe(_fail, call.result, RuntimeError(f"StopIteration: {error}"))
    except BaseException as error:
        call.loop.call_soon_threadsafe(_fail, call.result, error)
    else:
        call.loop.call_soon_threadsafe(_succeed, call.result, result)


def _succeed(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _nothing() -> float | None:
    return None
