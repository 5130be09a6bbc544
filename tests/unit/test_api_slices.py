"""Verbs in slices: others have their turn between, and a caller that goes leaves the rest undone."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any

import pytest

from atoll.api.slices import run_slices
from atoll.daemon.queue import EngineQueue
from atoll.engine.outcome import Outcome, Slices
from atoll.errors import StoreFull


def with_queue(test: Callable[[EngineQueue], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        calls = EngineQueue()
        try:
            await test(calls)
        finally:
            await calls.stop()

    asyncio.run(run())


def counting(made: list[str], count: int = 3) -> Slices[int]:
    try:
        for number in range(count):
            made.append(f"slice {number} by {threading.current_thread().name}")
            yield Outcome(number, warnings=(f"warning {number}",))
    finally:
        made.append(f"closed by {threading.current_thread().name}")


def test_values_and_warnings_of_all_slices_come_together() -> None:
    async def test(calls: EngineQueue) -> None:
        made: list[str] = []
        assert await run_slices(calls, counting, made) == Outcome(
            [0, 1, 2], warnings=("warning 0", "warning 1", "warning 2")
        )
        assert made == [*(f"slice {number} by engine" for number in range(3)), "closed by engine"]

    with_queue(test)


def test_others_have_their_turn_between_two_slices() -> None:
    async def test(calls: EngineQueue) -> None:
        made: list[str] = []
        many = asyncio.create_task(run_slices(calls, counting, made, 50))
        while not made:
            await calls.run(lambda: None)
        await calls.run(lambda: made.append("other"))
        await many
        assert 0 < made.index("other") < 50

    with_queue(test)


def test_a_caller_that_goes_leaves_the_rest_undone() -> None:
    async def test(calls: EngineQueue) -> None:
        made: list[str] = []
        many = asyncio.create_task(run_slices(calls, counting, made, 1000))
        while len(made) < 3:
            await asyncio.sleep(0)
        many.cancel()
        with suppress(asyncio.CancelledError):
            await many
        await calls.run(lambda: None)
        assert len(made) < 1000
        assert made[-1] == "closed by engine"

    with_queue(test)


def test_an_error_of_a_slice_is_the_callers() -> None:
    def full() -> Generator[Outcome[int], None, None]:
        yield Outcome(1)
        raise StoreFull("no room")

    async def test(calls: EngineQueue) -> None:
        with pytest.raises(StoreFull):
            await run_slices(calls, full)

    with_queue(test)
