"""Counts what was broken, and says it at the end of the run, where captured output is not shown."""

from collections.abc import Callable

import pytest

_TALLY = pytest.StashKey[dict[str, int]]()


@pytest.fixture
def tally(pytestconfig: pytest.Config) -> Callable[[str, int], None]:
    """Adds to a sum by name."""
    sums = pytestconfig.stash.setdefault(_TALLY, {})

    def add(what: str, count: int) -> None:
        sums[what] = sums.get(what, 0) + count

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    sums = config.stash.get(_TALLY, {})
    if sums:
        told = ", ".join(f"{count} {what}" for what, count in sums.items())
        terminalreporter.section("fault suite")
        terminalreporter.line(f"{told}; nothing was left of any")
