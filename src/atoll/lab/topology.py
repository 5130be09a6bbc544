"""A lab: switches and hosts, each a namespace, and the cables between them."""

import atexit
import ipaddress
import os
import re
import shutil
import subprocess
import tempfile
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path
from types import TracebackType

from atoll.errors import InvalidRequest
from atoll.lab.host import Host, Leg
from atoll.lab.leftovers import NETNS_DIRECTORY, VOLATILE_DIRECTORY, add_namespace, delete_namespace, sweep
from atoll.lab.namespace import Namespace, end_residents, end_started

_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}\Z")


class Switch(Namespace):
    """A LAN: a namespace with one bridge, `lan0`, and a subnet of each family it has. Deals out addresses in order."""

    def __init__(
        self,
        name: str,
        path: Path,
        subnets: tuple[IPv4Network | IPv6Network, ...],
        started: list[subprocess.Popen[str]],
    ) -> None:
        super().__init__(name, path, started)
        self.subnets = subnets
        self._dealt = 0

    def deal(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """The next free address of each subnet, with its length; the same last number in each."""
        self._dealt += 1
        return tuple(ipaddress.ip_interface((subnet[self._dealt], subnet.prefixlen)) for subnet in self.subnets)


class Lab:
    """Everything one lab has made; a context manager that takes it all away again.

    Namespaces are named `atoll-lab-PID-LABEL-NAME`, so that two labs never meet, and what a killed
    process has left behind can be told by its dead PID: `sweep`.
    """

    def __init__(self, label: str = "") -> None:
        sweep()
        self._prefix = "-".join(filter(None, ("atoll-lab", str(os.getpid()), label)))
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self._prefix}-"))
        self._volatile = Path(tempfile.mkdtemp(prefix=f"{self._prefix}-", dir=VOLATILE_DIRECTORY))
        self._switches: dict[str, Switch] = {}
        self._hosts: dict[str, Host] = {}
        self._started: list[subprocess.Popen[str]] = []
        self._closed = False
        atexit.register(self.close)

    def switch(self, name: str, *subnets: str) -> Switch:
        """A new LAN; no two subnets of one family. Addresses exist only inside the lab."""
        networks = tuple(ipaddress.ip_network(subnet) for subnet in subnets)
        made = Switch(name, self._namespace(name), networks, self._started)
        self._switches[name] = made
        made.set_sysctls({f"bridge/bridge-nf-call-{tables}": 0 for tables in ("iptables", "ip6tables")})
        made.run(
            ["ip", "-batch", "-"],
            stdin="link set lo up\nlink add lan0 type bridge mcast_snooping 0\nlink set lan0 up\n",
        )
        return made

    def host(self, name: str, *switches: Switch, forwarding: bool = False) -> Host:
        """A new host with a leg on each switch: eth0, eth1... With `forwarding` it's a router."""
        legs = tuple(Leg(f"eth{number}", switch, switch.deal()) for number, switch in enumerate(switches))
        kept, volatile = self.directory / name, self._volatile / name
        made = Host(name, self._namespace(name), legs, kept=kept, volatile=volatile, started=self._started)
        self._hosts[name] = made
        made.plug()
        if forwarding:
            made.set_sysctls({"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
        return made

    def reboot(self, host: Host) -> None:
        """What a power cut leaves: a new namespace for the host, its run directory empty, its state directory kept.

        Legs come back with their addresses; routes and other settings of the host's own don't.
        """
        host.power_off()
        delete_namespace(host.path)
        add_namespace(host.path)
        host.plug()

    def close(self) -> None:
        """End every process in the lab's namespaces, delete them and the temporary directories. Idempotent."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        for host in self._hosts.values():
            host.power_off()
        paths = [space.path for space in (*self._hosts.values(), *self._switches.values())]
        end_residents(paths)
        end_started(self._started)
        for path in paths:
            delete_namespace(path)
        for directory in (self.directory, self._volatile):
            shutil.rmtree(directory, ignore_errors=True)

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _namespace(self, name: str) -> Path:
        if not _NAME.match(name):
            raise InvalidRequest(f"invalid lab name {name!r}: at most 12 of a-z, 0-9 and -, a letter first")
        if name in self._hosts or name in self._switches:
            raise InvalidRequest(f"lab name {name!r} is used twice")
        path = NETNS_DIRECTORY / f"{self._prefix}-{name}"
        add_namespace(path)
        return path
