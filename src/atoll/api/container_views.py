"""Containers as Docker's JSON shows them: one in full, and a line of the list. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.api.clock import rfc3339
from atoll.api.container_settings import encode_config, encode_host
from atoll.api.durations import human_duration
from atoll.api.sandboxes import encode_endpoint, encode_ports
from atoll.api.versions import ApiVersion, fields_of
from atoll.model.container import Container, Health, Mount, MountKind, MountOrigin, Status
from atoll.model.image import ImageConfig
from atoll.model.names import short_id
from atoll.model.network import Network
from atoll.model.sandbox import Endpoint, EndpointRequest
from atoll.model.world import World
from atoll.runtime.bundle.effective import Effective
from atoll.runtime.namespaces import Shared
from atoll.runtime.places import Places
from atoll.runtime.registry import HealthResult

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time."""
_SECOND_NS = 10**9
_NAMES_FROM = ApiVersion(1, 45)
"""Until then the short id stands among the aliases, afterwards only in DNSNames."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of what a container has written, and of its image."""

    own: int
    image: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A container with what its JSON needs besides the record.

    `volumes` are the paths of those that it mounts, `namespaces` are by kind, of a running one that is shown in full.
    `sizes` is None unless somebody wants to know: it takes long.
    """

    container: Container
    image: ImageConfig
    merged: Effective
    health: Sequence[HealthResult] = ()
    execs: Sequence[str] = ()
    volumes: Mapping[str, str] | None = None
    namespaces: Mapping[str, Shared] | None = None
    sizes: Sizes | None = None


def encode_container(seen: Seen, world: World, places: Places, version: ApiVersion) -> dict[str, Any]:
    """What GET /containers/{id}/json answers; `Namespaces` is ours alone."""
    container = seen.container
    kept = places.kept(container.id)
    files = kept if container.started_ns else None
    argv = seen.merged.argv or ("",)
    return {
        "Id": container.id,
        "Created": rfc3339(container.created_ns),
        "Path": argv[0],
        "Args": list(argv[1:]),
        "State": _encode_state(seen),
        "Image": f"sha256:{container.image_id}",
        # Made by the first start.
        "ResolvConfPath": str(files / "resolv.conf") if files else "",
        "HostnamePath": str(files / "hostname") if files else "",
        "HostsPath": str(files / "hosts") if files else "",
        "LogPath": str(places.log(container.id)) if files else "",
        "Name": f"/{container.name}",
        "RestartCount": container.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(seen.execs) or None,
        "HostConfig": encode_host(container),
        "GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": str(kept / "upper"), "WorkDir": str(kept / "work")}},
        "Mounts": _encode_mounts(seen),
        "Config": encode_config(container, seen.image, seen.merged),
        "NetworkSettings": _encode_network_settings(seen, world, version),
        "Namespaces": {
            kind: {"Inode": each.inode, "SharedWith": list(each.sharers)}
            for kind, each in (seen.namespaces or {}).items()
        },
        **_encode_sizes(seen.sizes),
    }


def _encode_sizes(sizes: Sizes | None) -> dict[str, int]:
    return {} if sizes is None else {"SizeRw": sizes.own, "SizeRootFs": sizes.own + sizes.image}


def _encode_listed_sizes(sizes: Sizes | None) -> dict[str, int]:
    """The same without zeros."""
    return {name: size for name, size in _encode_sizes(sizes).items() if size}


def _encode_mounts(seen: Seen) -> list[dict[str, Any]]:
    """All but those of `--tmpfs`, which Docker shows among the settings alone."""
    shown = (
        mount
        for mount in seen.container.mounts
        if mount.kind is not MountKind.TMPFS or mount.origin is MountOrigin.SPEC
    )
    return [encode_mount(mount, seen.volumes or {}) for mount in shown]


def _encode_state(seen: Seen) -> dict[str, Any]:
    container = seen.container
    status = container.status
    body: dict[str, Any] = {
        "Status": status.value,
        "Running": status.has_process or status is Status.RESTARTING,
        "Paused": status is Status.PAUSED,
        "Restarting": status is Status.RESTARTING,
        "OOMKilled": container.oom_killed,
        "Dead": status is Status.DEAD,
        "Pid": container.pid if status.has_process else 0,
        "ExitCode": container.exit_code,
        "Error": container.error,
        "StartedAt": rfc3339(container.started_ns) if container.started_ns else NEVER,
        "FinishedAt": rfc3339(container.finished_ns) if container.finished_ns else NEVER,
    }
    if seen.merged.health is not None:
        body["Health"] = {
            "Status": container.health.value,
            "FailingStreak": _failing_streak(seen.health),
            "Log": [
                {
                    "Start": rfc3339(result.started_ns),
                    "End": rfc3339(result.finished_ns),
                    "ExitCode": result.exit_code,
                    "Output": result.output,
                }
                for result in seen.health
            ],
        }
    return body


def _failing_streak(results: Sequence[HealthResult]) -> int:
    streak = 0
    for result in reversed(results):
        if result.exit_code == 0:
            break
        streak += 1
    return streak


def encode_mount(mount: Mount, volumes: Mapping[str, str]) -> dict[str, Any]:
    """A mount as `Mounts` has it."""
    body: dict[str, Any] = {"Type": mount.kind.value}
    if mount.kind is MountKind.VOLUME:
        body |= {"Name": mount.source, "Source": volumes.get(mount.source, ""), "Driver": "local"}
    else:
        body["Source"] = mount.source if mount.kind is MountKind.BIND else ""
    return {
        **body,
        "Destination": mount.target,
        "Mode": _mode(mount),
        "RW": not mount.read_only,
        "Propagation": mount.propagation if mount.kind is MountKind.BIND else "",
    }


def _mode(mount: Mount) -> str:
    """The words of `-v`. A volume that has a name and no words gets SELinux's, as in Docker."""
    words = "ro" if mount.read_only and mount.origin is not MountOrigin.SPEC else ""
    return words or ("z" if mount.kind is MountKind.VOLUME and not mount.anonymous else "")


