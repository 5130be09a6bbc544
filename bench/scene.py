"""The hosts of a run: one lab with one LAN, and a directory for each contestant."""

from pathlib import Path

from atoll.lab.host import Host
from atoll.lab.topology import Lab

SUBNETS = ("10.99.0.0/24", "fd99::/64")


class Scene(Lab):
    """A lab whose hosts are all on one LAN of both families."""

    def __init__(self) -> None:
        super().__init__("bench")
        self._wan = self.switch("wan", *SUBNETS)

    def machine(self, name: str, *, forwarding: bool = False, filters: bool = False) -> Host:
        """A new host on the LAN. `filters`: frames inside its bridges cross the inet hooks (br_netfilter)."""
        made = self.host(name, self._wan, forwarding=forwarding)
        made.set_sysctls({f"bridge/bridge-nf-call-{tables}": int(filters) for tables in ("iptables", "ip6tables")})
        return made

    def __enter__(self) -> "Scene":
        return self

    def room(self, host: Host) -> Path:
        """The directory of a host, for what a contestant keeps."""
        return host.state_directory.parent
