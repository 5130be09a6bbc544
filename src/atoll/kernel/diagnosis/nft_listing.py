"""nft's listing as values. Pure, and tolerant: its JSON differs between versions, so what is not understood is OTHER.

Source: man 5 libnftables-json, schema version 1.
"""

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from atoll.model.items import Span
from atoll.model.ruleset import Chain, Field, Match, Rule, Tool, Value, Verdict

_FAMILIES = ("ip", "ip6", "inet", "bridge")
_TABLE = re.compile(r"table (\w+) (\S+) \{")
_HANDLE = re.compile(r"\t+(.*\S) # handle (\d+)\Z")
_PROTOCOLS: Mapping[str, int] = MappingProxyType(
    {"icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132, "udplite": 136}
)
_PLAIN: Mapping[tuple[str, str], Field] = MappingProxyType(
    {
        ("meta", "iifname"): Field.IIF,
        ("meta", "iif"): Field.IIF,
        ("meta", "oifname"): Field.OIF,
        ("meta", "oif"): Field.OIF,
        ("meta", "l4proto"): Field.PROTOCOL,
        ("meta", "nfproto"): Field.FAMILY,
        ("ct", "state"): Field.STATE,
        ("ct", "status"): Field.STATE,
    }
)
_PAYLOAD: Mapping[str, Field] = MappingProxyType(
    {
        "saddr": Field.SOURCE,
        "daddr": Field.DESTINATION,
        "protocol": Field.PROTOCOL,
        "nexthdr": Field.PROTOCOL,
        "dport": Field.PORT,
    }
)
_FAMILY_WORDS: Mapping[str, int] = MappingProxyType({"ipv4": 4, "ipv6": 6, "ip": 4, "ip6": 6})
_VERDICTS: Mapping[str, Verdict] = MappingProxyType(
    {
        "accept": Verdict.ACCEPT,
        "drop": Verdict.DROP,
        "reject": Verdict.DROP,
        "return": Verdict.RETURN,
        "dnat": Verdict.TRANSLATE,
        "redirect": Verdict.TRANSLATE,
        "tproxy": Verdict.TRANSLATE,
    }
)
_XT_TARGETS: Mapping[str, Verdict] = MappingProxyType(
    {"REJECT": Verdict.DROP, "DNAT": Verdict.TRANSLATE, "REDIRECT": Verdict.TRANSLATE}
)
_HARMLESS = frozenset({"counter", "log", "comment", "mangle", "notrack", "ct helper", "flow"})
"""Statements that neither match nor decide."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a statement of a rule adds: conditions, and what is done under them."""

    matches: tuple[Match, ...] = ()
    verdict: Verdict = Verdict.CONTINUE
    target: str = ""


def parse_listing(listing: str, text: str, *, without: Iterable[tuple[str, str]] = ()) -> tuple[Chain, ...]:
    """Chains of `nft -j -t list ruleset`, rules shown as in `nft -a -t list ruleset`.

    Tables of `without` (family, name) are left out. Raises ValueError when `listing` isn't JSON.
    """
    words = rule_texts(text)
    skipped = set(without)
    chains: dict[tuple[str, str, str], Chain] = {}
    for kind, body in _entries(json.loads(listing or "{}")):
        where = _where(kind, body)
        if where is None or where[:2] in skipped or where[0] not in _FAMILIES:
            continue
        if kind == "chain":
            chains[where] = _chain(where, body)
        elif where in chains:
            family, table, name = where
            handle = body.get("handle")
            shown = (
                words.get((family, table, handle if isinstance(handle, int) else 0)) or f"the rule with handle {handle}"
            )
            removal = f"nft delete rule {family} {table} {name} handle {handle}"
            rules = tuple(_rules(body.get("expr", []), shown, removal))
            chains[where] = replace(chains[where], rules=chains[where].rules + rules)
    return tuple(chains.values())


def rule_texts(text: str) -> dict[tuple[str, str, int], str]:
    """The text of each rule of `nft -a list ruleset` by family, table and handle."""
    found = {}
    family = table = ""
    for line in text.splitlines():
        if opened := _TABLE.match(line):
            family, table = opened.groups()
        elif shown := _HANDLE.match(line):
            words = re.sub(r" counter packets \d+ bytes \d+", "", f" {shown.group(1)}").strip()
            found[family, table, int(shown.group(2))] = words
    return found


def _entries(listing: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = listing.get("nftables") if isinstance(listing, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        for kind, body in entry.items() if isinstance(entry, dict) else ():
            if isinstance(body, dict):
                yield kind, body


def _where(kind: str, body: Mapping[str, Any]) -> tuple[str, str, str] | None:
    if kind not in ("chain", "rule"):
        return None
    return (_word(body, "family"), _word(body, "table"), _word(body, "name" if kind == "chain" else "chain"))


def _word(body: Any, key: str) -> str:
    """The text at `key`; "" when there is none."""
    value = body.get(key) if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


def _only(body: Any) -> tuple[str, Any]:
    """The one key of an object and its value."""
    return next(iter(body.items()), ("", None)) if isinstance(body, dict) else ("", None)


def _chain(where: tuple[str, str, str], body: Mapping[str, Any]) -> Chain:
    priority = body.get("prio", 0)
    return Chain(
        Tool.NFT,
        *where,
        hook=_word(body, "hook"),
        kind=_word(body, "type"),
        priority=priority if isinstance(priority, int) else 0,
        policy=Verdict.DROP if body.get("policy") == "drop" else Verdict.ACCEPT,
    )


def _rules(statements: Any, text: str, removal: str) -> Iterator[Rule]:
    """A rule, or one for each element of its verdict map."""
    matches: list[Match] = []
    clamps = False
    for statement in statements if isinstance(statements, list) else ():
        kind, body = _only(statement)
        clamps = clamps or (kind == "mangle" and "maxseg" in json.dumps(body) and '"rt"' in json.dumps(body))
        outcomes = list(_statement(kind, body))
        for outcome in outcomes:
            if outcome.verdict is not Verdict.CONTINUE:
                yield Rule(text, (*matches, *outcome.matches), outcome.verdict, outcome.target, removal)
        if len(outcomes) == 1 and outcomes[0].verdict is Verdict.CONTINUE:
            matches += outcomes[0].matches
    if clamps:
        yield Rule(text, tuple(matches), clamps=True, removal=removal)


def _statement(kind: str, body: Any) -> Iterator[_Outcome]:
    if kind == "match" and isinstance(body, dict):
        yield _Outcome(_matches(body.get("left"), body.get("right"), negated=body.get("op") == "!="))
    elif kind == "vmap" and isinstance(body, dict):
        yield from _verdict_map(body)
    elif kind in ("jump", "goto"):
        yield _Outcome(verdict=Verdict(kind), target=_word(body, "target"))
    elif kind in _VERDICTS:
        # An address from a map translates what is in the map only.
        looked_up = (Match(Field.OTHER),) if '"map"' in json.dumps(body) else ()
        yield _Outcome(looked_up, _VERDICTS[kind])
    elif kind == "xt":
        name = _word(body, "name")
        yield _Outcome(verdict=_XT_TARGETS[name]) if name in _XT_TARGETS else _Outcome((Match(Field.OTHER),))
    elif kind not in _HARMLESS:
        yield _Outcome((Match(Field.OTHER),))


def _verdict_map(body: Mapping[str, Any]) -> Iterator[_Outcome]:
    data = body.get("data")
    elements = data.get("set", []) if isinstance(data, dict) else []
    for element in elements if isinstance(elements, list) else ():
        if isinstance(element, list) and len(element) == 2:
            for outcome in _statement(*_only(element[1])):
                yield replace(outcome, matches=_matches(body.get("key"), element[0], negated=False))


def _matches(left: Any, right: Any, *, negated: bool) -> tuple[Match, ...]:
    kind, key = _only(left)
    if kind == "payload":
        return _payload_matches(key, right, negated=negated)
    field = _PLAIN.get((kind, _word(key, "key")), Field.OTHER)
    if kind == "fib" and _word(key, "result") == "type" and key.get("flags") in ("daddr", ["daddr"]):
        field = Field.ADDRESS_TYPE
    return (_match(field, right, negated=negated),)


def _payload_matches(key: Any, right: Any, *, negated: bool) -> tuple[Match, ...]:
    protocol, field = _word(key, "protocol"), _PAYLOAD.get(_word(key, "field"), Field.OTHER)
    found = _match(field, right, negated=negated)
    if protocol in _FAMILY_WORDS:
        return (Match(Field.FAMILY, (_FAMILY_WORDS[protocol],)), found)
    if protocol in _PROTOCOLS:
        return (Match(Field.PROTOCOL, (_PROTOCOLS[protocol],)), found)
    return (found,) if protocol == "th" else (Match(Field.OTHER),)


def _match(field: Field, right: Any, *, negated: bool) -> Match:
    values = _values(field, right)
    return Match(Field.OTHER) if values is None else Match(field, values, negated)


def _values(field: Field, right: Any) -> tuple[Value, ...] | None:
    """The values of a match; None when one of them isn't understood, as the elements of a named set aren't."""
    if isinstance(right, dict):
        kind, body = _only(right)
        right = body if kind in ("set", "|") else [right]
    found = [_value(field, each) for each in (right if isinstance(right, list) else [right])]
    return None if field is Field.OTHER or None in found else tuple(each for each in found if each is not None)


def _value(field: Field, raw: Any) -> Value | None:
    if isinstance(raw, dict):
        return _compound(field, *_only(raw))
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        return None
    if isinstance(raw, str) and raw.startswith("@"):
        return None
    match field:
        case Field.SOURCE | Field.DESTINATION:
            return _prefix(raw)
        case Field.PORT:
            return raw if isinstance(raw, int) else None
        case Field.PROTOCOL:
            return _PROTOCOLS.get(raw, raw) if isinstance(raw, str) else raw
        case Field.FAMILY:
            return _FAMILY_WORDS.get(str(raw))
        case _:
            return str(raw)


def _compound(field: Field, kind: str, body: Any) -> Value | None:
    if kind == "elem" and isinstance(body, dict):
        return _value(field, body.get("val"))
    if kind == "prefix" and isinstance(body, dict) and field in (Field.SOURCE, Field.DESTINATION):
        return _prefix(f"{body.get('addr')}/{body.get('len')}")
    if kind == "range" and isinstance(body, list) and len(body) == 2:
        if field is Field.PORT:
            return Span(*body) if all(isinstance(end, int) for end in body) else None
        first, last = (_prefix(end) for end in body)
        if first is not None and last is not None and first.version == last.version:
            return Span(first.network_address, last.network_address)
    return None


def _prefix(text: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        return None
