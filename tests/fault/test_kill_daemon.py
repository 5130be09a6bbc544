"""Killed anywhere in a verb on a container, a daemon finds it whole at its next start, and nothing of it lies about.

The real daemon, asked through its API, dies at every commit, signal and program (`mortal.py`). What is left is then
looked at from outside, used, and removed; the host has to be as it was before there was any container.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.fault import lives
from tests.fault.lives import DEEDS, Deed
from tests.fault.mortal import MortalHost
from tests.fault.wholeness import inventory, killed_everywhere, mortal_host, stored


@pytest.fixture
def host() -> Iterator[MortalHost]:
    with mortal_host(fine=False) as host:
        yield host


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
def test_daemon_killed_anywhere(host: MortalHost, deed: Deed, tally: Callable[[str, int], None]) -> None:
    tally("kills of a daemon with containers", killed_everywhere(host, deed))


def test_namespace_of_one_that_was_removed_goes_with_the_last_in_it(host: MortalHost) -> None:
    before = inventory(host)
    lives.running(host)
    joined = {"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "container:box"}}
    for name in ("mate", "late"):
        host.must("POST", f"/containers/create?name={name}", joined)
    host.must("POST", "/containers/mate/start")
    lives.remove(host)
    host.kill9()
    host.start()
    assert len(stored(host, "sandbox", "id")) == 2
    assert "non running container" in host.ask("POST", "/containers/late/start").message
    # The name is free, although the namespace is still there.
    lives.created(host)
    lives.remove(host)
    for name in ("mate", "late"):
        host.must("DELETE", f"/containers/{name}?force=1")
    assert inventory(host) == before
