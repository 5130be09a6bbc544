"""Runs: a set of numbers, whatever the way it was made."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.model.runs import Runs

few = st.sets(st.integers(0, 30), max_size=4)
many = st.sets(st.integers(0, 30), min_size=9)


@given(st.lists(st.tuples(few | many, few | many), max_size=20), st.integers(0, 30), st.integers(0, 30))
def test_runs_behave_as_a_set(steps: list[tuple[set[int], set[int]]], first: int, last: int) -> None:
    runs, reference = Runs(), set[int]()
    for gone, come in steps:
        before, numbers = runs, list(runs)
        runs = runs.after(gone, come)
        reference = (reference - gone) | come
        assert list(before) == numbers
    assert list(runs) == sorted(reference)
    assert runs == Runs.of(reference)
    assert all((number in runs) == (number in reference) for number in range(32))
    free = [number for number in range(first, last + 1) if number not in reference]
    assert runs.lowest_free(first, last) == (free[0] if free else None)


@given(st.lists(st.integers(0, 30)))
def test_runs_have_gaps_between_them(numbers: list[int]) -> None:
    runs = Runs.of(numbers)
    assert all(first <= last for first, last in zip(runs.firsts, runs.lasts, strict=True))
    assert all(last + 1 < first for last, first in zip(runs.lasts, runs.firsts[1:], strict=False))
