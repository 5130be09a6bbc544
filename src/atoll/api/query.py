"""Query parameters as values."""

from collections.abc import Mapping

from atoll.errors import InvalidRequest
from atoll.model.names import shown

_TRUE = frozenset({"1", "t", "true", "yes"})
_FALSE = frozenset({"", "0", "f", "false", "no", "none"})
_SECOND_NS = 10**9
_NANOSECONDS_DIGITS = 9
_DIGITS_MAX = 10


def parse_flag(query: Mapping[str, str], name: str) -> bool:
    """A flag of the query, false when it is absent. Raises InvalidRequest."""
    text = query.get(name, "").strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidRequest(f"invalid value for {name}: {query[name]!r} is neither true nor false")


def parse_timestamp_ns(name: str, text: str) -> int:
    """Unix time in nanoseconds from `SECONDS` or `SECONDS.FRACTION`. Raises InvalidRequest.

    Source: GetTimestamp and ParseTimestamps in moby, api/types/time; clients turn dates and durations into this.
    """
    seconds, _, fraction = text.partition(".")
    digits = seconds.removeprefix("-")
    plain = (digits + fraction).isascii() and digits.isdigit() and (not fraction or fraction.isdigit())
    if not plain or len(digits) > len("9999999999") or len(fraction) > _NANOSECONDS_DIGITS:
        raise InvalidRequest(f"invalid {name} {text!r}: not Unix time in seconds, as 1136073600.000000001")
    return int(seconds) * _SECOND_NS + int(fraction.ljust(_NANOSECONDS_DIGITS, "0"))


def parse_number(query: Mapping[str, str], name: str, *, default: int = 0) -> int:
    """A whole number of the query, negative ones too. Raises InvalidRequest."""
    text = query.get(name, "").strip()
    if not text:
        return default
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > _DIGITS_MAX:
        raise InvalidRequest(f"invalid value for {name}: {shown(text)} is not a whole number")
    return int(text)
