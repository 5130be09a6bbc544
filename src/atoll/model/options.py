"""Driver options: string maps at the door, typed values inside.

Source: Docker's bridge driver options (Engine API, `docker network create -o`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from atoll.errors import InvalidRequest
from atoll.model.addresses import Family, IPAddress, family_of, never_local, parse_address
from atoll.model.names import parse_ifname, shown

BRIDGE_NAME = "com.docker.network.bridge.name"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
ICC = "com.docker.network.bridge.enable_icc"
INHIBIT_IPV4 = "com.docker.network.bridge.inhibit_ipv4"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge"
GATEWAY_MODE_V4 = "com.docker.network.bridge.gateway_mode_ipv4"
GATEWAY_MODE_V6 = "com.docker.network.bridge.gateway_mode_ipv6"
MTU = "com.docker.network.driver.mtu"
IFACE_PREFIX = "com.docker.network.container_iface_prefix"
TRUSTED_INTERFACES = "com.docker.network.bridge.trusted_host_interfaces"
SNAT_V4 = "com.docker.network.host_ipv4"
SNAT_V6 = "com.docker.network.host_ipv6"
ANTI_SPOOFING = "atoll.anti-spoofing"
"""Ours; Docker has no such thing."""
ENABLE_V4 = "com.docker.network.enable_ipv4"
ENABLE_V6 = "com.docker.network.enable_ipv6"

MTU_MIN_BYTES = 68
"""Smallest MTU that IPv4 allows, RFC 791."""
MTU_MIN_V6_BYTES = 1280
"""Smallest MTU on which the kernel keeps IPv6, RFC 8200 section 5."""
MTU_MAX_BYTES = 65535

_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


class GatewayMode(StrEnum):
    """How a family of a network meets the outside. Source: Docker's gateway_mode_ipv4 and _ipv6.

    NAT: translated both ways, only published ports come in. UNPROTECTED: the same, but every port of a
    container can be reached at its own address. ROUTED: own addresses outside, published ports are opened at the
    container's address, and pings are answered. ISOLATED: the host has no address on the network; internal only.
    """

    NAT = "nat"
    UNPROTECTED = "nat-unprotected"
    ROUTED = "routed"
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True)
class BridgeOptions:
    """What the options of a bridge network mean.

    `ifname` is the Linux bridge's name. `mtu_bytes` 0 means the kernel's default. `host_binding`
    is the host address of published ports that name none (None: every address). `inhibit_ipv4`: the
    gateway is somebody else, so the bridge gets no IPv4 address. `trusted` are host interfaces from which
    published ports may be reached at the container's own address. `snat4` and `snat6` take the place of
    masquerading. `anti_spoofing`: an endpoint speaks only with its own MAC and addresses.
    """

    ifname: str
    mtu_bytes: int = 0
    masquerade: bool = True
    icc: bool = True
    host_binding: IPAddress | None = None
    ifname_prefix: str = "eth"
    mode4: GatewayMode = GatewayMode.NAT
    mode6: GatewayMode = GatewayMode.NAT
    inhibit_ipv4: bool = False
    trusted: tuple[str, ...] = ()
    snat4: IPAddress | None = None
    snat6: IPAddress | None = None
    anti_spoofing: bool = True

    @property
    def allows_ipv6(self) -> bool:
        """False where the kernel gives interfaces of this MTU no IPv6, and no switches of it below /proc/sys."""
        return not 0 < self.mtu_bytes < MTU_MIN_V6_BYTES

    def mode(self, family: Family) -> GatewayMode:
        """Gateway mode of one family."""
        return self.mode4 if family is Family.V4 else self.mode6

    def snat(self, family: Family) -> IPAddress | None:
        """The fixed source address of the way out, if there is one."""
        return self.snat4 if family is Family.V4 else self.snat6


def parse_bool(key: str, text: str) -> bool:
    """Parse a boolean option as Go's strconv.ParseBool does. Raises InvalidRequest."""
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise InvalidRequest(f"invalid value {shown(text)} of option {key}: use true or false")


