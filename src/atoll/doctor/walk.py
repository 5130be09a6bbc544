"""What a chain does with a packet, as far as can be told from the rules alone."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from atoll.model.addresses import Family, IPAddress, family_of
from atoll.model.items import Span
from atoll.model.ruleset import Chain, Field, Match, Rule, Ruleset, Value, Verdict

JUMPS_MAX = 16
"""NFT_JUMP_STACK_SIZE, net/netfilter/nf_tables.h."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet to ask about. None, and an empty interface name, mean "whichever": what asks for it can't be decided.

    `states` are conntrack's, and `dnat` when it was translated. `address_type` is that of the destination.
    """

    family: Family
    iif: str = ""
    oif: str = ""
    states: frozenset[str] = frozenset({"new"})
    source: IPAddress | None = None
    destination: IPAddress | None = None
    address_type: str = "unicast"
    protocol: int | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happens: `rule` decides, or the policy when it is None.

    Not `certain`: an earlier rule, which can't be decided, may have accepted the packet.
    """

    verdict: Verdict
    rule: Rule | None = None
    certain: bool = True

    @property
    def text(self) -> str:
        """The rule as its tool shows it."""
        return f"policy {self.verdict}" if self.rule is None else self.rule.text


def outcome_of(ruleset: Ruleset, chain: Chain, packet: Packet) -> Outcome:
    """What a base chain does with a packet. A rule that can't be decided is taken not to drop or translate."""
    walk = _Walk(ruleset.beside(chain), packet)
    decided = walk.through(chain, 0)
    outcome = decided or Outcome(chain.policy)
    return replace(outcome, certain=not walk.doubtful)


class _Walk:
    """One packet's way through the chains of a table."""

    def __init__(self, chains: dict[str, Chain], packet: Packet) -> None:
        self._chains = chains
        self._packet = packet
        self.doubtful = False

    def through(self, chain: Chain, depth: int) -> Outcome | None:
        """What decides in this chain; None when the packet comes out at its end."""
        for rule in chain.rules:
            fits = _fits(rule, self._packet)
            if fits is False or rule.verdict is Verdict.CONTINUE:
                continue
            outcome, leaves = self._done(rule, depth)
            if fits is None:
                passed = leaves if outcome is None else outcome.verdict is not Verdict.DROP
                self.doubtful = self.doubtful or passed
            elif outcome is not None or leaves:
                return outcome
        return None

    def _done(self, rule: Rule, depth: int) -> tuple[Outcome | None, bool]:
        """What a rule that fits decides, and whether the chain is left with it."""
        match rule.verdict:
            case Verdict.RETURN:
                return None, True
            case Verdict.JUMP | Verdict.GOTO:
                target = self._chains.get(rule.target)
                inner = self.through(target, depth + 1) if target is not None and depth < JUMPS_MAX else None
                return inner, rule.verdict is Verdict.GOTO
            case _:
                return Outcome(rule.verdict, rule), True


def _fits(rule: Rule, packet: Packet) -> bool | None:
    """Whether all matches are true; None when that can't be told."""
    answers = [_holds(match, packet) for match in rule.matches]
    return False if False in answers else None if None in answers else True


def _holds(match: Match, packet: Packet) -> bool | None:
    found = _found(match, packet)
    return found if found is None else found is not match.negated


def _found(match: Match, packet: Packet) -> bool | None:
    match match.field:
        case Field.IIF | Field.OIF:
            ifname = packet.iif if match.field is Field.IIF else packet.oif
            return any(_is_named(ifname, value) for value in match.values) if ifname else None
        case Field.STATE:
            return any(value in packet.states for value in match.values)
        case Field.FAMILY:
            return any(value == packet.family for value in match.values)
        case Field.ADDRESS_TYPE:
            return packet.address_type in match.values
        case Field.SOURCE:
            return _is_within(packet.source, match, packet.family)
        case Field.DESTINATION:
            return _is_within(packet.destination, match, packet.family)
        case Field.PROTOCOL:
            return None if packet.protocol is None else packet.protocol in match.values
        case Field.PORT:
            return None if packet.port is None else any(_holds_number(value, packet.port) for value in match.values)
        case Field.OTHER:
            return None


def _is_named(ifname: str, pattern: Value) -> bool:
    text = str(pattern)
    return ifname.startswith(text[:-1]) if text.endswith("*") else ifname == text


def _is_within(address: IPAddress | None, match: Match, family: Family) -> bool | None:
    ranges = [value for value in match.values if _family(value) is family]
    if address is None or not ranges:
        # All of 0.0.0.0/0 is everywhere, and an address of the other family nowhere.
        return any(isinstance(value, IPv4Network | IPv6Network) and value.prefixlen == 0 for value in ranges) or (
            None if ranges else False
        )
    return any(_covers(value, address) for value in ranges)


def _covers(value: Value, address: IPAddress) -> bool:
    if isinstance(value, IPv4Network | IPv6Network):
        return address in value
    return isinstance(value, Span) and int(_start(value)) <= int(address) <= int(value.last)


def _family(value: Value) -> Family | None:
    if isinstance(value, IPv4Network | IPv6Network):
        return family_of(value)
    first = _start(value) if isinstance(value, Span) else None
    return family_of(first) if isinstance(first, IPv4Address | IPv6Address) else None


def _start(value: Span) -> IPAddress | int:
    return value.first


def _holds_number(value: Value, number: int) -> bool:
    if isinstance(value, Span):
        return isinstance(value.first, int) and isinstance(value.last, int) and value.first <= number <= value.last
    return value == number
