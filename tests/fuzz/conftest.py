"""One daemon for all of it, which at the end is as it was, and no larger."""

from collections.abc import Iterator

import pytest

from tests.fuzz.target import RUNS, STAYS, Target
from tests.netns.namespaces import eventually
from tests.support.contained import contained_host

GROWTH_MAX_BYTES = 48 << 20
"""Of the daemon's memory: bodies of a mebibyte, and archives of several, are sent."""


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    with contained_host("fuzz") as docker:
        interactive = {"Image": "busybox", "Cmd": ["sleep", "100000"], "Tty": True, "OpenStdin": True}
        ids = {
            name: docker.host.must("POST", f"/containers/create?name={name}", interactive)["Id"]
            for name in (STAYS, RUNS)
        }
        docker.host.must("POST", f"/containers/{RUNS}/start")
        fuzzed = Target(docker, ids)
        # Its directory is made when it is first looked into.
        fuzzed.ask("HEAD", f"/containers/{STAYS}/archive?path=/")
        before, links = fuzzed.there(), docker.host.run("ip -br link")
        resident = fuzzed.resident_bytes()
        yield fuzzed
        fuzzed.remove_everything()
        fuzzed.check_log()
        assert fuzzed.there() == before
        # Those that wait to be deleted take a while.
        eventually(lambda: len(docker.host.run("ip -br link").splitlines()) == len(links.splitlines()), seconds=20)
        assert fuzzed.resident_bytes() - resident < GROWTH_MAX_BYTES
        docker.host.restart()
        assert fuzzed.there() == before
        fuzzed.check_log()


@pytest.fixture(autouse=True)
def nothing_is_left(target: Target) -> Iterator[None]:
    yield
    target.restore()
    target.remove_everything()
