"""A host for `atoll doctor` to examine: with a daemon, networks and a published port, and whoever asks for it."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.lab.host import Host
from atoll.lab.namespace import Namespace
from atoll.lab.probe import CLOSED_WAIT_S, Answerer, ask_one
from atoll.lab.topology import Lab

WEB_ADDRESS = "10.88.0.130"
PORT = 8080

Finding = dict[str, Any]


@dataclass
class Patient:
    """The host, the router on its LAN that is also the client, and a sandbox `web` on network `front`."""

    lab: Lab
    host: Host
    client: Host

    def examine(self) -> tuple[int, list[Finding]]:
        """Exit status and findings of `atoll doctor`."""
        done = self.host.atoll("doctor --format json", check=False)
        assert not done.stderr, done.stderr
        findings: list[Finding] = json.loads(done.stdout)
        return done.returncode, findings

    def find(self, kind: str, *words: str) -> Finding:
        """The one finding of a kind whose text has all of `words`."""
        _, findings = self.examine()
        fits = [f for f in findings if f["Kind"] == kind and all(word in f["Found"] for word in words)]
        assert len(fits) == 1, f"{kind} {words}: {findings}"
        return fits[0]

    def serious(self) -> list[Finding]:
        """Findings worse than notes."""
        return [finding for finding in self.examine()[1] if finding["Severity"] != "note"]

    def cure(self, finding: Finding, *, path: str = "") -> None:
        """Type the remedy, line by line; programs are looked for in `path` first."""
        assert finding["Remedy"], finding
        for line in finding["Remedy"]:
            self.type(line, path=path)

    def type(self, line: str, *, path: str = "") -> None:
        """One line, as a shell on the host takes it. The daemon's own start and stop are the lab's business."""
        assert self.host.daemon is not None
        match line:
            case "atoll down":
                self.host.daemon.stop()
            case "atoll up":
                self.host.daemon.restart()
            case _:
                found = ":".join(filter(None, (path, str(Path(sys.executable).parent), os.environ["PATH"])))
                socket = self.host.run_directory / "atoll.sock"
                self.host.run(["env", f"PATH={found}", f"ATOLL_SOCKET={socket}", "sh", "-ec", line])

    def reaches(self, *, version: int = 4, port: int = PORT) -> str:
        """Who answers the client at a port of the host; "" when nobody does."""
        return ask_one(self.client, "tcp", str(self.host.address(version)), port, wait_s=4 * CLOSED_WAIT_S).server

    def pings(self, source: Namespace, target: str) -> bool:
        """Whether one echo comes back."""
        return source.run(["ping", "-c1", "-W1", target], check=False).returncode == 0


@contextmanager
def patient(*, bridge_nf_call: int = 0, before: str = "") -> Iterator[Patient]:
    """A patient that is well. `before` is typed on the host before its daemon starts for the first time."""
    with Lab("doctor") as lab:
        lan = lab.switch("lan", "10.99.0.0/24", "fd99::/64")
        host, client = lab.host("host", lan), lab.host("client", lan)
        host.set_sysctls({f"bridge/bridge-nf-call-{name}": bridge_nf_call for name in ("iptables", "ip6tables")})
        host.route("default", client)
        if before:
            host.run(shlex.split(before))
        host.start_daemon()
        host.atoll("network create --ipv6 --subnet 10.88.0.0/24 --subnet fd88::/64 front")
        host.atoll(f"sandbox create web --network front,ip={WEB_ADDRESS},ip6=fd88::82 -p {PORT}:80")
        Answerer(host.sandbox("web"), "web", [("tcp", "0.0.0.0", 80), ("tcp", "::", 80)])
        yield Patient(lab, host, client)
