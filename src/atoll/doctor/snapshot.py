"""Everything that the checks look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.model.addresses import Family
from atoll.model.facts import HostFacts
from atoll.model.hostview import HostView, LinkView
from atoll.model.names import short_id
from atoll.model.network import Driver, Network
from atoll.model.world import World

DEFAULT_LIKE_LENGTH_MAX = 1
"""0.0.0.0/0, and the halves of it that VPN clients set, mean "everything else"."""
MAIN_TABLE = 254
"""RT_TABLE_MAIN, linux/rtnetlink.h."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a host.

    `degraded` gives the reason by object id, "" for the host. `owned`: our firewall table is ours alone.
    """

    world: World = field(default_factory=World)
    facts: HostFacts = field(default_factory=HostFacts)
    view: HostView = field(default_factory=HostView)
    degraded: Mapping[str, str] = field(default_factory=dict)
    owned: bool = True

    def bridges(self) -> list[tuple[Network, str]]:
        """Bridge networks by name, each with the name of its bridge."""
        networks = sorted(self.world.networks.values(), key=lambda network: network.name)
        return [(n, n.bridge.ifname) for n in networks if n.driver is Driver.BRIDGE and n.bridge is not None]

    def families(self) -> list[Family]:
        """Families that some bridge network has."""
        return sorted({pool.family for network, _ in self.bridges() for pool in network.pools})

    def uplinks(self, family: Family) -> list[str]:
        """Interfaces with a default route of the main table, the preferred one first."""
        routes = (
            route
            for route in self.view.routes
            if route.table == MAIN_TABLE
            and route.destination.version == family
            and route.destination.prefixlen <= DEFAULT_LIKE_LENGTH_MAX
        )
        # The longer prefix goes before any metric: so VPN clients take over.
        ordered = sorted(routes, key=lambda route: (-route.destination.prefixlen, route.metric))
        return list(dict.fromkeys(route.ifname for route in ordered))

    def link(self, ifname: str) -> LinkView | None:
        """An interface of the host."""
        return next((link for link in self.view.links if link.ifname == ifname), None)

    def patterns(self, bridges: set[str]) -> list[str]:
        """These bridges as rules name them: those with names of our own choice by one pattern, later ones included."""
        chosen = {ifname for network, ifname in self.bridges() if ifname == f"at-{short_id(network.id)}"}
        return sorted({"at-*" if ifname in chosen else ifname for ifname in bridges})
