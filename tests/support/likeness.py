"""What differs between two answers to the same question, and what is chosen by chance or by the clock taken out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_CHANCE = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "ID"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{12}\b"), "SHORT"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d( UTC)?)?"), "TIME"),
    (re.compile(r"(Less than a second|About a minute|About an hour|\d+ (second|minute|year)s?)( ago)?"), "SPAN"),
    (re.compile(r" {2,}"), "  "),
)
_SORTED_BY = ("Destination", "Name")
_CHOSEN = re.compile(
    r"\.(Created|HostnamePath|HostsPath|LogPath|Mountpoint|Pid|ResolvConfPath|SandboxKey|Source|message)\Z"
)
"""Members whose values are never the same: ids, times and paths. Messages are for people."""


def plain_text(text: str, home: Path) -> str:
    """Output without ids, times and the directory of the engine."""
    text = text.replace(str(home), "HOME")
    for pattern, word in _CHANCE:
        text = pattern.sub(word, text)
    return text


def plain_target(target: str) -> str:
    """A request's target without the version, ids and times."""
    path, _, query = target.partition("?")
    path = re.sub(r"\A/v[0-9.]+", "", path)
    path = re.sub("[0-9a-f]{64}", "ID", path)
    query = re.sub(r"(since|until)=[0-9.]+", r"\1=TIME", re.sub("[0-9a-f]{64}", "ID", unquote(query)))
    return f"{path}?{query}" if query else path


def kind_of(value: Any) -> str:
    """JSON's type."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def compare_bodies(theirs: Any, ours: Any, place: str = "", *, values: bool = False) -> Iterator[str]:
    """Keys that only one has, types that differ, arrays of different length, each with its place.

    With `values` also texts and numbers that differ, but for ids and times.
    """
    if kind_of(theirs) != kind_of(ours):
        yield f"{place or '.'} is {kind_of(theirs)}, ours {kind_of(ours)}"
    elif isinstance(theirs, dict):
        theirs, ours = _plain_keys(theirs), _plain_keys(ours)
        for key in sorted(theirs.keys() | ours.keys()):
            if key not in ours:
                yield f"{place}.{key} is theirs alone"
            elif key not in theirs:
                yield f"{place}.{key} is ours alone"
            else:
                yield from compare_bodies(theirs[key], ours[key], f"{place}.{key}", values=values)
    elif _are_events(theirs) and _are_events(ours):
        theirs, ours = ({f"{each['Type']}: {each['Action']}": each for each in events} for events in (theirs, ours))
        yield from compare_bodies(theirs, ours, place)
    elif isinstance(theirs, list):
        if len(theirs) != len(ours):
            yield f"{place}[] has {len(theirs)}, ours {len(ours)}"
        if place.endswith((".Binds", ".Config.Env")):
            # The client sends them in any order.
            theirs, ours = sorted(theirs), sorted(ours)
        for one, other in zip(sorted(theirs, key=_order), sorted(ours, key=_order), strict=False):
            yield from compare_bodies(one, other, f"{place}[]", values=values)
    elif values and not _CHOSEN.search(place) and _plain(theirs) != _plain(ours):
        yield f"{place} has the value {theirs!r}, ours {ours!r}"


def _are_events(body: Any) -> bool:
    return isinstance(body, list) and bool(body) and all(isinstance(each, dict) and "Action" in each for each in body)


def _plain(value: Any) -> Any:
    return plain_text(value, Path("/nowhere")) if isinstance(value, str) else value


def _plain_keys(body: dict[str, Any]) -> dict[str, Any]:
    return {re.sub("^[0-9a-f]{64}$", "ID", key): value for key, value in body.items()}


def _order(item: Any) -> str:
    if isinstance(item, dict) and "PrivatePort" in item:
        # dockerd tells ports as its map has them: in any order.
        return f"{item['PrivatePort']:05} {item.get('Type')} {item.get('IP')}"
    if isinstance(item, dict):
        return next((str(item[key]) for key in _SORTED_BY if item.get(key)), "")
    return ""
