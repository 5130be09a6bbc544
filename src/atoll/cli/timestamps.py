"""`--since` and `--until`: what people write, as seconds since 1970. Source: Docker's api/types/time."""

from __future__ import annotations

import re

from atoll.errors import InvalidRequest

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")


def timestamp(text: str, now_s: float) -> str:
    """Parse Unix seconds (kept as they are), a span before now (`1h30m`), or RFC 3339, local time without a zone.

    Raises InvalidRequest.
    """
    if re.fullmatch(r"-?\d+(\.\d{1,9})?", text):
        return text
    if text and not _SPAN.sub("", text):
        return f"{now_s - sum(float(number) * _UNITS_S[unit] for number, unit in _SPAN.findall(text)):.9f}"
    from datetime import datetime

    try:
        return f"{datetime.fromisoformat(text).timestamp():.6f}"
    except ValueError:
        raise InvalidRequest(
            f"invalid time {text!r}", hint="write it as 10m, 2024-05-01T12:00:00 or Unix seconds"
        ) from None
