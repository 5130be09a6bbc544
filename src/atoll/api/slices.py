"""Verbs that go in slices: each is a call of its own to the engine's thread, so others have their turn between."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from atoll.api.backend import Queue
from atoll.engine.outcome import Outcome, Slices

P = ParamSpec("P")
T = TypeVar("T")


async def run_slices(
    queue: Queue, verb: Callable[P, Slices[T]], /, *args: P.args, **kwargs: P.kwargs
) -> Outcome[list[T]]:
    """Carry a verb through; the values of all slices, and their steps and warnings as one.

    A caller that is cancelled has the slice under way finished, and the rest left as it is. Raises what a slice raises.
    """
    slices = await queue.run(verb, *args, **kwargs)
    found: list[Outcome[T]] = []
    try:
        while (outcome := await queue.run(lambda: next(slices, None))) is not None:
            found.append(outcome)
    except asyncio.CancelledError:
        await asyncio.shield(queue.run(slices.close))
        raise
    steps = tuple(step for outcome in found for step in outcome.steps)
    warnings = tuple(warning for outcome in found for warning in outcome.warnings)
    return Outcome([outcome.value for outcome in found], steps, warnings)
