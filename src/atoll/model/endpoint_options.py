"""Endpoint options: driver-opts of one endpoint, parsed once.

Source: Docker 28's `com.docker.network.endpoint.*` labels.
"""

import re
from collections.abc import Mapping

from atoll.errors import InvalidRequest
from atoll.model.names import shown

SYSCTLS = "com.docker.network.endpoint.sysctls"
IFNAME = "com.docker.network.endpoint.ifname"

_PLACEHOLDER = "IFNAME"
_NAME = re.compile(r"net\.(ipv4|ipv6|mpls)\.[a-z_]+\.IFNAME\.[a-z0-9_]+\Z")
_VALUE = re.compile(r"[a-zA-Z0-9 _.:-]{1,64}\Z")


def parse_sysctls(options: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Sysctls of an endpoint's interface, as (path below /proc/sys with IFNAME in it, value), in the order given.

    The text is `net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=0`: only net.ipv4, net.ipv6 and
    net.mpls, and only of that interface. Raises InvalidRequest naming the part.
    """
    found: dict[str, str] = {}
    for part in filter(None, options.get(SYSCTLS, "").split(",")):
        name, _, value = part.partition("=")
        if not _NAME.match(name):
            raise InvalidRequest(
                f"invalid sysctl {shown(part)} in {SYSCTLS}: not of the form net.ipv4.conf.IFNAME.NAME=VALUE",
                hint=f"--driver-opt {SYSCTLS}=net.ipv4.conf.IFNAME.log_martians=1",
            )
        if not _VALUE.match(value):
            raise InvalidRequest(f"invalid value of sysctl {shown(part)} in {SYSCTLS}")
        found[name.replace(".", "/")] = value
    return tuple(found.items())


def sysctl_path(template: str, ifname: str) -> str:
    """The path of a parsed sysctl for an interface."""
    return template.replace(_PLACEHOLDER, ifname)
