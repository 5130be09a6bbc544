"""Which numbers are taken, kept as runs, so that the lowest free one is found without looking at all of them."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator

from atoll.model.addresses import Family, IPAddress, family_of


def lowest_free(first: int, last: int, spans: Iterable[tuple[int, int]]) -> int | None:
    """The lowest number of `first`..`last` in none of the inclusive `spans`, which may overlap in any order."""
    free = first
    for start, end in sorted(spans):
        if start > free:
            break
        free = max(free, end + 1)
    return free if free <= last else None


class Taken(Collection[IPAddress]):
    """Addresses of one family that are taken, as disjoint runs in order.

    A caller may keep one beside a network and tell it of every claim and release: addresses given out one
    after the other are a single run, and adding, removing and finding the lowest free one cost O(log runs)
    (and a memory move of the run list). Built anew it costs one sort. Not for several threads.
    """

    def __init__(self, family: Family, addresses: Iterable[IPAddress] = ()) -> None:
        self._family = family
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._count = 0
        for number in sorted({int(address) for address in addresses if family_of(address) is family}):
            self._count += 1
            if self._lasts and self._lasts[-1] == number - 1:
                self._lasts[-1] = number
            else:
                self._firsts.append(number)
                self._lasts.append(number)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, IPAddress) or family_of(address) is not self._family:
            return False
        run = self._run_at(int(address))
        return run is not None

    def __iter__(self) -> Iterator[IPAddress]:
        kind = type(self._family.unspecified)
        for first, last in zip(self._firsts, self._lasts, strict=True):
            yield from map(kind, range(first, last + 1))

    def add(self, address: IPAddress) -> None:
        """Note that `address`, of this family, is taken. Adding it again changes nothing."""
        number = self._number(address)
        if self._run_at(number) is not None:
            return
        self._count += 1
        after = bisect_left(self._firsts, number)
        joins_left = after > 0 and self._lasts[after - 1] == number - 1
        joins_right = after < len(self._firsts) and self._firsts[after] == number + 1
        if joins_left and joins_right:
            self._lasts[after - 1] = self._lasts.pop(after)
            del self._firsts[after]
        elif joins_left:
            self._lasts[after - 1] = number
        elif joins_right:
            self._firsts[after] = number
        else:
            self._firsts.insert(after, number)
            self._lasts.insert(after, number)

    def discard(self, address: IPAddress) -> None:
        """Note that `address`, of this family, is free. What was free stays so."""
        number = self._number(address)
        run = self._run_at(number)
        if run is None:
            return
        self._count -= 1
        first, last = self._firsts[run], self._lasts[run]
        left = [(first, number - 1)] if first < number else []
        right = [(number + 1, last)] if number < last else []
        self._firsts[run : run + 1] = [start for start, _ in left + right]
        self._lasts[run : run + 1] = [end for _, end in left + right]

    def lowest_free(self, first: IPAddress, last: IPAddress) -> IPAddress | None:
        """The lowest address of `first`..`last`, both of this family, that isn't taken."""
        low, high = self._number(first), self._number(last)
        run = self._run_at(low)
        free = low if run is None else self._lasts[run] + 1
        return type(first)(free) if free <= high else None

    def _number(self, address: IPAddress) -> int:
        assert family_of(address) is self._family, f"{address} among IPv{self._family} addresses"
        return int(address)

    def _run_at(self, number: int) -> int | None:
        run = bisect_right(self._firsts, number) - 1
        return run if run >= 0 and number <= self._lasts[run] else None
