"""A daemon killed at every point of every verb on a container, changes of files and steps in the kernel among them."""

from collections.abc import Iterator

import pytest

from tests.fault.lives import DEEDS, Deed
from tests.fault.mortal import MortalHost
from tests.fault.wholeness import killed_everywhere, mortal_host


@pytest.fixture
def host() -> Iterator[MortalHost]:
    with mortal_host(fine=True) as host:
        yield host


@pytest.mark.timeout(300)
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
def test_daemon_killed_anywhere(host: MortalHost, deed: Deed) -> None:
    print(f"{deed.name}: {killed_everywhere(host, deed)} points")
