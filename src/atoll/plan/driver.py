"""What a driver is: a compiler from objects to items."""

from dataclasses import dataclass
from typing import Protocol

from atoll.model.facts import HostFacts
from atoll.model.items import Item
from atoll.model.network import Network
from atoll.model.sandbox import Endpoint


@dataclass(frozen=True, slots=True)
class Naming:
    """How interfaces of ours are called, and how many share a bridge; the id makes them unique on a host.

    `endpoints_max` are on one bridge of a network before it gets a further one: see `segments.py`.
    """

    default_bridge: str = "atoll0"
    endpoints_max: int = 1000

    def bridge(self, network_id: str, *, default: bool = False) -> str:
        """Name of a network's bridge."""
        return self.default_bridge if default else f"at-{network_id[:12]}"

    def host_ifname(self, endpoint_id: str) -> str:
        """Name of an endpoint's veth end on the host."""
        return f"av{endpoint_id[:12]}"


class Compiler(Protocol):
    """One driver. Both functions are pure and say everything that the object needs on this host."""

    def network(self, network: Network, facts: HostFacts) -> tuple[Item, ...]:
        """Kernel state of a network without endpoints."""
        ...

    def endpoint(self, network: Network, endpoint: Endpoint, netns: str, facts: HostFacts) -> tuple[Item, ...]:
        """Kernel state of an endpoint in the namespace of sandbox `netns`; default routes are not its business."""
        ...


def netns_name(sandbox_id: str) -> str:
    """The name under which `ip netns` lists a namespace of ours."""
    return f"atoll-{sandbox_id[:12]}"
