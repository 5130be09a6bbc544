"""A bench for each test."""

from collections.abc import Iterator

import pytest

from tests.support.runtimes import Bench, bench


@pytest.fixture
def place() -> Iterator[Bench]:
    with bench() as made:
        yield made
