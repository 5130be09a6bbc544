"""Docker's JSON for connecting and disconnecting, parsed to the model. Pure."""

from dataclasses import dataclass
from typing import Any

import msgspec

from atoll.api.body import decode_body
from atoll.errors import InvalidRequest, Unsupported
from atoll.model.addresses import Family, IPAddress, family_of, parse_address, parse_mac
from atoll.model.sandbox import EndpointRequest

GATEWAY_PRIORITY_MAX = 2**31 - 1


class _IpamConfig(msgspec.Struct, kw_only=True):
    ipv4: str = msgspec.field(name="IPv4Address", default="")
    ipv6: str = msgspec.field(name="IPv6Address", default="")
    link_local: list[str] = msgspec.field(name="LinkLocalIPs", default_factory=list)


class _EndpointConfig(msgspec.Struct, kw_only=True):
    ipam: _IpamConfig = msgspec.field(name="IPAMConfig", default_factory=_IpamConfig)
    links: list[str] = msgspec.field(name="Links", default_factory=list)
    aliases: list[str] = msgspec.field(name="Aliases", default_factory=list)
    driver_options: dict[str, str] = msgspec.field(name="DriverOpts", default_factory=dict)
    mac: str = msgspec.field(name="MacAddress", default="")
    gateway_priority: int = msgspec.field(name="GwPriority", default=0)


class _Connect(msgspec.Struct, kw_only=True):
    container: str = msgspec.field(name="Container", default="")
    endpoint: _EndpointConfig = msgspec.field(name="EndpointConfig", default_factory=_EndpointConfig)


class _Disconnect(msgspec.Struct, kw_only=True):
    container: str = msgspec.field(name="Container", default="")
    force: bool = msgspec.field(name="Force", default=False)


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The body of a disconnect: which sandbox, by name, id or id prefix."""

    sandbox: str
    force: bool


def parse_connect(network: str, raw: bytes) -> tuple[str, EndpointRequest]:
    """The body of POST /networks/{network}/connect: a sandbox, and how to connect it.

    Raises InvalidRequest, Unsupported.
    """
    body = decode_body(raw, _Connect)
    return _container(body.container), _endpoint(network, body.endpoint)


def parse_endpoint(network: str, config: Any) -> EndpointRequest:
    """How to connect to a network, as it stands in the body of a new container. Raises InvalidRequest, Unsupported."""
    return _endpoint(network, decode_body(msgspec.json.encode(config), _EndpointConfig))


def _endpoint(network: str, asked: _EndpointConfig) -> EndpointRequest:
    for what, values in (("link-local address", asked.ipam.link_local), ("link", asked.links)):
        if values:
            raise Unsupported(f"cannot use {what} {values[0]!r}: not available in this version", hint="leave it out")
    return EndpointRequest(
        network=network,
        addresses=parse_addresses(asked.ipam.ipv4, asked.ipam.ipv6),
        mac=parse_mac(asked.mac) if asked.mac else "",
        aliases=tuple(asked.aliases),
        gateway_priority=check_priority(asked.gateway_priority),
        driver_options=asked.driver_options,
    )


def parse_disconnect(raw: bytes) -> Disconnect:
    """The body of POST /networks/{id}/disconnect. Raises InvalidRequest."""
    body = decode_body(raw, _Disconnect)
    return Disconnect(_container(body.container), body.force)


def parse_addresses(ipv4: str, ipv6: str) -> tuple[IPAddress, ...]:
    """The addresses that were asked for, "" for none, IPv4 first. Raises InvalidRequest."""
    found = []
    for family, text in ((Family.V4, ipv4), (Family.V6, ipv6)):
        if text:
            address = parse_address(f"IPv{family} address", text)
            if family_of(address) is not family:
                raise InvalidRequest(f"invalid IPv{family} address {text!r}: it is an IPv{address.version} address")
            found.append(address)
    return tuple(found)


def check_priority(priority: int) -> int:
    """A gateway priority that fits everywhere. Raises InvalidRequest."""
    if abs(priority) > GATEWAY_PRIORITY_MAX:
        raise InvalidRequest(f"invalid gateway priority {priority}: not between +-{GATEWAY_PRIORITY_MAX}")
    return priority


def _container(reference: str) -> str:
    if not reference:
        raise InvalidRequest('invalid name or ID supplied: ""', hint="give Container a sandbox's name")
    return reference
