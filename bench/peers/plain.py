"""A namespace as container runtimes make it, with IPv6 on, for those who expect it so."""

from atoll.kernel import netns, sysctl


def make(path: str) -> None:
    """Make it at `path`. Its millisecond is not counted for anybody but atoll, whose job it is there."""
    netns.make(path)
    netns.run_in(path, lambda: sysctl.write("net/ipv6/conf/default/disable_ipv6", "0"))
