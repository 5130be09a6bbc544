"""Docker's `filters` parameter, in both of its forms, and what its words match.

    map form, the docker command's:  {"driver": {"bridge": true}, "label": {"a=b": true}}
    list form, docker-py's:          {"driver": ["bridge"], "label": ["a=b"]}

Values of one key are alternatives, keys add up. Source: api/types/filters in moby.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from atoll.api.body import shown_json
from atoll.errors import InvalidRequest

_PATTERN_LENGTH_MAX = 256
_REPEATS_MAX = 3

Filter = Mapping[str, tuple[str, ...]]
Matcher = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters as asked for: the values of each key."""

    values: Filter = field(default_factory=dict)

    def exact(self, key: str, text: str) -> bool:
        """True when a value of `key` is `text`, or the key is absent."""
        return key not in self.values or text in self.values[key]

    def pattern(self, key: str) -> Matcher:
        """What the values of `key`, texts or regular expressions, match: anything when it is absent.

        Raises InvalidRequest.
        """
        if key not in self.values:
            return lambda text: True
        matchers = [matcher(value) for value in self.values[key]]
        return lambda text: any(matches(text) for matches in matchers)

    def labelled(self, key: str, labels: Mapping[str, str]) -> bool:
        """True when the labels have all of the key's `NAME` and `NAME=VALUE`, or the key is absent."""
        return all(_has_label(labels, value) for value in self.values.get(key, ()))

    def any_label(self, key: str, labels: Mapping[str, str]) -> bool:
        """True when the labels have one of the key's `NAME` and `NAME=VALUE`."""
        return any(_has_label(labels, value) for value in self.values.get(key, ()))

    def flag(self, key: str) -> bool | None:
        """A boolean filter, None when it is absent. Raises InvalidRequest."""
        if key not in self.values:
            return None
        asked = self.values[key]
        if len(asked) == 1 and asked[0] in {"true", "1"}:
            return True
        if len(asked) == 1 and asked[0] in {"false", "0"}:
            return False
        raise InvalidRequest(f"invalid value {', '.join(asked)!r} for filter {key!r}: use true (or 1) or false (or 0)")


def parse_filters(text: str, *, known: frozenset[str]) -> Filters:
    """Parse the parameter ("" for none) and check that its keys are `known`. Raises InvalidRequest."""
    if not text:
        return Filters()
    try:
        body = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest(f'invalid filters {text[:80]!r}: not a JSON object such as {{"name": ["x"]}}') from None
    if not isinstance(body, dict):
        raise InvalidRequest(f'invalid filters {text[:80]!r}: not a JSON object such as {{"name": ["x"]}}')
    for key in body:
        if key not in known:
            raise InvalidRequest(f"invalid filter {key[:80]!r}", hint=f"filters here: {', '.join(sorted(known))}")
    return Filters({key: found for key, value in body.items() if (found := _values(key, value))})


def _values(key: str, value: object) -> tuple[str, ...]:
    match value:
        case dict():
            found = [word for word, wanted in value.items() if wanted is True]
            proper = all(isinstance(wanted, bool) for wanted in value.values())
        case list():
            found = [word for word in value if isinstance(word, str)]
            proper = len(found) == len(value)
        case _:
            found, proper = [], False
    if not proper:
        raise InvalidRequest(
            f"invalid value {shown_json(value)} of filter {key!r}: neither a list of strings nor a map to true"
        )
    return tuple(found)


def matcher(pattern: str) -> Matcher:
    """What a `name` or `id` filter matches: the text itself, or whatever the regular expression is found in.

    Go's expressions take linear time and Python's don't, so those that could take long are refused: groups, and
    more than three repetitions. Raises InvalidRequest.
    """
    if len(pattern) > _PATTERN_LENGTH_MAX:
        raise InvalidRequest(f"invalid filter {pattern[:80]!r}...: longer than {_PATTERN_LENGTH_MAX} characters")
    plain = re.sub(r"\\.|\[[^\]]*\]", "", pattern)
    if "(" in plain or sum(plain.count(sign) for sign in "*+?{") > _REPEATS_MAX:
        raise InvalidRequest(
            f"invalid filter {pattern[:80]!r}: groups, and more than {_REPEATS_MAX} repetitions, can't be used here",
            hint="use a part of the name, or ^NAME$",
        )
    try:
        expression = re.compile(pattern)
    except re.error:
        return pattern.__eq__
    return lambda text: text == pattern or expression.search(text) is not None


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)
