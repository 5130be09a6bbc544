"""br_netfilter: frames inside a bridge cross the inet hooks, and what that costs."""

from collections.abc import Iterator

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.snapshot import Snapshot
from atoll.model.addresses import Family


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """One finding for both families: a note, or a warning where something published is out of reach for it."""
    files = {Family.V4: "bridge-nf-call-iptables", Family.V6: "bridge-nf-call-ip6tables"}
    on = [file for family, file in files.items() if snapshot.facts.bridge_nf_call.get(family, False)]
    if not on:
        return
    cut_off = sorted({network.name for network, _ in snapshot.bridges() if _publishes_apart(snapshot, network.id)})
    costs = "throughput inside a network; [::1] ports need the relay; rules of others meet traffic inside a network"
    if cut_off:
        costs += f"; in network {', '.join(cut_off)} (icc off) nobody reaches a neighbour's published port"
    yield Finding(
        Severity.WARNING if cut_off else Severity.NOTE,
        Kind.BRIDGE_FILTER,
        "br_netfilter",
        " and ".join(f"net.bridge.{file} is 1" for file in on),
        costs,
        tuple(f"sysctl -w net.bridge.{file}=0" for file in on),
    )


def _publishes_apart(snapshot: Snapshot, network_id: str) -> bool:
    network = snapshot.world.networks[network_id]
    if network.bridge is None or network.bridge.icc:
        return False
    members = snapshot.world.endpoints_on(network_id)
    return len(members) > 1 and any(snapshot.world.sandboxes[member.sandbox_id].bindings for member in members)
