"""The networks of the stage: one for each way in which a gateway can behave."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network

_PREFIX = "com.docker.network"
VERSIONS = (4, 6)


class Mode(StrEnum):
    """Docker's gateway modes; the value is the option's."""

    NAT = "nat"
    UNPROTECTED = "nat-unprotected"
    ROUTED = "routed"
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True)
class Net:
    """A network. `number` makes its subnets and host ports. `trusts` is a host interface.

    `source` is what the outside sees of its sandboxes: the host ("host"), a fixed address ("fixed"), or themselves
    ("own").
    """

    name: str
    number: int
    modes: tuple[Mode, Mode] = (Mode.NAT, Mode.NAT)
    options: tuple[str, ...] = ()
    internal: bool = False
    versions: tuple[int, ...] = VERSIONS
    trusts: str = ""
    source: str = "host"

    def mode(self, version: int) -> Mode:
        """Gateway mode of a family."""
        return self.modes[VERSIONS.index(version)]

    def subnet(self, version: int) -> IPv4Network | IPv6Network:
        """Its subnet, also in a family that it hasn't got."""
        return ip_network(f"10.88.{self.number}.0/24" if version == 4 else f"fd88:{self.number}::/64")

    def address(self, version: int, last: int) -> str:
        """The address with this last number; 1 is the gateway's."""
        return str(self.subnet(version)[last])

    def mac(self, last: int) -> str:
        """The MAC that atoll derives from the address with this last number: a sandbox's, or its bridge's."""
        return f"02:42:{self.subnet(4)[last].packed.hex(':')}"

    def create_words(self) -> list[str]:
        """Arguments of `network create`."""
        words = [f"--subnet={self.subnet(version)}" for version in self.versions]
        words += ["--ipv6"] if 6 in self.versions else []
        words += ["--internal"] if self.internal else []
        for version in self.versions:
            words += ["-o", f"{_PREFIX}.bridge.gateway_mode_ipv{version}={self.mode(version)}"]
        return [*words, *(word for option in self.options for word in ("-o", option)), self.name]


FIXED = {4: "10.99.0.200", 6: "fd99::200"}
"""A second address of the host on the LAN, to which one network's way out is translated."""
TRUSTED = "eth1"
"""The host's interface towards the yard."""

NETS = {
    net.name: net
    for net in (
        Net("nat", 1),
        Net("nat-unprotected", 2, (Mode.UNPROTECTED, Mode.UNPROTECTED)),
        Net("routed", 3, (Mode.ROUTED, Mode.ROUTED), source="own"),
        Net("nat4-routed6", 4, (Mode.NAT, Mode.ROUTED)),
        Net("trusting", 5, options=(f"{_PREFIX}.bridge.trusted_host_interfaces={TRUSTED}",), trusts=TRUSTED),
        Net(
            "snat",
            6,
            options=(f"{_PREFIX}.host_ipv4={FIXED[4]}", f"{_PREFIX}.host_ipv6={FIXED[6]}"),
            source="fixed",
        ),
        Net("unmasked", 7, options=(f"{_PREFIX}.bridge.enable_ip_masquerade=false",), source="own"),
        Net("internal", 8, internal=True),
        Net("isolated", 9, (Mode.ISOLATED, Mode.ISOLATED), internal=True),
        Net("ipv4-only", 10, versions=(4,)),
    )
}
