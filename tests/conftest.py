"""Rules that hold for all tests: a test that is skipped has failed.

What a kernel or a machine lacks is asserted (the Unsupported error), not passed over.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.hosts import FreshHost, fresh_host

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _failed_if_skipped(report: Report) -> Report:
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which counts as failed: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _failed_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _failed_if_skipped((yield))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FreshHost]:
    """A network namespace of its own for this test, which plays a host."""
    with fresh_host(tmp_path / "netns") as fresh:
        yield fresh
