"""Values of one thing, measured again and again, in turn with what it is compared with."""

import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)

SETTLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Samples:
    """Measured values, at least one, in one unit: seconds, bits a second, bytes."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> "Samples":
        """From any values."""
        return cls(tuple(values))

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    def quantile(self, hundredths: int) -> float:
        """The value that so many hundredths stay below; between two values where it falls between them."""
        if len(self.values) == 1:
            return self.values[0]
        return statistics.quantiles(self.values, n=100, method="inclusive")[hundredths - 1]

    def over(self, other: "Samples") -> "Samples":
        """Quotients round by round: what disturbs a round disturbs both. Both have as many values."""
        return Samples.of(mine / theirs for mine, theirs in zip(self.values, other.values, strict=True))

    def less(self, other: "Samples") -> "Samples":
        """Differences round by round."""
        return Samples.of(mine - theirs for mine, theirs in zip(self.values, other.values, strict=True))


def alternate(
    contestants: Mapping[Name, Callable[[], float]], rounds: int, *, warm_up: bool = True
) -> dict[Name, Samples]:
    """Measure each in turn, `rounds` times, another one first each time.

    `warm_up` adds a round before several, and doesn't count it.
    """
    values: dict[Name, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for name in names if warm_up and rounds > 1 else ():
        contestants[name]()
    for number in range(rounds):
        for name in _rotated(names, number):
            values[name].append(contestants[name]())
            settle()
    return {name: Samples.of(found) for name, found in values.items()}


def settle() -> None:
    """Pause, as the kernel deletes namespaces and cables behind the answer, and makes others wait for that."""
    time.sleep(SETTLE_S)


def _rotated(names: Sequence[Name], by: int) -> list[Name]:
    place = by % len(names)
    return [*names[place:], *names[:place]]