def encode_networks(
    container: Container, world: World, version: ApiVersion, *, names: bool = True
) -> dict[str, dict[str, Any]]:
    """Its networks by name: as they are while it has a sandbox, as they were asked for else."""
    if container.id not in world.sandboxes:
        asked = container.network.endpoints if container.network else ()
        return {each.network: fields_of(version, _encode_asked(each, container, world, version)) for each in asked}
    found = {}
    for endpoint in world.endpoints_of(container.id):
        network = world.networks[endpoint.network_id]
        body = encode_endpoint(network, endpoint)
        del body["HostIfname"], body["Ifname"]
        known = (container.name, short_id(container.id), *endpoint.aliases, container.config.hostname)
        body |= {
            **_ipam_of(endpoint),
            "Aliases": _aliases(endpoint.aliases, container, network, version) if names else None,
            "DriverOpts": dict(endpoint.driver_options) or None,
            "DNSNames": [name for name in dict.fromkeys(known) if name] if names else None,
        }
        found[network.name] = fields_of(version, body)
    return found


def _ipam_of(endpoint: Endpoint) -> dict[str, Any]:
    static = {f"IPv{address.version}Address": str(address) for address in endpoint.static}
    return {"IPAMConfig": static or None, "Links": None}


def _aliases(
    own: Sequence[str], container: Container, network: Network | None, version: ApiVersion
) -> list[str] | None:
    """Its aliases on a network of a person's: the short id is one of them from the first start on."""
    told = version < _NAMES_FROM and container.started_ns and network is not None and not network.predefined
    return [*own, *([short_id(container.id)] if told else [])] or None


