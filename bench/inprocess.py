"""The engine without its daemon, and the floor beside it, on one host.

`python -m bench.inprocess DIRECTORY NETNS_DIRECTORY` runs in the namespace that plays the host; what it keeps is below
DIRECTORY.
"""

import itertools
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from atoll.daemon.arguments import Arguments
from atoll.daemon.wiring import start_engine
from atoll.engine.engine import Engine
from atoll.kernel import netns
from atoll.model.network import NetworkRequest
from atoll.model.portspec import parse_publish
from atoll.model.sandbox import EndpointRequest, Sandbox, SandboxRequest
from bench.floor import Floor
from bench.recording import recorded
from bench.worker import serve

NETWORK = "dual"


class Pair:
    """One engine and one floor, which have the host by turns."""

    def __init__(self, directory: Path, netns_directory: Path) -> None:
        arguments = Arguments(
            state=directory / "state",
            run=directory / "run",
            socket=directory / "run" / "atoll.sock",
            netns_directory=netns_directory,
            log_level="info",
        )
        self._engine: Engine = start_engine(arguments, lambda event: None).engine
        self._engine.create_network(NetworkRequest(NETWORK, ipv6=True))
        self._names = (f"s{number}" for number in itertools.count())
        self._floor = self._recorded(directory / "floor.db")

    def engine(self) -> float:
        """Seconds that one attach through the engine's verb takes; it is gone again afterwards."""
        request = _request(next(self._names))
        begun = time.perf_counter()
        made = self._engine.create_sandbox(request)
        taken = time.perf_counter() - begun
        self._remove(made.value)
        return taken

    def floor(self) -> float:
        """Seconds that the same takes in a bare loop."""
        taken = self._floor.attach()
        self._floor.detach()
        return taken

    def _recorded(self, path: Path) -> Floor:
        with recorded() as calls:
            sandbox = self._engine.create_sandbox(_request(next(self._names))).value
        assert sandbox.netns is not None
        wanted = _seen(sandbox.netns.path)
        self._remove(sandbox)
        floor = Floor(calls, path)
        floor.attach()
        found = _seen(sandbox.netns.path)
        assert found == wanted, f"the floor makes something else: {found} instead of {wanted}"
        floor.detach()
        return floor

    def _remove(self, sandbox: Sandbox) -> None:
        self._engine.remove_sandbox(sandbox.id)
        while self._engine.idle() == 0:
            pass


def _request(name: str) -> SandboxRequest:
    return SandboxRequest(name, endpoints=(EndpointRequest(NETWORK),), mappings=parse_publish(["8080:80"]))


def _seen(path: str) -> list[str]:
    """Addresses and routes inside a namespace, as `ip` tells them, without what the kernel still thinks about."""
    commands = [["ip", "-j", f"-{version}", what] for version in "46" for what in ("addr", "route")]
    told = [netns.run_in(path, partial(subprocess.check_output, command)) for command in commands]
    return [_gist(each) for text in told for each in json.loads(text)]


def _gist(told: dict[str, Any]) -> str:
    addresses = [f"{each['local']}/{each['prefixlen']}" for each in told.get("addr_info", ())]
    return " ".join(str(told.get(key, "")) for key in ("ifname", "mtu", "dst", "gateway", "dev")) + " ".join(addresses)


def main(directory: Path, netns_directory: Path) -> None:
    """Serve `engine` and `floor`."""
    pair = Pair(directory, netns_directory)
    serve({"engine": pair.engine, "floor": pair.floor})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
