"""How often, and how much, is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """The sizes of one run. A round measures each contestant once."""

    name: str
    attach_rounds: int
    storms: int
    """How many times attaches are measured while sandboxes are being deleted."""
    storm_sandboxes: int
    port_rounds: int
    ports: int
    crowd: int
    """Published ports beside which ports are published, and the length of the same-number range."""
    peer_port_rounds: int
    peer_ports: int
    docker_ports: int
    """Published once with Docker: a thousand take it minutes. 0 leaves it out."""
    connect_rounds: int
    connects: int
    """Connections in one round."""
    connect_ports: tuple[int, ...]
    pairs: int
    """Rounds of transfers."""
    pair_bytes: int
    """Sent in one transfer."""
    sandboxes: int
    """Of the crowded network."""
    restarts: int
    restart_sandboxes: int
    cli_rounds: int
    flushes: int
    flush_ports: int
    run_rounds: int
    idle_containers: int


FULL = Effort(
    name="full",
    attach_rounds=51,
    storms=3,
    storm_sandboxes=200,
    port_rounds=21,
    ports=1000,
    crowd=50_000,
    peer_port_rounds=7,
    peer_ports=100,
    docker_ports=1000,
    connect_rounds=31,
    connects=200,
    connect_ports=(1, 1000, 10_000),
    pairs=31,
    pair_bytes=1 << 30,
    sandboxes=1500,
    restarts=7,
    restart_sandboxes=1000,
    cli_rounds=51,
    flushes=7,
    flush_ports=10_000,
    run_rounds=30,
    idle_containers=100,
)

QUICK = Effort(
    name="quick",
    attach_rounds=7,
    storms=1,
    storm_sandboxes=50,
    port_rounds=3,
    ports=1000,
    crowd=50_000,
    peer_port_rounds=1,
    peer_ports=10,
    docker_ports=0,
    connect_rounds=7,
    connects=100,
    connect_ports=(1, 1000, 10_000),
    pairs=3,
    pair_bytes=1 << 29,
    sandboxes=200,
    restarts=2,
    restart_sandboxes=100,
    cli_rounds=7,
    flushes=2,
    flush_ports=10_000,
    run_rounds=5,
    idle_containers=20,
)

SMALLEST = Effort(
    name="smallest",
    attach_rounds=1,
    storms=1,
    storm_sandboxes=4,
    port_rounds=1,
    ports=5,
    crowd=100,
    peer_port_rounds=1,
    peer_ports=2,
    docker_ports=0,
    connect_rounds=1,
    connects=5,
    connect_ports=(1, 10),
    pairs=1,
    pair_bytes=1 << 24,
    sandboxes=4,
    restarts=1,
    restart_sandboxes=4,
    cli_rounds=1,
    flushes=1,
    flush_ports=100,
    run_rounds=1,
    idle_containers=2,
)
