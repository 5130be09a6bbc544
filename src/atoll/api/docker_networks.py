"""Docker's JSON for networks: requests parsed to the model, networks encoded. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from atoll.api.body import decode_body
from atoll.api.clock import rfc3339
from atoll.api.versions import ApiVersion, fields_of
from atoll.errors import Forbidden, InvalidRequest, NotFound, Unsupported
from atoll.model.addresses import Family, IPInterface, parse_address, parse_network
from atoll.model.names import parse_name
from atoll.model.network import PREDEFINED_NETWORKS, Driver, Network, NetworkRequest, Pool, PoolRequest
from atoll.model.options import ENABLE_V4, ENABLE_V6, parse_bool
from atoll.model.sandbox import Endpoint
from atoll.model.world import World

_DRIVERS = {"": Driver.BRIDGE, "default": Driver.BRIDGE, **{driver.value: driver for driver in Driver}}


class _IpamConfig(msgspec.Struct, kw_only=True):
    subnet: str = msgspec.field(name="Subnet", default="")
    ip_range: str = msgspec.field(name="IPRange", default="")
    gateway: str = msgspec.field(name="Gateway", default="")
    auxiliary: dict[str, str] = msgspec.field(name="AuxiliaryAddresses", default_factory=dict)


class _Ipam(msgspec.Struct, kw_only=True):
    driver: str = msgspec.field(name="Driver", default="")
    options: dict[str, str] = msgspec.field(name="Options", default_factory=dict)
    config: list[_IpamConfig] = msgspec.field(name="Config", default_factory=list)


class _ConfigFrom(msgspec.Struct, kw_only=True):
    network: str = msgspec.field(name="Network", default="")


class _NetworkCreate(msgspec.Struct, kw_only=True):
    name: str = msgspec.field(name="Name", default="")
    driver: str = msgspec.field(name="Driver", default="")
    scope: str = msgspec.field(name="Scope", default="")
    ipv4: bool | None = msgspec.field(name="EnableIPv4", default=None)
    ipv6: bool | None = msgspec.field(name="EnableIPv6", default=None)
    ipam: _Ipam = msgspec.field(name="IPAM", default_factory=_Ipam)
    internal: bool = msgspec.field(name="Internal", default=False)
    attachable: bool = msgspec.field(name="Attachable", default=False)
    ingress: bool = msgspec.field(name="Ingress", default=False)
    config_only: bool = msgspec.field(name="ConfigOnly", default=False)
    config_from: _ConfigFrom = msgspec.field(name="ConfigFrom", default_factory=_ConfigFrom)
    options: dict[str, str] = msgspec.field(name="Options", default_factory=dict)
    labels: dict[str, str] = msgspec.field(name="Labels", default_factory=dict)


def parse_network_create(raw: bytes) -> NetworkRequest:
    """The body of POST /networks/create.

    Raises InvalidRequest; NotFound (driver), Forbidden (a predefined name, swarm), Unsupported, as Docker does.
    """
    body = decode_body(raw, _NetworkCreate)
    if body.name in (*PREDEFINED_NETWORKS, "default"):
        raise Forbidden(f"operation is not permitted on predefined {body.name} network", subject=body.name)
    name = parse_name("network", body.name)
    _check_kind(body)
    if body.driver not in _DRIVERS:
        raise NotFound(f'plugin "{body.driver}" not found', hint="use --driver bridge", subject=body.driver)
    return NetworkRequest(
        name=name,
        driver=_DRIVERS[body.driver],
        pools=tuple(_parse_pool(config) for config in body.ipam.config),
        ipv4=_switched(body.ipv4, body.options, ENABLE_V4, default=True),
        ipv6=_switched(body.ipv6, body.options, ENABLE_V6, default=False),
        internal=body.internal,
        attachable=body.attachable,
        ipam_options=body.ipam.options,
        options=body.options,
        labels=body.labels,
    )


def _check_kind(body: _NetworkCreate) -> None:
    if body.scope in {"swarm", "global"} or body.ingress:
        raise Forbidden(f"cannot create {body.name}: a swarm scoped network needs a swarm, and there is none")
    if body.scope not in {"", "local"}:
        raise InvalidRequest(f"invalid scope {body.scope!r}: use local")
    if body.config_only or body.config_from.network:
        raise Unsupported(
            f"cannot create {body.name}: configuration-only networks are not available in this version",
            hint="leave out --config-only and --config-from",
        )
    if body.ipam.driver not in {"", "default"}:
        raise NotFound(f'plugin "{body.ipam.driver}" not found', hint="use --ipam-driver default")


def _switched(asked: bool | None, options: dict[str, str], key: str, *, default: bool) -> bool:
    if asked is None and key in options:
        return parse_bool(key, options[key])
    return default if asked is None else asked


def _parse_pool(config: _IpamConfig) -> PoolRequest:
    return PoolRequest(
        subnet=parse_network("subnet", config.subnet) if config.subnet else None,
        ip_range=parse_network("ip-range", config.ip_range) if config.ip_range else None,
        gateway=parse_address("gateway", config.gateway) if config.gateway else None,
        auxiliary=tuple(
            (name, parse_address(f"auxiliary address {name!r}", text)) for name, text in config.auxiliary.items()
        ),
    )


def encode_network(
    network: Network, members: Iterable[tuple[Endpoint, str]], version: ApiVersion, *, verbose: bool = False
) -> dict[str, Any]:
    """A network as GET /networks/{id} shows it. `members` are its endpoints with their sandboxes' names."""
    body: dict[str, Any] = {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created_ns),
        "Scope": network.scope.value,
        "Driver": network.driver.value,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None if network.predefined else dict(network.ipam_options),
            "Config": [_encode_pool(pool) for pool in network.pools],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {endpoint.sandbox_id: _encode_member(endpoint, name) for endpoint, name in members},
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }
    if verbose:
        body["Services"] = {}
    return fields_of(version, body)


def members_of(world: World, network: Network) -> list[tuple[Endpoint, str]]:
    """A network's endpoints with the names of their sandboxes."""
    return [(endpoint, world.sandboxes[endpoint.sandbox_id].name) for endpoint in world.endpoints_on(network.id)]


def _encode_pool(pool: Pool) -> dict[str, Any]:
    body: dict[str, Any] = {"Subnet": str(pool.subnet)}
    if pool.ip_range is not None:
        body["IPRange"] = str(pool.ip_range)
    body["Gateway"] = str(pool.gateway)
    if pool.auxiliary:
        body["AuxiliaryAddresses"] = {name: str(address) for name, address in pool.auxiliary}
    return body


def _encode_member(endpoint: Endpoint, name: str) -> dict[str, str]:
    return {
        "Name": name,
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPv4Address": _with_length(endpoint.address(Family.V4)),
        "IPv6Address": _with_length(endpoint.address(Family.V6)),
    }


def _with_length(address: IPInterface | None) -> str:
    return "" if address is None else str(address)