def _encode_asked(asked: EndpointRequest, container: Container, world: World, version: ApiVersion) -> dict[str, Any]:
    network = world.network_named(asked.network)
    static = {f"IPv{address.version}Address": str(address) for address in asked.addresses}
    return {
        "IPAMConfig": static or None,
        "Links": None,
        "Aliases": _aliases(asked.aliases, container, network, version),
        "MacAddress": asked.mac,
        "DriverOpts": dict(asked.driver_options) or None,
        "GwPriority": asked.gateway_priority,
        "NetworkID": network.id if network is not None and container.started_ns else "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }


def _encode_network_settings(seen: Seen, world: World, version: ApiVersion) -> dict[str, Any]:
    container = seen.container
    networks = encode_networks(container, world, version)
    sandbox = world.sandboxes.get(container.id)
    ports: dict[str, Any] = {}
    if sandbox is not None:
        exposed = dict.fromkeys((*seen.image.exposed_ports, *container.config.exposed_ports))
        ports = {**dict.fromkeys(exposed), **encode_ports(sandbox.bindings)}
    # The first network's fields stand here too, for those who don't know of several.
    default = networks.get("bridge", {})
    fields = ("EndpointID", "Gateway", "GlobalIPv6Address", "IPAddress", "IPv6Gateway", "MacAddress")
    lengths = ("GlobalIPv6PrefixLen", "IPPrefixLen")
    return {
        "Bridge": "",
        "SandboxID": sandbox.id if sandbox else "",
        "SandboxKey": sandbox.netns.path if sandbox and sandbox.netns else "",
        "Ports": ports,
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{name: default.get(name, "") for name in fields},
        **{name: default.get(name, 0) for name in lengths},
        "Networks": networks,
    }


def encode_summary(seen: Seen, world: World, version: ApiVersion, *, now_ns: int) -> dict[str, Any]:
    """A line of GET /containers/json."""
    container = seen.container
    sandbox = world.sandboxes.get(container.id)
    exposed = (*seen.image.exposed_ports, *container.config.exposed_ports)
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.config.image,
        "ImageID": f"sha256:{container.image_id}",
        "Command": " ".join(_quoted(word) for word in seen.merged.argv),
        "Created": container.created_ns // _SECOND_NS,
        "Ports": _encode_port_list(encode_ports(sandbox.bindings), exposed) if sandbox else [],
        "Labels": {**seen.image.labels, **container.config.labels},
        "State": container.status.value,
        "Status": status_text(container, now_ns=now_ns),
        "HostConfig": {"NetworkMode": container.host.network_mode},
        "NetworkSettings": {"Networks": encode_networks(container, world, version, names=False)},
        "Mounts": _encode_mounts(seen),
        **_encode_listed_sizes(seen.sizes),
    }


def _encode_port_list(published: Mapping[str, list[dict[str, str]]], exposed: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for key, hosts in published.items():
        port, _, protocol = key.partition("/")
        for host in hosts:
            public = {"PrivatePort": int(port), "PublicPort": int(host["HostPort"]), "Type": protocol}
            found.append({"IP": host["HostIp"], **public})
    for key in exposed:
        port, _, protocol = key.partition("/")
        if key not in published and port.isdecimal():
            found.append({"PrivatePort": int(port), "Type": protocol or "tcp"})
    return found


def status_text(container: Container, *, now_ns: int) -> str:
    """What `docker ps` says under STATUS. Source: State.String in moby, daemon/container/state.go."""
    up = human_duration((now_ns - container.started_ns) / _SECOND_NS)
    ago = human_duration((now_ns - container.finished_ns) / _SECOND_NS)
    match container.status:
        case Status.PAUSED:
            return f"Up {up} (Paused)"
        case Status.RESTARTING:
            return f"Restarting ({container.exit_code}) {ago} ago"
        case Status.RUNNING if container.health is Health.STARTING:
            return f"Up {up} (health: starting)"
        case Status.RUNNING if container.health is not Health.NONE:
            return f"Up {up} ({container.health.value})"
        case Status.RUNNING:
            return f"Up {up}"
        case Status.CREATED:
            return "Created"
        case Status.DEAD:
            return "Dead"
        case _:
            return f"Exited ({container.exit_code}) {ago} ago"


def _quoted(word: str) -> str:
    return f"'{word}'" if " " in word else word
