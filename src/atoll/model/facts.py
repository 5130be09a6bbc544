"""What is true of the host and isn't ours: read anew when it matters, never stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.model.addresses import Family, IPNetwork
from atoll.model.ports import PortRange


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One look at the host.

    `boot_id` and `netns_cookie` (of the daemon's namespace) tell whether links and namespaces of
    an earlier look can still exist. `bridge_nf_call`: frames inside a bridge traverse the inet
    hooks, per family. `ipv6`: the kernel has it. `onlink` are the connected prefixes of interfaces that aren't ours,
    `routed` prefixes with a gateway and their interface, default routes left out. `forwarding` is the
    host-wide switch. `router_advertised` are interfaces whose default route came from a router
    advertisement: forwarding would lose it without accept_ra=2. `force_forwarding`: the kernel has
    net.ipv6.conf.IF.force_forwarding, so IPv6 can be forwarded by interface.
    """

    boot_id: str = ""
    netns_cookie: int = 0
    bridge_nf_call: Mapping[Family, bool] = field(default_factory=dict)
    ipv6: bool = True
    onlink: tuple[IPNetwork, ...] = ()
    routed: tuple[tuple[IPNetwork, str], ...] = ()
    forwarding: Mapping[Family, bool] = field(default_factory=dict)
    router_advertised: tuple[str, ...] = ()
    force_forwarding: bool = False
    ephemeral: PortRange = field(default_factory=lambda: PortRange(32768, 60999))
