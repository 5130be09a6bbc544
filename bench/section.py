"""What a subject found out: rows of figures, and how they stand to the limits that the project has set itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.samples import Samples


@dataclass(frozen=True, slots=True)
class Unit:
    """How values are shown: divided by `divisor`, with so many `digits` behind the point."""

    name: str
    divisor: float = 1
    digits: int = 2

    def show(self, value: float) -> str:
        """The value, without the unit."""
        return f"{value / self.divisor:,.{self.digits}f}"


MILLISECONDS = Unit("ms", 1e-3)
MICROSECONDS = Unit("us", 1e-6, 1)
SECONDS = Unit("s", 1)
GIGABITS = Unit("Gbit/s", 1e9)
MEBIBYTES = Unit("MiB", 1 << 20, 1)
TIMES = Unit("x")
COUNT = Unit("", 1, 0)


@dataclass(frozen=True, slots=True)
class Row:
    """One thing, as one contestant does it; `base` is what it is held against, in the same run."""

    what: str
    who: str
    samples: Samples
    unit: Unit = MILLISECONDS
    base: Samples | None = None

    @property
    def factor(self) -> float | None:
        """How many times the base, median over median."""
        return None if self.base is None else self.samples.median / self.base.median


@dataclass(frozen=True, slots=True)
class Limit:
    """A promise and what this run found; `least` turns it round: not below the limit."""

    promise: str
    found: float
    limit: float
    unit: Unit = TIMES
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether this run kept it."""
        return self.found >= self.limit if self.least else self.found <= self.limit


@dataclass(frozen=True, slots=True)
class Section:
    """A subject. `text` says what was done, and with whom; `base` what the factors are over."""

    title: str
    text: str
    rows: Sequence[Row]
    limits: Sequence[Limit] = ()
    base: str = ""
