"""The engine's thread: calls in order, one at a time; errors to their callers; idle work in between."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from atoll.daemon import queue
from atoll.daemon.queue import EngineQueue
from atoll.errors import InvalidRequest, Unavailable


def with_queue(test: Callable[[EngineQueue], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        calls = EngineQueue()
        try:
            await test(calls)
        finally:
            await calls.stop()

    asyncio.run(run())


def test_calls_are_made_in_order_by_one_thread() -> None:
    async def test(calls: EngineQueue) -> None:
        made: list[tuple[int, str]] = []

        def note(number: int) -> int:
            made.append((number, threading.current_thread().name))
            return number

        assert await asyncio.gather(*(calls.run(note, number) for number in range(50))) == list(range(50))
        assert made == [(number, "engine") for number in range(50)]

    with_queue(test)


def test_an_error_reaches_its_caller_and_no_other() -> None:
    async def test(calls: EngineQueue) -> None:
        def refuse() -> None:
            raise InvalidRequest("no")

        answers = await asyncio.gather(calls.run(refuse), calls.run(lambda: 7), return_exceptions=True)
        assert isinstance(answers[0], InvalidRequest)
        assert answers[1] == 7

    with_queue(test)


def test_an_error_that_no_future_can_hold_is_told_too() -> None:
    async def test(calls: EngineQueue) -> None:
        nothing: list[int] = []
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(calls.run(lambda: next(iter(nothing))), 5)

    with_queue(test)


def test_a_call_whose_caller_has_gone_is_passed_over() -> None:
    async def test(calls: EngineQueue) -> None:
        made: list[str] = []
        go = threading.Event()
        first = asyncio.create_task(calls.run(lambda: (go.wait(5), made.append("first"))))
        gone = asyncio.create_task(calls.run(lambda: made.append("gone")))
        await asyncio.sleep(0.05)
        gone.cancel()
        first.cancel()  # it is being made, and so is finished
        await asyncio.sleep(0)
        go.set()
        await calls.run(lambda: made.append("last"))
        assert made == ["first", "last"]

    with_queue(test)


def test_too_many_are_refused() -> None:
    async def test(calls: EngineQueue) -> None:
        go = threading.Event()
        held = asyncio.create_task(calls.run(lambda: go.wait(5)))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(calls.run(lambda: None)) for _ in range(queue.WAITING_MAX)]
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable):
            await calls.run(lambda: None)
        go.set()
        await asyncio.gather(held, *waiting)

    with_queue(test)


def test_idle_work_waits_for_silence_and_ends_by_itself() -> None:
    async def test(calls: EngineQueue) -> None:
        made: list[str] = []

        def idle() -> float | None:
            made.append("slice")
            return 0 if made.count("slice") < 3 else None

        calls.set_idle(idle)
        await asyncio.sleep(0.1)
        assert made == []
        for _ in range(3):
            await calls.run(lambda: made.append("call"))
        deadline = time.monotonic() + 5
        while made.count("slice") < 3 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert made == ["call"] * 3 + ["slice"] * 3

    with_queue(test)


def test_idle_work_comes_again_after_the_seconds_it_asks_for() -> None:
    async def test(calls: EngineQueue) -> None:
        times: list[float] = []

        def idle() -> float | None:
            times.append(time.monotonic())
            return 0.2 if len(times) < 2 else None

        calls.set_idle(idle)
        await calls.run(lambda: None)
        await asyncio.sleep(0.6)
        assert len(times) == 2
        assert 0.2 <= times[1] - times[0] < 0.4

    with_queue(test)


def test_failing_idle_work_is_left_until_the_next_call() -> None:
    async def test(calls: EngineQueue) -> None:
        tries: list[float] = []

        def idle() -> float | None:
            tries.append(time.monotonic())
            raise OSError("broken")

        calls.set_idle(idle)
        await calls.run(lambda: None)
        await asyncio.sleep(0.3)
        assert len(tries) == 1
        assert await calls.run(lambda: "alive") == "alive"

    with_queue(test)
