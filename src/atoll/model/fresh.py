"""What interfaces in a namespace of ours are like before anything is done to them."""

from collections.abc import Mapping

from atoll.model.items import Sysctl


def interface_sysctls(*, ipv6: bool) -> Mapping[str, str]:
    """Below net/ipv6/conf/IFNAME, from the namespace's `default`: IPv6 is on where all networks have it.

    No two endpoints have one MAC, so a link-local address that is made of it is nobody else's; asking whether it is,
    and reporting the groups for it twice, would go to everybody on the network.
    """
    return {"disable_ipv6": "0" if ipv6 else "1", "accept_ra": "0", "accept_dad": "0"}


def is_fresh(item: Sysctl, *, ipv6: bool) -> bool:
    """True when an interface that is new in a namespace of ours has this value."""
    directory, _, name = item.path.rpartition("/")
    return directory.startswith("net/ipv6/conf/") and interface_sysctls(ipv6=ipv6).get(name) == item.value
