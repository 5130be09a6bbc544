"""Sizes and times, as people write them and as Docker's command shows them. Pure."""

from __future__ import annotations

import re

from atoll.errors import InvalidRequest

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?\Z", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DECIMAL, _BINARY = ("B", "kB", "MB", "GB", "TB", "PB"), ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_AGES = ((48, 1, "hour"), (14 * 24, 24, "day"), (60 * 24, 7 * 24, "week"), (730 * 24, 30 * 24, "month"))
"""Up to so many hours, how many hours one is, and its name: HumanDuration in docker/go-units."""


def parse_bytes(what: str, text: str) -> int:
    """A size with its unit, powers of 1024: `64m`, `1.5g`, `4096`; `-1` as it is. Raises InvalidRequest.

    Source: RAMInBytes in docker/go-units.
    """
    if text == "-1":
        return -1
    found = _SIZE.match(text.strip())
    if found is None:
        raise InvalidRequest(f"invalid size {text!r} of {what}", hint="write it as 64m or 1g")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])


def parse_duration_ns(what: str, text: str) -> int:
    """A time as Go writes it, `1m30s`, in nanoseconds. Raises InvalidRequest. Source: time.ParseDuration."""
    if text == "0":
        return 0
    if not text or _DURATION.sub("", text):
        raise InvalidRequest(f"invalid time {text!r} of {what}", hint="write it as 30s or 1m30s")
    return sum(round(float(number) * _UNITS_NS[unit]) for number, unit in _DURATION.findall(text))


def parse_integer(what: str, text: str) -> int:
    """A whole number. Raises InvalidRequest."""
    if not re.fullmatch(r"-?\d+", text):
        raise InvalidRequest(f"invalid number {text!r} of {what}")
    return int(text)


def human_size(size_bytes: float, *, digits: int = 3) -> str:
    """A size in powers of 1000 with so many digits: `1.98MB`. Source: HumanSizeWithPrecision in docker/go-units."""
    return _scaled(size_bytes, 1000.0, _DECIMAL, digits)


def human_memory(size_bytes: float) -> str:
    """A size in powers of 1024 with four digits: `412KiB`. Source: BytesSize in docker/go-units."""
    return _scaled(size_bytes, 1024.0, _BINARY, 4)


def human_age(seconds: float) -> str:
    """How long something is: `3 minutes`, `About an hour`. Source: HumanDuration in docker/go-units."""
    whole, hours = int(seconds), int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return f"{whole} second{'s' if whole > 1 else ''}"
    if whole < 3600:
        return f"{whole // 60} minutes" if whole >= 120 else "About a minute"
    if hours == 1:
        return "About an hour"
    for until, length, name in _AGES:
        if hours < until:
            return f"{hours // length} {name}s"
    return f"{whole // (365 * 86400)} years"


def _scaled(value: float, base: float, units: tuple[str, ...], digits: int) -> str:
    power = 0
    while value >= base and power < len(units) - 1:
        value /= base
        power += 1
    return f"{value:.{digits}g}{units[power]}"
