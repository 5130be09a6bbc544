"""Lines to type that several checks offer."""

from atoll.doctor.snapshot import Snapshot
from atoll.model.network import Network


def set_sysctl(path: str, value: str) -> str:
    """The command for a path below /proc/sys. With a dot in an interface's name sysctl wants slashes."""
    return f"sysctl -w {path if '.' in path else path.replace('/', '.')}={value}"


def make_anew(snapshot: Snapshot, network: Network, options: str) -> tuple[str, ...]:
    """Remove a network and make it again with `options`; who is on it is put back. Other options are for the caller."""
    names = [snapshot.world.sandboxes[e.sandbox_id].name for e in snapshot.world.endpoints_on(network.id)]
    return (
        *(f"atoll network disconnect {network.name} {name}" for name in names),
        f"atoll network rm {network.name}",
        f"atoll network create {options} {network.name}",
        *(f"atoll network connect {network.name} {name}" for name in names),
    )
