"""A real dockerd on a host made of a namespace. What its network costs is a container with one less one without."""

import io
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

from atoll.errors import Unavailable
from atoll.lab.host import Host
from bench.client import Client
from bench.peers.peer import Ports
from bench.worker import ROOT

START = ROOT / "tests" / "e2e" / "dockerd" / "start"
API = "/v1.41"
IMAGE = "busybox:bench"
READY_TIMEOUT_S = 60
OPTIONS = ("--ipv6", "--fixed-cidr-v6", "fd90::/64", "--experimental", "--ip6tables", "--log-level", "error")


class Docker:
    """A Peer. A context manager: its end ends the daemon. `options` come after the usual ones, which they replace."""

    def __init__(self, host: Host, directory: Path, *options: str) -> None:
        # dockerd enters the namespace by itself, from the outside, as it needs a mount namespace of its own.
        with (directory / "dockerd.log").open("wb") as log:
            self._process = subprocess.Popen(
                [START, host.path, directory, *OPTIONS, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.socket = directory / "docker.sock"
        self._client = Client(self.socket)
        self._await_ready(directory / "dockerd.log")
        self._load_image()
        self._networked = self._alone = ""

    def attach(self, ports: Ports) -> float:
        """As Peer.attach: `docker run` on the bridge less `docker run` without a network."""
        self._alone, alone = self._run("none", ())
        self._networked, networked = self._run("bridge", ports)
        return networked - alone

    def detach(self) -> float:
        """As Peer.detach."""
        networked, alone = (
            self._client.timed("DELETE", f"{API}/containers/{each}?force=1") for each in (self._networked, self._alone)
        )
        return networked - alone

    def close(self) -> None:
        """End the daemon and wait for it."""
        self._client.close()
        self._process.terminate()
        self._process.wait(timeout=READY_TIMEOUT_S)

    def __enter__(self) -> "Docker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, network: str, ports: Ports) -> tuple[str, float]:
        """The id of a started container, and the seconds from the first request to the last answer."""
        wanted: dict[str, Any] = {
            "Image": IMAGE,
            "Cmd": ["/busybox", "sleep", "3600"],
            "ExposedPorts": {f"{container}/tcp": {} for _, container in ports},
            "HostConfig": {
                "NetworkMode": network,
                "PortBindings": {f"{container}/tcp": [{"HostPort": str(host)}] for host, container in ports},
            },
        }
        begun = time.perf_counter()
        made = str(self._client.ask("POST", f"{API}/containers/create", wanted)["Id"])
        self._client.ask("POST", f"{API}/containers/{made}/start")
        return made, time.perf_counter() - begun

    def _load_image(self) -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add("/bin/busybox", "busybox")
        repository, tag = IMAGE.split(":")
        self._client.timed("POST", f"{API}/images/create?fromSrc=-&repo={repository}&tag={tag}", archive.getvalue())

    def _await_ready(self, log: Path) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                self._client.timed("GET", "/_ping")
                return
            except OSError:
                self._client.close()
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"dockerd is not ready: {log.read_text()[-1000:]}")
            time.sleep(0.1)
