"""`--since` and `--until` as people write them."""

import pytest

from atoll.cli.timestamps import timestamp
from atoll.errors import InvalidRequest

NOW_S = 1_714_564_800.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1714564800", "1714564800"),
        ("1714564800.000000001", "1714564800.000000001"),
        ("0s", "1714564800.000000000"),
        ("10m", "1714564200.000000000"),
        ("1h30m", "1714559400.000000000"),
        ("1.5s", "1714564798.500000000"),
        ("2024-05-01T12:00:00Z", "1714564800.000000"),
        ("2024-05-01T14:00:00.25+02:00", "1714564800.250000"),
    ],
)
def test_times_become_unix_seconds(text: str, seconds: str) -> None:
    assert timestamp(text, NOW_S) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "10 m", "m", "1d", "2024-13-01"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid time"):
        timestamp(text, NOW_S)
