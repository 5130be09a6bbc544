"""Chains of others at the forward hook that drop what our networks send and get."""

from collections.abc import Iterator
from dataclasses import dataclass

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.letting import let_through
from atoll.doctor.snapshot import Snapshot
from atoll.doctor.walk import Outcome, Packet, outcome_of
from atoll.model.addresses import Family
from atoll.model.options import GatewayMode
from atoll.model.ports import Protocol
from atoll.model.ruleset import Chain, Verdict

_FAMILIES = {"ip": (Family.V4,), "ip6": (Family.V6,), "inet": tuple(Family)}


@dataclass(frozen=True, slots=True)
class _Probe:
    """A packet that has to pass: `way` says which, for people."""

    network: str
    bridge: str
    way: str
    packet: Packet


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for each chain that drops some of our traffic."""
    probes = list(_probes(snapshot))
    for chain in snapshot.view.ruleset.base_chains("forward"):
        if chain.family == "bridge":
            yield from _bridged(snapshot, chain)
            continue
        dropped = [
            (probe, outcome)
            for probe in probes
            if probe.packet.family in _FAMILIES[chain.family]
            and (outcome := outcome_of(snapshot.view.ruleset, chain, probe.packet)).verdict is Verdict.DROP
        ]
        if dropped:
            yield _finding(snapshot, chain, dropped)


def _probes(snapshot: Snapshot) -> Iterator[_Probe]:
    for network, bridge in snapshot.bridges():
        for pool in network.pools:
            family = pool.family
            uplink = next(iter(snapshot.uplinks(family)), "")
            inside = pool.gateway
            if not network.internal:
                out = Packet(family, iif=bridge, oif=uplink, source=inside, protocol=Protocol.TCP)
                yield _Probe(network.name, bridge, "from containers to the outside", out)
                routed = network.bridge is not None and network.bridge.mode(family) is GatewayMode.ROUTED
                states = frozenset({"new"} if routed else {"new", "dnat"})
                into = Packet(family, uplink, bridge, states, destination=inside, protocol=Protocol.TCP)
                yield _Probe(network.name, bridge, "from the outside to published ports", into)
            if snapshot.facts.bridge_nf_call.get(family, False):
                bridged = Packet(family, bridge, bridge, source=inside, destination=inside, protocol=Protocol.TCP)
                yield _Probe(network.name, bridge, "between containers of one network", bridged)


def _finding(snapshot: Snapshot, chain: Chain, dropped: list[tuple[_Probe, Outcome]]) -> Finding:
    certain = any(outcome.certain for _, outcome in dropped)
    texts = dict.fromkeys(outcome.text for _, outcome in dropped)
    names = dict.fromkeys(probe.network for probe, _ in dropped)
    bridges = {probe.bridge for probe, _ in dropped}
    ways = dict.fromkeys(probe.way for probe, _ in dropped)
    return Finding(
        Severity.ERROR if certain else Severity.WARNING,
        Kind.FORWARD_DROP,
        f"{chain.family} {chain.table} {chain.name}",
        f"{chain} {'drops' if certain else 'may drop'}: {'; '.join(texts)}",
        f"traffic of network {', '.join(names)} {', '.join(ways)}",
        let_through(snapshot.view.ruleset, chain, snapshot.patterns(bridges), bridges),
    )


def _bridged(snapshot: Snapshot, chain: Chain) -> Iterator[Finding]:
    """A bridge chain sees frames between the ports of one bridge, whatever br_netfilter is."""
    ports = {bridge: [link.ifname for link in snapshot.view.links if link.master == bridge and link.ours]
             for _, bridge in snapshot.bridges()}  # fmt: skip
    for network, bridge in snapshot.bridges():
        first = next(iter(ports[bridge]), "")
        if not first:
            continue
        outcome = outcome_of(snapshot.view.ruleset, chain, Packet(Family.V4, iif=first, oif=first))
        if outcome.verdict is Verdict.DROP:
            yield Finding(
                Severity.ERROR if outcome.certain else Severity.WARNING,
                Kind.FORWARD_DROP,
                f"{chain.family} {chain.table} {chain.name}",
                f"{chain} {'drops' if outcome.certain else 'may drop'}: {outcome.text}",
                f"traffic between containers of network {network.name}",
                (f"nft insert rule {chain.family} {chain.table} {chain.name} iifname '\"av*\"' accept",),
            )
            return
