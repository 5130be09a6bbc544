"""iptables-save's output as values. Pure; an option that is not understood makes a match of OTHER.

Source: man 8 iptables, iptables-extensions.
"""

import ipaddress
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from atoll.model.items import Span
from atoll.model.ruleset import Chain, Field, Match, Rule, Tool, Value, Verdict

_HOOKS: Mapping[str, str] = MappingProxyType(
    {name.upper(): name for name in ("prerouting", "input", "forward", "output", "postrouting")}
)
_PRIORITIES: Mapping[str, int] = MappingProxyType(
    {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
)
"""NF_IP_PRI_* of a table's chains that come before the routing decision, linux/netfilter_ipv4.h."""
_PROTOCOLS: Mapping[str, int] = MappingProxyType(
    {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132}
)
_VERDICTS: Mapping[str, Verdict] = MappingProxyType(
    {
        "ACCEPT": Verdict.ACCEPT,
        "DROP": Verdict.DROP,
        "REJECT": Verdict.DROP,
        "RETURN": Verdict.RETURN,
        "DNAT": Verdict.TRANSLATE,
        "REDIRECT": Verdict.TRANSLATE,
    }
)
_IMPLIED = frozenset({"comment", "conntrack", "state", "addrtype", "multiport", "tcp", "udp", "sctp"})
"""Modules whose own options say all: naming them matches nothing by itself."""
_CHAIN = re.compile(r":(\S+) (\S+)")


def parse_save(output: str, tool: Tool, family: str) -> tuple[Chain, ...]:
    """The chains of `iptables-save` (`family` ip) or `ip6tables-save` (ip6), those of every table."""
    command = command_of(tool, family)
    chains: dict[tuple[str, str], Chain] = {}
    table = ""
    for line in output.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif declared := _CHAIN.match(line):
            name, policy = declared.groups()
            chains[table, name] = _chain(tool, family, table, name, policy)
        elif line.startswith("-A "):
            name = line.split(" ", 2)[1]
            chain = chains.get((table, name))
            if chain is not None:
                known = frozenset(other for there, other in chains if there == table)
                rule = _rule(line, known, f"{command} -t {table} -D {line[3:]}")
                chains[table, name] = replace(chain, rules=(*chain.rules, rule))
    return tuple(chains.values())


def command_of(tool: Tool, family: str) -> str:
    """The program that changes the rules of `tool` for ip or ip6: iptables-legacy, ip6tables-nft..."""
    return tool.value if family == "ip" else tool.value.replace("iptables", "ip6tables", 1)


def _chain(tool: Tool, family: str, table: str, name: str, policy: str) -> Chain:
    hook = _HOOKS.get(name, "")
    return Chain(
        tool,
        family,
        table,
        name,
        hook=hook,
        kind=("nat" if table == "nat" else "filter") if hook else "",
        priority=_PRIORITIES.get(table, 0),
        policy=Verdict.DROP if policy == "DROP" else Verdict.ACCEPT,
    )


@dataclass(slots=True)
class _Reading:
    """What has been read of a rule so far."""

    matches: list[Match] = field(default_factory=list)
    verdict: Verdict = Verdict.CONTINUE
    target: str = ""
    clamps: bool = False
    other: bool = False


def _rule(line: str, known: frozenset[str], removal: str) -> Rule:
    reading = _Reading()
    for option, values, negated in _options(shlex.split(line)[2:]):
        _read_option(reading, option, values, negated, known)
    if reading.other:
        reading.matches.append(Match(Field.OTHER))
    return Rule(line, tuple(reading.matches), reading.verdict, reading.target, removal, reading.clamps)


def _read_option(reading: _Reading, option: str, values: list[str], negated: bool, known: frozenset[str]) -> None:
    value = values[0] if values else ""
    match option:
        case "-j" | "-g":
            if value in _VERDICTS:
                reading.verdict = _VERDICTS[value]
            elif value in known:
                reading.verdict, reading.target = Verdict.JUMP if option == "-j" else Verdict.GOTO, value
        case "--clamp-mss-to-pmtu":
            reading.clamps = True
        case "-m":
            reading.other = reading.other or value not in _IMPLIED
        case "--comment" | "--reject-with" | "--to-destination" | "--to-ports" | "--log-prefix" | "--log-level":
            pass
        case _:
            found = _match(option, value, negated)
            if found is not None:
                reading.matches.append(found)
            elif reading.verdict is Verdict.CONTINUE:  # what follows the target belongs to it
                reading.other = True


def _options(words: list[str]) -> Iterator[tuple[str, list[str], bool]]:
    """Each option with its values and whether ! stands before it."""
    option, values, negated, pending = "", list[str](), False, False
    for word in words:
        if word == "!":
            pending = True
        elif word.startswith("-"):
            if option:
                yield option, values, negated
            option, values, negated, pending = word, [], pending, False
        else:
            values.append(word)
    if option:
        yield option, values, negated


def _match(option: str, value: str, negated: bool) -> Match | None:
    parts = value.split(",")
    values: tuple[Value, ...]
    match option:
        case "-i" | "-o":
            name = value[:-1] + "*" if value.endswith("+") else value
            return Match(Field.IIF if option == "-i" else Field.OIF, (name,), negated)
        case "-s" | "-d":
            try:
                values = tuple(ipaddress.ip_network(part, strict=False) for part in parts)
            except ValueError:
                return None
            return Match(Field.SOURCE if option == "-s" else Field.DESTINATION, values, negated)
        case "-p":
            number = int(value) if value.isdigit() else _PROTOCOLS.get(value)
            return Match(Field.PROTOCOL, (value if number is None else number,), negated)
        case "--ctstate" | "--state":
            return Match(Field.STATE, tuple(part.lower() for part in parts), negated)
        case "--dst-type":
            return Match(Field.ADDRESS_TYPE, tuple(part.lower() for part in parts), negated)
        case "--dport" | "--dports":
            ports = tuple(_ports(part) for part in parts)
            return None if None in ports else Match(Field.PORT, tuple(p for p in ports if p is not None), negated)
        case _:
            return None


def _ports(text: str) -> Value | None:
    first, colon, last = text.partition(":")
    if not first.isdigit() or (colon and not last.isdigit()):
        return None
    return Span(int(first), int(last)) if colon else int(first)
