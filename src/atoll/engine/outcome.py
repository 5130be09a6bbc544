"""What a verb returns."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from atoll.model.ops import Step

T = TypeVar("T", covariant=True)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """A verb's result, the steps that made it so (or would, in a dry run), and what the caller should know."""

    value: T
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
