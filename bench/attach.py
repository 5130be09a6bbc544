"""Attach and publish through the daemon's socket, as a client waits for it, beside the floor.

A publish is a sandbox made with ports less one made without, so both are on the same ground as the floor's elements.
"""

import http.client
import json
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.lab.host import Host
from atoll.lab.topology import Lab
from bench.cases import ATTACHES, PORT_COUNTS, PUBLISHES

QUARTER = ATTACHES // 4


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; times in seconds."""

    what: str
    atoll: Sequence[float]
    floor: Sequence[float]


class Connection(http.client.HTTPConnection):
    """A kept connection to a daemon's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Open the unix socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def ask(self, method: str, route: str, body: dict[str, Any] | None = None) -> float:
        """Seconds that one request takes. Raises AssertionError with the answer when it is refused."""
        text = None if body is None else json.dumps(body)
        begun = time.perf_counter()
        self.request(method, route, text, {"Content-Type": "application/json"})
        answer = self.getresponse()
        content = answer.read()
        taken = time.perf_counter() - begun
        assert answer.status < 300, f"{method} {route}: {answer.status} {content[:300]!r}"
        return taken


def measure() -> list[Figure]:
    """All figures, on two hosts made of namespaces: one with a daemon, one bare."""
    with Lab("bench") as lab:
        wan = lab.switch("wan", "10.99.0.0/24")
        host, bare = lab.host("host", wan), lab.host("bare", wan)
        floor = _floor(bare)
        daemon = host.start_daemon()
        connection = Connection(daemon.socket)
        figures = []
        base = statistics.median(_create(connection, []) for _ in range(PUBLISHES))
        for count in PORT_COUNTS:
            # Shifted by one, so that each port is an element of its own; a range of same numbers would be one.
            ports = [f"10000-{9999 + count}:10001-{10000 + count}"]
            taken = [max(0.0, _create(connection, ports) - base) for _ in range(PUBLISHES)]
            figures.append(Figure(f"publish {count} ports", taken, floor["publish"][str(count)]))
        attached = _attach(connection)
        # Apart, as the cost must not grow with how many there are.
        figures.append(Figure(f"attach, first {QUARTER}", attached[:QUARTER], floor["attach"][:QUARTER]))
        figures.append(Figure(f"attach, last {QUARTER} of {ATTACHES}", attached[-QUARTER:], floor["attach"][-QUARTER:]))
        return figures


def _attach(connection: Connection) -> list[float]:
    return [connection.ask("POST", "/atoll/sandboxes/create", {"Name": f"s{number}"}) for number in range(ATTACHES)]


def _create(connection: Connection, publish: list[str]) -> float:
    taken = connection.ask("POST", "/atoll/sandboxes/create", {"Name": "published", "Publish": publish})
    connection.ask("DELETE", "/atoll/sandboxes/published")
    return taken


def _floor(bare: Host) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.floor", str(bare.netns_directory)]
    done = bare.run(command, timeout_s=120)
    return dict(json.loads(done.stdout))


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table: medians, the 95th hundredth, and how many times the floor."""
    lines = ["| | atoll, ms | 95 % within | bare calls, ms | factor |", "|---|---|---|---|---|"]
    for figure in figures:
        middle, least = statistics.median(figure.atoll), statistics.median(figure.floor)
        late = statistics.quantiles(figure.atoll, n=20)[-1]
        lines.append(
            f"| {figure.what} | {middle * 1e3:.2f} | {late * 1e3:.2f} | {least * 1e3:.2f} | {middle / least:.1f} |"
        )
    return "\n".join(lines)
