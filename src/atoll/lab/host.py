"""A host of the lab: a namespace with legs on switches, directories of its own, and perhaps a daemon."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Any, Protocol

from atoll.errors import NotFound
from atoll.lab.daemon import Daemon
from atoll.lab.leftovers import unmount_namespaces
from atoll.lab.namespace import Command, Namespace, end_residents, words


class Plug(Protocol):
    """What a leg needs of a switch."""

    name: str
    path: Path

    def run(self, command: Command, *, check: bool = ..., stdin: str = ..., timeout_s: float = ...) -> Any:
        """Run a program in the switch."""
        ...


@dataclass(frozen=True, slots=True)
class Leg:
    """One interface of a host, its switch and its addresses, at most one a family."""

    ifname: str
    switch: Plug
    addresses: tuple[IPv4Interface | IPv6Interface, ...]


class Host(Namespace):
    """A machine as far as networking goes. Made by `Lab.host`."""

    def __init__(
        self,
        name: str,
        path: Path,
        legs: tuple[Leg, ...],
        *,
        kept: Path,
        volatile: Path,
        started: list[subprocess.Popen[str]],
    ) -> None:
        super().__init__(name, path, started)
        self.legs = legs
        self.netns_directory = volatile / "netns"
        self.state_directory = kept / "state"
        self.run_directory = volatile / "run"
        for made in (self.netns_directory, self.state_directory, self.run_directory):
            made.mkdir(parents=True)
        self.daemon: Daemon | None = None

    def plug(self) -> None:
        """Bring up loopback and every leg. IPv6 without duplicate detection: addresses can be used at once."""
        self.set_sysctls({"ipv6/conf/default/accept_dad": 0, "ipv6/conf/default/accept_ra": 0})
        inside = ["link set lo up"]
        for leg in self.legs:
            port = f"{self.name}-{leg.ifname}"[-15:]
            leg.switch.run(f"ip link del {port}", check=False)
            leg.switch.run(
                ["ip", "-batch", "-"],
                stdin=f"link add {port} type veth peer name {leg.ifname} netns {self.path.name}\n"
                f"link set {port} master lan0 up\n",
            )
            inside += [f"addr add {address} dev {leg.ifname}" for address in leg.addresses]
            inside.append(f"link set {leg.ifname} up")
        self.run(["ip", "-batch", "-"], stdin="\n".join(inside) + "\n")

    def address(self, version: int = 4, *, leg: int = 0) -> IPv4Address | IPv6Address:
        """The host's address of a family (4 or 6) on one of its legs. Raises NotFound."""
        for interface in self.legs[leg].addresses:
            if interface.version == version:
                return interface.ip
        raise NotFound(f"host {self.name} has no IPv{version} address on {self.legs[leg].ifname}")

    def route(self, destination: str, via: "Host", *, leg: int = 0) -> None:
        """Send what goes to `destination` (a prefix, or "default" for both families) through another host.

        `leg` is the leg of `via` on the switch that both share.
        """
        for interface in via.legs[leg].addresses:
            if destination == "default" or (":" in destination) == (interface.version == 6):
                self.run(f"ip -{interface.version} route replace {destination} via {interface.ip}")

    def start_daemon(self, *options: str) -> Daemon:
        """Start a daemon of this host and wait until it is ready; `options` are added to its command line."""
        self.daemon = Daemon(
            self.argv,
            state=self.state_directory,
            run=self.run_directory,
            netns_directory=self.netns_directory,
            options=options,
        )
        return self.daemon

    def atoll_argv(self, command: Command) -> list[str]:
        """The atoll command line as run on this host."""
        return [sys.executable, "-m", "atoll", *words(command)]

    def atoll(self, command: Command, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the atoll command against this host's daemon. Raises CommandFailed when `check` and it fails."""
        prefix = ["env", f"ATOLL_SOCKET={self.run_directory / 'atoll.sock'}"]
        return self.run([*prefix, *self.atoll_argv(command)], check=check)

    def inspect(self, kind: str, name: str) -> Any:
        """One network or sandbox as `atoll KIND inspect` gives it."""
        return json.loads(self.atoll([kind, "inspect", name]).stdout)[0]

    def sandbox(self, name: str) -> Namespace:
        """The namespace of a sandbox, to run programs in. Raises CommandFailed when there is no such sandbox."""
        found = self.inspect("sandbox", name)
        path = self.path if found["Kind"] == "host" else Path(found["NetnsPath"])
        return Namespace(name, path, self.started)

    def sandbox_paths(self) -> Sequence[Path]:
        """Where the namespaces of this host's own sandboxes are mounted."""
        return sorted(self.netns_directory.iterdir()) if self.netns_directory.exists() else []

    def power_off(self) -> None:
        """End all that runs on the host and its sandboxes, and forget what lives in memory only."""
        end_residents([self.path, *self.sandbox_paths()])
        if self.daemon is not None:
            self.daemon.wait()
            self.daemon = None
        unmount_namespaces(self.netns_directory)
        shutil.rmtree(self.run_directory, ignore_errors=True)
        self.run_directory.mkdir(parents=True, exist_ok=True)
