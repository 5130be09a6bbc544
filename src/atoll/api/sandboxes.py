"""atoll's JSON for sandboxes: requests parsed to the model, sandboxes encoded. Pure. Shapes: docs/api.md."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from atoll.api.body import decode_body
from atoll.api.clock import rfc3339
from atoll.api.docker_endpoints import check_priority, parse_addresses
from atoll.api.filters import parse_filters
from atoll.errors import InvalidRequest
from atoll.model.addresses import Family, parse_mac
from atoll.model.names import parse_ifname, parse_name
from atoll.model.network import Network, Pool
from atoll.model.ports import PortBinding
from atoll.model.portspec import parse_publish, spec_text
from atoll.model.sandbox import Endpoint, EndpointRequest, Sandbox, SandboxKind, SandboxRequest
from atoll.model.world import World

PORTS_SHOWN_MAX = 256
"""`Ports` is expanded port by port up to here; `Bindings` is always whole."""

_PID_MAX = 2**22
"""PID_MAX_LIMIT, linux/threads.h."""
_JOIN = "container:"
_NONE = "none"
_KEYS = frozenset({"id", "kind", "label", "name", "network"})


class _EndpointCreate(msgspec.Struct, kw_only=True):
    network: str = msgspec.field(name="Network", default="")
    ipv4: str = msgspec.field(name="IPv4Address", default="")
    ipv6: str = msgspec.field(name="IPv6Address", default="")
    mac: str = msgspec.field(name="MacAddress", default="")
    aliases: list[str] = msgspec.field(name="Aliases", default_factory=list)
    ifname: str = msgspec.field(name="Ifname", default="")
    gateway_priority: int = msgspec.field(name="GwPriority", default=0)
    driver_options: dict[str, str] = msgspec.field(name="DriverOpts", default_factory=dict)


class _SandboxCreate(msgspec.Struct, kw_only=True):
    name: str = msgspec.field(name="Name", default="")
    endpoints: list[_EndpointCreate] = msgspec.field(name="Endpoints", default_factory=list)
    mode: str = msgspec.field(name="NetworkMode", default="")
    netns_path: str = msgspec.field(name="NetnsPath", default="")
    pid: int = msgspec.field(name="Pid", default=0)
    publish: list[str] = msgspec.field(name="Publish", default_factory=list)
    labels: dict[str, str] = msgspec.field(name="Labels", default_factory=dict)
    resolve: bool = msgspec.field(name="Resolve", default=False)


def parse_sandbox_create(raw: bytes) -> SandboxRequest:
    """The body of POST /atoll/sandboxes/create. Raises InvalidRequest."""
    body = decode_body(raw, _SandboxCreate)
    name = parse_name("sandbox", body.name)
    if body.mode and body.endpoints:
        raise InvalidRequest(f"network mode {body.mode} can't be combined with network {body.endpoints[0].network}")
    if not 0 <= body.pid <= _PID_MAX:
        raise InvalidRequest(f"invalid pid {body.pid}: not between 1 and {_PID_MAX}")
    endpoints = tuple(_parse_endpoint(endpoint) for endpoint in body.endpoints)
    if body.mode == _NONE:
        endpoints = (EndpointRequest(_NONE),)
    return SandboxRequest(
        name=name,
        endpoints=endpoints,
        netns_path=body.netns_path,
        pid=body.pid or None,
        join=_parse_join(body.mode),
        host=body.mode == "host",
        mappings=parse_publish(body.publish),
        labels=body.labels,
        resolves=body.resolve,
    )


def _parse_join(mode: str) -> str:
    if mode in {"", "host", _NONE}:
        return ""
    owner = mode.removeprefix(_JOIN)
    if owner == mode or not owner:
        raise InvalidRequest(f"invalid network mode {mode!r}: use host, none or container:NAME", hint="or Endpoints")
    return owner


def _parse_endpoint(body: _EndpointCreate) -> EndpointRequest:
    if not body.network:
        raise InvalidRequest("an endpoint names no network", hint='write {"Network": "bridge"}')
    return EndpointRequest(
        network=body.network,
        addresses=parse_addresses(body.ipv4, body.ipv6),
        mac=parse_mac(body.mac) if body.mac else "",
        aliases=tuple(body.aliases),
        ifname=parse_ifname(body.ifname) if body.ifname else "",
        gateway_priority=check_priority(body.gateway_priority),
        driver_options=body.driver_options,
    )


def parse_sandbox_filters(text: str) -> Callable[[World, Sandbox], bool]:
    """What GET /atoll/sandboxes lists. Raises InvalidRequest."""
    filters = parse_filters(text, known=_KEYS)
    named, with_id = filters.pattern("name"), filters.pattern("id")
    networks = filters.values.get("network")

    def shown(world: World, sandbox: Sandbox) -> bool:
        there = [world.networks[endpoint.network_id] for endpoint in world.endpoints_of(sandbox.id)]
        return (
            named(sandbox.name)
            and with_id(sandbox.id)
            and filters.exact("kind", sandbox.kind.value)
            and filters.labelled("label", sandbox.labels)
            and (networks is None or any(asked in (n.name, n.id) for n in there for asked in networks))
        )

    return shown


def encode_sandbox(
    world: World, sandbox: Sandbox, *, netns_inode: Callable[[str], int], degraded: Mapping[str, str]
) -> dict[str, Any]:
    """A sandbox as docs/api.md shows it.

    `netns_inode(path)` is the namespace's inode number, 0 when it is gone; `degraded` reasons by object id.
    """
    root = world.root_of(sandbox)
    path = root.netns.path if root.netns is not None else "/proc/self/ns/net"
    endpoints = world.endpoints_of(root.id)
    reasons = [degraded[key] for key in (sandbox.id, *(endpoint.id for endpoint in endpoints)) if key in degraded]
    return {
        "Id": sandbox.id,
        "Name": sandbox.name,
        "Kind": sandbox.kind.value,
        "Created": rfc3339(sandbox.created_ns),
        "NetnsPath": path if root.kind is not SandboxKind.HOST else "",
        "NetnsInode": netns_inode(path),
        "Pid": (root.netns.pid or 0) if root.netns is not None else 0,
        "Owner": root.name if root.id != sandbox.id else "",
        "Members": [member.name for member in world.members_of(sandbox.id)],
        "Labels": dict(sandbox.labels),
        "Resolve": sandbox.resolves,
        "Publish": [spec_text(mapping) for mapping in sandbox.mappings],
        "Ports": encode_ports(root.bindings),
        "Bindings": [_encode_binding(binding) for binding in root.bindings],
        "Networks": {
            world.networks[endpoint.network_id].name: encode_endpoint(world.networks[endpoint.network_id], endpoint)
            for endpoint in endpoints
        },
        "Degraded": reasons,
    }


def encode_endpoint(network: Network, endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint, as a member of `Networks`."""
    v4, v6 = endpoint.address(Family.V4), endpoint.address(Family.V6)
    return {
        "NetworkID": network.id,
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPAddress": str(v4.ip) if v4 else "",
        "IPPrefixLen": v4.network.prefixlen if v4 else 0,
        "Gateway": _gateway(network, network.pool(Family.V4)),
        "GlobalIPv6Address": str(v6.ip) if v6 else "",
        "GlobalIPv6PrefixLen": v6.network.prefixlen if v6 else 0,
        "IPv6Gateway": _gateway(network, network.pool(Family.V6)),
        "Aliases": list(endpoint.aliases),
        "GwPriority": endpoint.gateway_priority,
        "DriverOpts": dict(endpoint.driver_options),
        "HostIfname": endpoint.host_ifname,
        "Ifname": endpoint.ifname,
    }


