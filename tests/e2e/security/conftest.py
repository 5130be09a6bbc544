"""The stages, each built once for all tests, and what is found on them."""

from collections.abc import Iterator

import pytest

from tests.e2e.security.ledger import Ledger
from tests.e2e.security.stage import Stage
from tests.e2e.security.stage import stage as build_stage

PLAIN, HOSTILE = "plain", "hostile"


@pytest.fixture(scope="package", params=[PLAIN, HOSTILE])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A host with every network, alone with itself or in hostile surroundings."""
    with build_stage(hostile=request.param == HOSTILE) as made:
        yield made


@pytest.fixture(scope="package")
def ledger(stage: Stage) -> Iterator[Ledger]:
    """What the tests of a stage found; written under build/ at its end."""
    kept = Ledger("hostile surroundings" if stage.hostile else "plain surroundings")
    yield kept
    print("\n" + kept.write(f"security-{HOSTILE if stage.hostile else PLAIN}.txt"))
