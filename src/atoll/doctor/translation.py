"""Chains of others that translate the destination of what comes to our published ports."""

from collections.abc import Iterator

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.snapshot import Snapshot
from atoll.doctor.walk import Outcome, Packet, outcome_of
from atoll.model.addresses import Family, family_of
from atoll.model.ports import PortBinding
from atoll.model.ruleset import Chain, Verdict

OUR_PRIORITY = -110
"""Of the chains `prerouting` and `output` of the table inet atoll. At the same one, the later registered goes first."""
BINDINGS_MAX = 2000
"""So many published ports are asked about: a rule that takes ports takes one of these."""
_FAMILIES = {"ip": (Family.V4,), "ip6": (Family.V6,), "inet": tuple(Family)}


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for each rule of another table that takes, or tries to take, a port that is published."""
    seen = set()
    for hook in ("prerouting", "output"):
        for chain in snapshot.view.ruleset.base_chains(hook):
            if chain.family not in _FAMILIES or (chain.kind != "nat" and chain.priority > OUR_PRIORITY):
                continue
            for name, binding, outcome in _taken(snapshot, chain):
                if outcome.rule is not None and (chain, outcome.rule) not in seen:
                    seen.add((chain, outcome.rule))
                    yield _finding(chain, name, binding, outcome)


def _taken(snapshot: Snapshot, chain: Chain) -> Iterator[tuple[str, PortBinding, Outcome]]:
    asked = 0
    for sandbox in snapshot.world.sandboxes.values():
        for binding in sandbox.bindings:
            asked += 1
            if asked > BINDINGS_MAX:
                return
            for family in _FAMILIES[chain.family]:
                if binding.host_address is not None and family_of(binding.host_address) is not family:
                    continue
                outcome = outcome_of(snapshot.view.ruleset, chain, _first_packet(snapshot, chain, family, binding))
                if outcome.verdict is Verdict.TRANSLATE:
                    yield sandbox.name, binding, outcome


def _first_packet(snapshot: Snapshot, chain: Chain, family: Family, binding: PortBinding) -> Packet:
    """Of a connection to the binding's first port: from the uplink, or from the host itself in an output chain."""
    uplink = next(iter(snapshot.uplinks(family)), "")
    return Packet(
        family,
        iif=uplink if chain.hook == "prerouting" else "",
        oif="lo" if chain.hook == "output" else "",
        destination=binding.host_address,
        address_type="local",
        protocol=binding.protocol,
        port=binding.host.first,
    )


def _finding(chain: Chain, name: str, binding: PortBinding, outcome: Outcome) -> Finding:
    assert outcome.rule is not None, "a policy translates nothing"
    first = chain.priority <= OUR_PRIORITY
    port = f"{binding.host}/{binding.protocol.word} of sandbox {name}"
    return Finding(
        Severity.NOTE if not first else Severity.ERROR if outcome.certain else Severity.WARNING,
        Kind.PORT_TRANSLATED,
        f"{chain.family} {chain.table} {chain.name}",
        f"{chain}, priority {chain.priority}, leads port {binding.host} elsewhere: {outcome.rule.text}",
        f"published port {port}: connections go elsewhere"
        if first
        else f"nothing of ours: published port {port} goes first (priority {OUR_PRIORITY}), and this rule gets nothing",
        (outcome.rule.removal,) if outcome.rule.removal else (),
    )
