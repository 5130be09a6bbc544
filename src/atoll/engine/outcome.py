"""What a verb returns."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from atoll.model.ops import Step
from atoll.plan.describe import line

T = TypeVar("T", covariant=True)
V = TypeVar("V")

SLICE_MAX = 16
"""Objects that a verb on many of them takes at a time: some 50 ms."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """A verb's result, the steps that made it so (or would, in a dry run), and what the caller should know."""

    value: T
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """Each step as the line a person would type, and the object that wants it."""
        return tuple((line(step), step.reason) for step in self.steps)


Slices = Generator[Outcome[V], None, None]
"""A verb on many objects, slice by slice: whoever goes on with it decides who has his turn between. What it does is
real after each slice; closed before its end it leaves the rest as it is."""


def parts_of(objects: Sequence[V]) -> Generator[Sequence[V], None, None]:
    """The objects in order, SLICE_MAX at a time."""
    for start in range(0, len(objects), SLICE_MAX):
        yield objects[start : start + SLICE_MAX]
