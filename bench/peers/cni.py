"""CNI's reference plugins as a runtime calls them: bridge with host-local, then portmap when there are ports.

`python -m bench.peers.cni PLUGINS DIRECTORY` serves `attach` and `detach` in the namespace that plays the host.
Source: CNI specification 1.0, "Execution protocol".
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from atoll.kernel import netns
from atoll.lab.host import Host
from bench.peers import plain
from bench.peers.peer import Ports
from bench.peers.unpacked import unpacked
from bench.worker import Worker, serve

VERSION = "1.0.0"
NETWORK = "cni"
SUBNETS = ("10.88.0.0/16", "fd88::/64")
ROUTES = ("0.0.0.0/0", "::/0")


class Cni:
    """A Peer."""

    def __init__(self, host: Host, directory: Path) -> None:
        plugins = unpacked("cni") / "usr" / "lib" / "cni"
        sandbox = str(host.netns_directory / "sandbox")
        self._worker = Worker(host, "bench.peers.cni", str(plugins), str(directory), sandbox)

    def attach(self, ports: Ports) -> float:
        """As Peer.attach."""
        return float(self._worker.ask("attach", ports=ports))

    def detach(self) -> float:
        """As Peer.detach."""
        return float(self._worker.ask("detach"))


class Plugins:
    """Runs the plugins one after another for one container at a time."""

    def __init__(self, plugins: Path, directory: Path, netns_path: str) -> None:
        self._plugins = plugins
        self._netns = netns_path
        self._bridge = {
            "cniVersion": VERSION,
            "name": NETWORK,
            "type": "bridge",
            "bridge": NETWORK,
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": subnet}] for subnet in SUBNETS],
                "routes": [{"dst": route} for route in ROUTES],
                "dataDir": str(directory / "leases"),
            },
        }
        self._chain: list[dict[str, Any]] = []

    def attach(self, ports: Ports) -> float:
        """As Peer.attach."""
        mappings = [{"hostPort": host, "containerPort": container, "protocol": "tcp"} for host, container in ports]
        portmap = {
            "cniVersion": VERSION,
            "name": NETWORK,
            "type": "portmap",
            "snat": True,
            "capabilities": {"portMappings": True},
            "runtimeConfig": {"portMappings": mappings},
        }
        self._chain = [self._bridge, portmap] if ports else [self._bridge]
        plain.make(self._netns)
        begun = time.perf_counter()
        result: Any = None
        for configuration in self._chain:
            result = self._run("ADD", configuration, result)
        return time.perf_counter() - begun

    def detach(self) -> float:
        """As Peer.detach."""
        begun = time.perf_counter()
        for configuration in reversed(self._chain):
            self._run("DEL", configuration, None)
        taken = time.perf_counter() - begun
        netns.delete(self._netns)
        return taken

    def _run(self, command: str, configuration: dict[str, Any], previous: Any) -> Any:
        given = configuration if previous is None else {**configuration, "prevResult": previous}
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "sandbox",
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": self._netns,
            "CNI_PATH": str(self._plugins),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        plugin = self._plugins / configuration["type"]
        done = subprocess.run(
            [plugin], input=json.dumps(given).encode(), env=variables, capture_output=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command} {plugin.name}: {(done.stdout + done.stderr).decode().strip()}")
        return json.loads(done.stdout) if done.stdout else None


def main(plugins: Path, directory: Path, netns_path: str) -> None:
    """Serve `attach` and `detach`."""
    chain = Plugins(plugins, directory, netns_path)
    serve({"attach": chain.attach, "detach": chain.detach})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
