"""Which networks a list or a prune is about."""

from collections.abc import Callable
from datetime import UTC, datetime

from atoll.api.filters import Filters, parse_filters
from atoll.api.query import parse_timestamp_ns
from atoll.errors import InvalidRequest
from atoll.model.network import Network

_LIST_KEYS = frozenset({"driver", "id", "label", "name", "scope", "type", "dangling"})
_PRUNE_KEYS = frozenset({"label", "label!", "until"})

_UNIT_NS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def parse_list_filters(text: str) -> Callable[[Network, bool], bool]:
    """What GET /networks lists: a test of a network and whether it has endpoints. Raises InvalidRequest."""
    filters = parse_filters(text, known=_LIST_KEYS)
    dangling = filters.flag("dangling")
    for kind in filters.values.get("type", ()):
        if kind not in {"custom", "builtin"}:
            raise InvalidRequest(f"invalid value {kind!r} for filter 'type': use custom or builtin")
    named, with_id = filters.pattern("name"), filters.pattern("id")

    def shown(network: Network, in_use: bool) -> bool:
        return (
            filters.exact("driver", network.driver.value)
            and filters.exact("scope", network.scope.value)
            and filters.exact("type", "builtin" if network.predefined else "custom")
            and named(network.name)
            and with_id(network.id)
            and filters.labelled("label", network.labels)
            and (dangling is None or dangling is not (in_use or network.predefined))
        )

    return shown


def parse_prune_filters(text: str, *, now_ns: int) -> Callable[[Network], bool]:
    """What POST /networks/prune keeps: a test of an unused network. Raises InvalidRequest."""
    filters = parse_filters(text, known=_PRUNE_KEYS)
    until_ns = _parse_until(filters, now_ns)

    def kept(network: Network) -> bool:
        return (
            (until_ns is not None and network.created_ns > until_ns)
            or not filters.labelled("label", network.labels)
            or filters.any_label("label!", network.labels)
        )

    return kept


def _parse_until(filters: Filters, now_ns: int) -> int | None:
    asked = filters.values.get("until", ())
    if not asked:
        return None
    if len(asked) > 1:
        raise InvalidRequest(f"invalid filter 'until': {len(asked)} values, at most one can be used")
    (text,) = asked
    age_ns = _duration_ns(text)
    if age_ns is not None:
        return now_ns - age_ns
    moment_ns = _date_ns(text)
    if moment_ns is not None:
        return moment_ns
    try:
        return parse_timestamp_ns("until", text)
    except InvalidRequest:
        raise InvalidRequest(
            f"invalid value {text[:80]!r} for filter 'until': neither a duration such as 24h nor a time"
        ) from None


def _duration_ns(text: str) -> int | None:
    """A duration as Go writes it, `1h30m`; None when it isn't one. Source: time.ParseDuration."""
    total, number, rest = 0, "", text
    while rest:
        while rest and rest[0] in "0123456789":
            number, rest = number + rest[0], rest[1:]
        unit = next((unit for unit in ("ms", "us", "ns", "h", "m", "s") if rest.startswith(unit)), "")
        if not number or not unit or len(number) > len("9999999999"):
            return None
        total += int(number) * _UNIT_NS[unit]
        number, rest = "", rest[len(unit) :]
    return total if text else None


def _date_ns(text: str) -> int | None:
    """An ISO date or time, UTC unless it says otherwise; None when it isn't one."""
    if "-" not in text[1:]:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 10**9
