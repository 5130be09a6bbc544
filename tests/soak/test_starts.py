"""Containers that begin and end at the same time, at the number that is promised."""

from tests.fault.test_crowd import starts_leave_nothing


def test_200_starts_of_10_at_once_leave_nothing() -> None:
    starts_leave_nothing(200)
