"""What a verb returns."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from atoll.model.ops import Step
from atoll.plan.describe import line

T = TypeVar("T", covariant=True)


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
