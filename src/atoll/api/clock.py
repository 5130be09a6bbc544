"""Unix time as RFC 3339 text."""

from datetime import UTC, datetime

_SECOND_NS = 10**9


def rfc3339(time_ns: int) -> str:
    """Nanoseconds kept, trailing zeros left out, UTC as `Z`: what Go's time.RFC3339Nano writes."""
    seconds, rest = divmod(time_ns, _SECOND_NS)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{rest:09}".rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"
