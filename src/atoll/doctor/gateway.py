"""Chains of others at the input hook: what containers ask of the host itself, and what such chains don't see."""

from collections.abc import Iterator

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.letting import let_in
from atoll.doctor.snapshot import Snapshot
from atoll.doctor.walk import Packet, outcome_of
from atoll.model.addresses import Family
from atoll.model.network import Network, Pool
from atoll.model.options import GatewayMode
from atoll.model.ports import Protocol
from atoll.model.ruleset import Chain, Verdict

_FAMILIES = {"ip": (Family.V4,), "ip6": (Family.V6,), "inet": tuple(Family)}
_DNS = 53
"""The port of the service that containers ask of their gateway first."""


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for each chain that drops; a note where such a chain seems to guard published ports, and doesn't."""
    chains = [chain for chain in snapshot.view.ruleset.base_chains("input") if chain.family in _FAMILIES]
    for chain in chains:
        yield from _from_containers(snapshot, chain)
    guards = [chain for chain in chains if _drops_from_outside(snapshot, chain)]
    published = sorted({sandbox.name for sandbox in snapshot.world.sandboxes.values() if sandbox.bindings})
    if guards and published:
        yield Finding(
            Severity.NOTE,
            Kind.INPUT_BYPASSED,
            str(guards[0]),
            f"{guards[0]} closes ports of the host, but sees no packet for published ones: "
            f"those of {', '.join(published)}",
            "nothing; but a published port is open to whoever reaches the host, as with Docker",
            ("atoll sandbox create NAME -p 127.0.0.1:8080:80  # one that only the host itself reaches",),
        )


def _from_containers(snapshot: Snapshot, chain: Chain) -> Iterator[Finding]:
    dropped = {}
    for network, bridge in snapshot.bridges():
        for pool in network.pools:
            if pool.family not in _FAMILIES[chain.family] or not _is_hosts(network, pool):
                continue
            asked = Packet(
                pool.family,
                iif=bridge,
                destination=pool.gateway,
                address_type="local",
                protocol=Protocol.UDP,
                port=_DNS,
            )
            outcome = outcome_of(snapshot.view.ruleset, chain, asked)
            if outcome.verdict is Verdict.DROP:
                dropped[network.name] = (bridge, outcome)
    if dropped:
        bridges = {bridge for bridge, _ in dropped.values()}
        texts = dict.fromkeys(outcome.text for _, outcome in dropped.values())
        certain = any(outcome.certain for _, outcome in dropped.values())
        yield Finding(
            Severity.WARNING,
            Kind.INPUT_DROP,
            f"{chain.family} {chain.table} {chain.name}",
            f"{chain} {'drops' if certain else 'may drop'}: {'; '.join(texts)}",
            f"what containers of network {', '.join(dropped)} ask of their gateway, such as names (udp port 53); "
            "published ports are not affected",
            let_in(snapshot.view.ruleset, chain, snapshot.patterns(bridges), bridges),
        )


def _is_hosts(network: Network, pool: Pool) -> bool:
    """Whether the host has the gateway's address."""
    options = network.bridge
    if options is None or options.mode(pool.family) is GatewayMode.ISOLATED:
        return False
    return not (options.inhibit_ipv4 and pool.family is Family.V4)


def _drops_from_outside(snapshot: Snapshot, chain: Chain) -> bool:
    for family in _FAMILIES[chain.family]:
        uplink = next(iter(snapshot.uplinks(family)), "")
        asked = Packet(family, iif=uplink, address_type="local", protocol=Protocol.TCP, port=0)
        if outcome_of(snapshot.view.ruleset, chain, asked).verdict is Verdict.DROP:
            return True
    return False