def _gateway(network: Network, pool: Pool | None) -> str:
    """An internal network's gateway is on the bridge, but nobody is led there."""
    return "" if pool is None or network.internal else str(pool.gateway)


def _encode_binding(binding: PortBinding) -> dict[str, str]:
    return {
        "Protocol": binding.protocol.word,
        "HostAddress": "" if binding.host_address is None else str(binding.host_address),
        "HostPorts": str(binding.host),
        "ContainerPorts": str(binding.container),
    }


def encode_ports(bindings: tuple[PortBinding, ...]) -> dict[str, list[dict[str, str]]]:
    """Bindings port by port, by container port with protocol: the first 256."""
    ports: dict[str, list[dict[str, str]]] = {}
    for shown, (key, address, port) in enumerate(_single_ports(bindings)):
        if shown >= PORTS_SHOWN_MAX:
            break
        addresses = [str(family.unspecified) for family in Family] if not address else [address]
        ports.setdefault(key, []).extend({"HostIp": host, "HostPort": port} for host in addresses)
    return ports


def _single_ports(bindings: tuple[PortBinding, ...]) -> Iterator[tuple[str, str, str]]:
    """Container port with protocol, host address ("" for every), host port: one at a time."""
    for binding in bindings:
        address = "" if binding.host_address is None else str(binding.host_address)
        for offset in range(len(binding.host)):
            yield (
                f"{binding.container.first + offset}/{binding.protocol.word}",
                address,
                str(binding.host.first + offset),
            )
