"""Packet filter rules of others as values: enough of them to say what becomes of a packet of ours.

Law: pure. What a rule asks that has no field here is `Field.OTHER`, which nobody can decide.
"""

from dataclasses import dataclass
from enum import StrEnum

from atoll.model.addresses import IPNetwork
from atoll.model.items import Span


class Tool(StrEnum):
    """Whose rule set a chain is in; the value is what people call it. iptables-legacy's is invisible to nft."""

    NFT = "nft"
    IPTABLES = "iptables-nft"
    LEGACY = "iptables-legacy"


class Field(StrEnum):
    """What a match looks at. STATE holds conntrack's states and status: `new`, `established`, `dnat`.

    ADDRESS_TYPE is that of the destination: `local` or `unicast`. PROTOCOL is a number, or a name the parser
    doesn't know. FAMILY is 4 or 6.
    """

    IIF = "iif"
    OIF = "oif"
    STATE = "state"
    SOURCE = "source"
    DESTINATION = "destination"
    ADDRESS_TYPE = "address type"
    FAMILY = "family"
    PROTOCOL = "protocol"
    PORT = "destination port"
    OTHER = "other"


Value = str | int | IPNetwork | Span
"""One value to match: an interface name (a trailing * stands for the rest), a word, a number, a prefix, a span."""


@dataclass(frozen=True, slots=True)
class Match:
    """True of a packet whose `field` is one of `values`; the opposite when `negated`."""

    field: Field
    values: tuple[Value, ...] = ()
    negated: bool = False


class Verdict(StrEnum):
    """What a rule does with what it matches. DROP is rejecting, too; TRANSLATE another destination."""

    ACCEPT = "accept"
    DROP = "drop"
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"
    TRANSLATE = "translate"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `text` is what its tool shows, `removal` the command that removes it ("" when there is none).

    `target` is the chain of a JUMP or GOTO. `clamps`: it sets the segment size of TCP to what the path carries.
    """

    text: str
    matches: tuple[Match, ...] = ()
    verdict: Verdict = Verdict.CONTINUE
    target: str = ""
    removal: str = ""
    clamps: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain with its rules in order. `family` is nft's word (ip, ip6, inet, bridge).

    `hook` is "" for a chain that is only jumped to; `kind` (filter, nat, route), `priority` and `policy` are those
    of a base chain.
    """

    tool: Tool
    family: str
    table: str
    name: str
    hook: str = ""
    kind: str = ""
    priority: int = 0
    policy: Verdict = Verdict.ACCEPT
    rules: tuple[Rule, ...] = ()

    def __str__(self) -> str:
        return f"chain {self.name} of table {self.family} {self.table} ({self.tool})"


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Every chain of others. `unread` says which tool's rules there are that could not be read, and why."""

    chains: tuple[Chain, ...] = ()
    unread: tuple[str, ...] = ()

    def beside(self, chain: Chain) -> dict[str, Chain]:
        """The chains of the same table, by name."""
        there = (chain.tool, chain.family, chain.table)
        return {other.name: other for other in self.chains if (other.tool, other.family, other.table) == there}

    def base_chains(self, hook: str) -> list[Chain]:
        """The chains at a hook, in the order of their priorities."""
        return sorted((chain for chain in self.chains if chain.hook == hook), key=lambda chain: chain.priority)
