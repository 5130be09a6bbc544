"""How much is tried: a little, always the same; with ATOLL_FUZZ=FACTOR so many times as much, by new seeds."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("ATOLL_FUZZ", "1"))


def tries(few: int) -> Callable[[Any], Any]:
    """So many examples of a test, in its short form."""
    return settings(
        max_examples=few * FACTOR,
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
