"""The daemon that is sent nonsense, and what has to hold after each request."""

import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.processes import resident_bytes
from tests.support.contained import Docker
from tests.support.daemon import Answer, DaemonHost

TIMEOUT_S = 20
LISTINGS = ("/containers/json?all=1", "/networks", "/volumes", "/images/json", "/atoll/sandboxes")
STAYS, RUNS = "stays", "runs"
"""Containers that are there: one that was made alone, and one that runs. Both have terminals and input."""


@dataclass
class Target:
    """A daemon with a container of each kind."""

    docker: Docker
    ids: dict[str, str] = field(default_factory=dict)
    """Of what stays, by name."""
    _read: int = field(default=0, init=False)

    @property
    def host(self) -> DaemonHost:
        return self.docker.host

    def ask(self, method: str, target: str, body: Any = None, **options: Any) -> Answer:
        """One request, after which the daemon is as well as before."""
        answer = self.host.ask(method, target, body, **options)
        assert answer.status != 500, (method, target, body, answer)
        self.check_log()
        return answer

    def check_log(self) -> None:
        """Nothing new in the log is an error, or what Python says when nobody caught one."""
        with (self.host.directory / "daemon.log").open("rb") as log:
            log.seek(self._read)
            said = log.read().decode(errors="replace")
            self._read = log.tell()
        assert "Traceback" not in said and " ERROR " not in said and "never retrieved" not in said, said

    def there(self) -> str:
        """All that can be listed, and all that lies in the daemon's directories."""
        seen = [json.dumps(_timeless(self.host.must("GET", listing)), sort_keys=True) for listing in LISTINGS]
        for directory in ("containers", "volumes", "images/config", "images/layers"):
            seen.append(" ".join(sorted(path.name for path in self._state(directory).iterdir())))
        return "\n".join(seen)

    def _state(self, name: str) -> Path:
        made = self.host.state / name
        made.mkdir(exist_ok=True)
        return made

    def resident_bytes(self) -> int:
        """The daemon's memory."""
        assert self.host.process is not None
        return resident_bytes(self.host.process.pid)

    def raw(self, sent: bytes, *, patience_s: float = TIMEOUT_S) -> bytes:
        """What a connection gives back for some bytes, until it ends, or is silent for longer than that."""
        received = b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(patience_s)
            client.connect(str(self.host.socket))
            try:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
                while part := client.recv(65536):
                    received += part
            except (BrokenPipeError, ConnectionResetError):
                pass
            except TimeoutError:
                assert patience_s < TIMEOUT_S, (sent, received)
        self.check_log()
        return received

    def restore(self) -> None:
        """Give back the names that requests have changed."""
        for name, container_id in self.ids.items():
            if self.host.must("GET", f"/containers/{container_id}/json")["Name"] != f"/{name}":
                self.host.must("POST", f"/containers/{container_id}/rename?name={name}")

    def remove_everything(self) -> None:
        """Take away what requests have made, but for what stays."""
        for container in self.host.must("GET", "/containers/json?all=1"):
            if container["Names"] not in ([f"/{STAYS}"], [f"/{RUNS}"]):
                self.host.must("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        for sandbox in self.host.must("GET", "/atoll/sandboxes"):
            if sandbox["Name"] not in (STAYS, RUNS):
                self.host.must("DELETE", f"/atoll/sandboxes/{sandbox['Id']}?force=1")
        self.host.must("POST", "/networks/prune")
        for volume in self.host.must("GET", "/volumes")["Volumes"]:
            self.host.must("DELETE", f"/volumes/{volume['Name']}")
        for image in self.host.must("GET", "/images/json"):
            for name in image["RepoTags"] or [image["Id"]]:
                if name != "busybox:latest":
                    self.host.must("DELETE", f"/images/{name}?force=1")


def quoted(text: str) -> str:
    """A text as a part of a path or of a query."""
    return quote(text, safe="")


def _timeless(listing: Any) -> Any:
    """Without the words that change by themselves."""
    if isinstance(listing, list):
        for entry in listing:
            entry.pop("Status", None)
    return listing