def parse_bridge_options(
    options: Mapping[str, str], *, ifname: str, ipv6: bool = False, internal: bool = False
) -> BridgeOptions:
    """Parse a bridge network's options; `ifname` is used when they name no bridge. Raises InvalidRequest.

    Keys that are not the bridge driver's are the caller's to keep and warn of: see `unknown_options`.
    """
    mtu = _parse_mtu(options.get(MTU, "0"), ipv6=ipv6)
    host_binding = _parse_host_address(options, HOST_BINDING, Family.V4)
    if host_binding is not None and host_binding.is_unspecified:
        host_binding = None
    prefix = options.get(IFACE_PREFIX) or "eth"
    parse_ifname(prefix + "0")
    return BridgeOptions(
        ifname=parse_ifname(options.get(BRIDGE_NAME) or ifname),
        mtu_bytes=mtu,
        masquerade=parse_bool(MASQUERADE, options.get(MASQUERADE, "true")),
        icc=parse_bool(ICC, options.get(ICC, "true")),
        host_binding=host_binding,
        ifname_prefix=prefix,
        mode4=_parse_mode(options, GATEWAY_MODE_V4, internal=internal),
        mode6=_parse_mode(options, GATEWAY_MODE_V6, internal=internal),
        inhibit_ipv4=parse_bool(INHIBIT_IPV4, options.get(INHIBIT_IPV4, "false")),
        trusted=_parse_interfaces(options.get(TRUSTED_INTERFACES, "")),
        snat4=_parse_host_address(options, SNAT_V4, Family.V4),
        snat6=_parse_host_address(options, SNAT_V6, Family.V6),
        anti_spoofing=parse_bool(ANTI_SPOOFING, options.get(ANTI_SPOOFING, "true")),
    )


def unknown_options(options: Mapping[str, str]) -> tuple[str, ...]:
    """Keys that the bridge driver does not know, sorted. Docker ignores them in silence; we say so."""
    known = {
        BRIDGE_NAME, MASQUERADE, ICC, INHIBIT_IPV4, HOST_BINDING, DEFAULT_BRIDGE, GATEWAY_MODE_V4,
        GATEWAY_MODE_V6, MTU, IFACE_PREFIX, ENABLE_V4, ENABLE_V6, TRUSTED_INTERFACES, SNAT_V4, SNAT_V6,
        ANTI_SPOOFING,
    }  # fmt: skip
    return tuple(sorted(set(options) - known))


def _parse_mode(options: Mapping[str, str], key: str, *, internal: bool) -> GatewayMode:
    text = options.get(key, GatewayMode.NAT.value)
    try:
        mode = GatewayMode(text)
    except ValueError:
        modes = ", ".join(mode.value for mode in GatewayMode)
        raise InvalidRequest(f"invalid value {shown(text)} of option {key}: use one of {modes}") from None
    if mode is GatewayMode.ISOLATED and not internal:
        raise InvalidRequest(f"cannot use {key}={text}: the network is not internal", hint="add --internal")
    return mode


def _parse_interfaces(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parse_ifname(name) for name in text.split(":") if name))


def _parse_host_address(options: Mapping[str, str], key: str, family: Family) -> IPAddress | None:
    if key not in options:
        return None
    address = parse_address(key, options[key])
    if family_of(address) is not family:
        raise InvalidRequest(f"invalid {key} {shown(options[key])}: not an IPv{int(family)} address")
    reason = never_local(address)
    if reason:
        raise InvalidRequest(f"invalid {key} {shown(options[key])}: {reason}, and no host's own")
    return address


def _parse_mtu(text: str, *, ipv6: bool) -> int:
    least = MTU_MIN_V6_BYTES if ipv6 else MTU_MIN_BYTES
    if not _NUMBER.match(text):
        raise InvalidRequest(f"invalid MTU {shown(text)}: not a number of bytes")
    mtu = int(text)
    if mtu != 0 and not least <= mtu <= MTU_MAX_BYTES:
        raise InvalidRequest(f"invalid MTU {shown(text)}: not between {least} and {MTU_MAX_BYTES} bytes")
    return mtu
