"""A set of numbers as disjoint runs, so that the lowest free one is found without looking at all of them."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

_ONE_BY_ONE_MAX = 16
"""More changes at once cost less by making all runs anew."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Numbers that are taken: run `i` is `firsts[i]`..`lasts[i]`, in order, with a gap before the next.

    Equal sets are equal runs. Numbers given out one after the other are a single run; finding costs O(log runs),
    and a changed copy a copy of the two tuples.
    """

    firsts: tuple[int, ...] = ()
    lasts: tuple[int, ...] = ()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "Runs":
        """The runs of these numbers, which may come in any order, and more than once."""
        firsts: list[int] = []
        lasts: list[int] = []
        for number in sorted(set(numbers)):
            if lasts and lasts[-1] == number - 1:
                lasts[-1] = number
            else:
                firsts.append(number)
                lasts.append(number)
        return cls(tuple(firsts), tuple(lasts))

    def __contains__(self, number: int) -> bool:
        return self._run_at(number) is not None

    def after(self, gone: Collection[int], come: Collection[int]) -> "Runs":
        """Without the numbers of `gone`, and with those of `come`."""
        if len(gone) + len(come) > _ONE_BY_ONE_MAX:
            return Runs.of((set(self) - set(gone)).union(come))
        following = self
        for number in gone:
            following = following._removing(number)
        for number in come:
            following = following._adding(number)
        return following

    def __iter__(self) -> Iterator[int]:
        for first, last in zip(self.firsts, self.lasts, strict=True):
            yield from range(first, last + 1)

    def lowest_free(self, first: int, last: int) -> int | None:
        """The lowest number of `first`..`last` that isn't taken."""
        run = self._run_at(first)
        free = first if run is None else self.lasts[run] + 1
        return free if free <= last else None

    def _adding(self, number: int) -> "Runs":
        if number in self:
            return self
        after = bisect_left(self.firsts, number)
        joins_left = after > 0 and self.lasts[after - 1] == number - 1
        joins_right = after < len(self.firsts) and self.firsts[after] == number + 1
        start, end = after - joins_left, after + joins_right
        first = self.firsts[start] if joins_left else number
        last = self.lasts[after] if joins_right else number
        return self._with(start, end, ((first, last),))

    def _removing(self, number: int) -> "Runs":
        run = self._run_at(number)
        if run is None:
            return self
        rest = ((self.firsts[run], number - 1), (number + 1, self.lasts[run]))
        return self._with(run, run + 1, tuple(pair for pair in rest if pair[0] <= pair[1]))

    def _with(self, start: int, end: int, runs: tuple[tuple[int, int], ...]) -> "Runs":
        """These runs in the place of those from `start` to before `end`."""
        return Runs(
            (*self.firsts[:start], *(first for first, _ in runs), *self.firsts[end:]),
            (*self.lasts[:start], *(last for _, last in runs), *self.lasts[end:]),
        )

    def _run_at(self, number: int) -> int | None:
        run = bisect_right(self.firsts, number) - 1
        return run if run >= 0 and number <= self.lasts[run] else None
