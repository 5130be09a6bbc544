"""netavark as podman calls it.

`python -m bench.peers.netavark PROGRAM DIRECTORY` serves `attach` and `detach` in the namespace that plays the host.
Source: netavark(1), network::types in its source.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from atoll.kernel import netns
from atoll.lab.host import Host
from bench.peers import plain
from bench.peers.peer import Ports
from bench.peers.unpacked import unpacked
from bench.worker import Worker, serve

NETWORK = "podman"
SUBNETS = (("10.89.0.0/16", "10.89.0.1"), ("fd89::/64", "fd89::1"))
ADDRESSES = ("10.89.0.2", "fd89::2")
"""Chosen by podman, before netavark is called."""
ID = "5a" * 32


class Netavark:
    """A Peer."""

    def __init__(self, host: Host, directory: Path) -> None:
        program = unpacked("netavark") / "usr" / "lib" / "podman" / "netavark"
        sandbox = str(host.netns_directory / "sandbox")
        self._worker = Worker(host, "bench.peers.netavark", str(program), str(directory), sandbox)

    def attach(self, ports: Ports) -> float:
        """As Peer.attach."""
        return float(self._worker.ask("attach", ports=ports))

    def detach(self) -> float:
        """As Peer.detach."""
        return float(self._worker.ask("detach"))


class Program:
    """Runs netavark for one container at a time."""

    def __init__(self, program: Path, directory: Path, netns_path: str) -> None:
        self._command = [str(program), "--config", str(directory / "netavark")]
        self._netns = netns_path
        self._options = b""
        (directory / "netavark").mkdir(exist_ok=True)

    def attach(self, ports: Ports) -> float:
        """As Peer.attach."""
        mappings = [
            {"host_ip": "", "host_port": host, "container_port": container, "protocol": "tcp", "range": 1}
            for host, container in ports
        ]
        network = {
            "name": NETWORK,
            "id": ID,
            "driver": "bridge",
            "network_interface": NETWORK,
            "internal": False,
            "ipv6_enabled": True,
            "dns_enabled": False,
            "ipam_options": {"driver": "host-local"},
            "subnets": [{"subnet": subnet, "gateway": gateway} for subnet, gateway in SUBNETS],
        }
        options = {
            "container_id": ID,
            "container_name": "sandbox",
            "port_mappings": mappings,
            "networks": {NETWORK: {"static_ips": ADDRESSES, "interface_name": "eth0"}},
            "network_info": {NETWORK: network},
        }
        self._options = json.dumps(options).encode()
        plain.make(self._netns)
        begun = time.perf_counter()
        self._run("setup")
        return time.perf_counter() - begun

    def detach(self) -> float:
        """As Peer.detach."""
        begun = time.perf_counter()
        self._run("teardown")
        taken = time.perf_counter() - begun
        netns.delete(self._netns)
        return taken

    def _run(self, verb: str) -> None:
        done = subprocess.run(
            [*self._command, verb, self._netns], input=self._options, capture_output=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"netavark {verb}: {(done.stdout + done.stderr).decode().strip()}")


def main(program: Path, directory: Path, netns_path: str) -> None:
    """Serve `attach` and `detach`."""
    caller = Program(program, directory, netns_path)
    serve({"attach": caller.attach, "detach": caller.detach})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
