"""What the engine itself knows to be wrong, and ports that somebody else has."""

import re
from collections.abc import Iterator

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.snapshot import Snapshot
from atoll.model.hostview import PortHolder
from atoll.model.ports import PortBinding, addresses_meet
from atoll.model.sandbox import Sandbox

_PID = re.compile(r"\(pid (\d+)\)")


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Degraded objects by name, then ports."""
    held = {sandbox.id: found for sandbox in _sandboxes(snapshot) if (found := _holders(snapshot, sandbox))}
    for object_id, reason in snapshot.degraded.items():
        if object_id not in held:
            yield _degraded(snapshot, object_id, reason)
    for sandbox in _sandboxes(snapshot):
        for binding, holder in held.get(sandbox.id, ()):
            yield _port_held(sandbox, binding, holder, degraded=sandbox.id in snapshot.degraded)


def _degraded(snapshot: Snapshot, object_id: str, reason: str) -> Finding:
    kind, name = "host", ""
    for word, table in (("network", snapshot.world.networks), ("sandbox", snapshot.world.sandboxes)):
        if object_id in table:
            kind, name = word, table[object_id].name
    pid = _PID.search(reason)
    away = (f"kill {pid.group(1)}",) if pid else ()
    look = () if kind == "host" else (f"atoll {kind} inspect {name}",)
    return Finding(
        Severity.ERROR,
        Kind.DEGRADED,
        f"{kind} {name}".strip(),
        f"{kind} {name} is degraded: {reason}" if name else f"the host's side is degraded: {reason}",
        "what the reason names; it was tried, and is tried again at the next start",
        (*away, *look, "atoll down", "atoll up"),
    )


def _sandboxes(snapshot: Snapshot) -> list[Sandbox]:
    return sorted(snapshot.world.sandboxes.values(), key=lambda sandbox: sandbox.name)


def _holders(snapshot: Snapshot, sandbox: Sandbox) -> list[tuple[PortBinding, PortHolder]]:
    return [(b, h) for b in sandbox.bindings for h in snapshot.view.listeners if _meet(b, h)]


def _meet(binding: PortBinding, holder: PortHolder) -> bool:
    in_range = binding.host.first <= holder.port <= binding.host.last
    return holder.protocol is binding.protocol and in_range and addresses_meet(binding.host_address, holder.address)


def _port_held(sandbox: Sandbox, binding: PortBinding, holder: PortHolder, *, degraded: bool) -> Finding:
    pid = _PID.search(holder.process)
    port = f"{holder.port}/{holder.protocol.word}"
    return Finding(
        Severity.ERROR if degraded else Severity.WARNING,
        Kind.PORT_HELD,
        port,
        f"{holder.process or 'an unknown process'} listens on {holder.address} port {port}, "
        f"which sandbox {sandbox.name} publishes ({binding})",
        f"that process: connections go to sandbox {sandbox.name}, for as long as the daemon serves it",
        (*((f"kill {pid.group(1)}",) if pid else ()), *(("atoll down", "atoll up") if degraded else ())),
    )
