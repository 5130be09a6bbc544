"""What interfaces in a namespace of ours are like before anything is done to them."""

from collections.abc import Mapping
from types import MappingProxyType

from atoll.model.items import Sysctl

INTERFACE_SYSCTLS: Mapping[str, str] = MappingProxyType({"disable_ipv6": "1", "accept_ra": "0", "accept_dad": "0"})
"""Below net/ipv6/conf/IFNAME, from the namespace's `default`: IPv6 is switched on where a network has it.

No two endpoints have one MAC, so a link-local address that is made of it is nobody else's; asking whether it is, and
reporting the groups for it twice, would go to everybody on the network.
"""


def is_fresh(item: Sysctl) -> bool:
    """True when an interface that is new in a namespace of ours has this value."""
    directory, _, name = item.path.rpartition("/")
    return directory.startswith("net/ipv6/conf/") and INTERFACE_SYSCTLS.get(name) == item.value
