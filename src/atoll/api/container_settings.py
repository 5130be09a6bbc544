"""The settings of a container as Docker's JSON shows them: what was asked for, and what its image adds. Pure."""

from typing import Any

from atoll.model.container import Container, HostConfig, Mount, MountKind, MountOrigin, Sharing, SharingKind
from atoll.model.image import HealthCheck, ImageConfig
from atoll.model.names import short_id
from atoll.model.ports import PortMapping
from atoll.runtime.bundle.effective import Effective, merged_env
from atoll.runtime.bundle.mounts import MASKED, READONLY

_TMPFS_MODE = 0o1777
"""Unless another is asked for."""


def encode_config(container: Container, image: ImageConfig, merged: Effective) -> dict[str, Any]:
    """`Config`: the container's own settings over its image's."""
    config = container.config
    body: dict[str, Any] = {
        "Hostname": config.hostname or short_id(container.id),
        "Domainname": config.domainname,
        "User": merged.user,
        "AttachStdin": config.attach_stdin,
        "AttachStdout": config.attach_stdout,
        "AttachStderr": config.attach_stderr,
    }
    exposed = dict.fromkeys((*image.exposed_ports, *config.exposed_ports, *_published(container)))
    if exposed:
        body["ExposedPorts"] = {port: {} for port in exposed}
    body |= {
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
        "StdinOnce": config.stdin_once,
        "Env": _environment(image, config.env),
        "Cmd": list(merged.cmd) or None,
    }
    if merged.health is not None:
        body["Healthcheck"] = encode_health(merged.health)
    body |= {
        "Image": config.image,
        "Volumes": {path: {} for path in merged.volumes} or None,
        "WorkingDir": "" if merged.workdir == "/" and not config.workdir else merged.workdir,
        "Entrypoint": list(merged.entrypoint) or None,
        "OnBuild": None,
        "Labels": {**image.labels, **config.labels},
    }
    if merged.stop_signal != "SIGTERM":
        body["StopSignal"] = merged.stop_signal
    if config.stop_timeout_s is not None:
        body["StopTimeout"] = config.stop_timeout_s
    return body


def _environment(image: ImageConfig, own: tuple[str, ...]) -> list[str]:
    """What was asked for, then what the image adds; not what every container gets besides."""
    named = {entry.partition("=")[0] for entry in own}
    return [*merged_env((), own), *(entry for entry in image.env if entry.partition("=")[0] not in named)]


def encode_health(check: HealthCheck) -> dict[str, Any]:
    """A health check."""
    body: dict[str, Any] = {"Test": [check.kind.value, *check.command]}
    times = {
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "StartInterval": check.start_interval_ns,
        "Retries": check.retries,
    }
    return body | {name: value for name, value in times.items() if value}


def encode_host(container: Container) -> dict[str, Any]:
    """`HostConfig`."""
    host = container.host
    return {
        **_encode_mounts(host),
        **_encode_sharing(host),
        **_encode_limits(host),
        "PortBindings": encode_port_bindings(container.network.mappings if container.network else ()),
        "RestartPolicy": {"Name": host.restart.kind.value, "MaximumRetryCount": host.restart.retries_max},
        "AutoRemove": host.auto_remove,
        "LogConfig": {"Type": "json-file", "Config": dict(host.log_options)},
        "ContainerIDFile": "",
        "Links": None,
        "ConsoleSize": [0, 0],
        "CapAdd": list(host.cap_add) or None,
        "CapDrop": list(host.cap_drop) or None,
        "Dns": list(host.dns),
        "DnsOptions": list(host.dns_options),
        "DnsSearch": list(host.dns_search),
        "ExtraHosts": list(host.extra_hosts) or None,
        "GroupAdd": list(host.group_add) or None,
        "OomScoreAdj": host.oom_score_adj,
        "Privileged": host.privileged,
        "PublishAllPorts": False,
        "ReadonlyRootfs": host.readonly_rootfs,
        "SecurityOpt": _encode_security(host) or None,
        "ShmSize": host.shm_bytes,
        "Runtime": host.runtime,
        "Isolation": "",
        "MaskedPaths": _paths(host, host.masked_paths, MASKED),
        "ReadonlyPaths": _paths(host, host.readonly_paths, READONLY),
        **_encode_wishes(host),
    }


def _encode_wishes(host: HostConfig) -> dict[str, Any]:
    """Fields that Docker leaves out where they weren't asked for."""
    body = {
        "Annotations": dict(host.annotations),
        "Init": host.init,
        "Mounts": [_encode_spec(mount) for mount in host.mounts if mount.origin is MountOrigin.SPEC],
        "Sysctls": dict(host.sysctls),
        "Tmpfs": {
            mount.target: ",".join(mount.options)
            for mount in host.mounts
            if mount.kind is MountKind.TMPFS and mount.origin is not MountOrigin.SPEC
        },
    }
    return {name: value for name, value in body.items() if value}


def _paths(host: HostConfig, own: tuple[str, ...] | None, usual: tuple[str, ...]) -> list[str] | None:
    if own is None:
        return None if host.privileged else list(usual)
    return list(own)


def _encode_spec(mount: Mount) -> dict[str, Any]:
    """A mount of `--mount` as it was asked for."""
    body: dict[str, Any] = {"Type": mount.kind.value, "Source": mount.source, "Target": mount.target}
    if mount.read_only:
        body["ReadOnly"] = True
    if mount.kind is MountKind.BIND and (mount.propagation != "rprivate" or not mount.recursive):
        body["BindOptions"] = {"Propagation": mount.propagation}
        body["BindOptions"] |= {} if mount.recursive else {"NonRecursive": True}
    if mount.kind is MountKind.VOLUME and (mount.labels or not mount.copy):
        body["VolumeOptions"] = {} if mount.copy else {"NoCopy": True}
        body["VolumeOptions"] |= {"Labels": dict(mount.labels)} if mount.labels else {}
    if mount.kind is MountKind.TMPFS and (mount.size_bytes or mount.mode != _TMPFS_MODE):
        body["TmpfsOptions"] = {"SizeBytes": mount.size_bytes, "Mode": mount.mode}
    return {name: value for name, value in body.items() if value != ""}


def _encode_mounts(host: HostConfig) -> dict[str, Any]:
    named = [mount for mount in host.mounts if mount.origin is MountOrigin.OPTION and mount.source]
    return {
        "Binds": [_bind_text(mount) for mount in named if mount.kind is not MountKind.TMPFS] or None,
        "VolumeDriver": "",
        "VolumesFrom": list(host.volumes_from) or None,
    }


def _encode_sharing(host: HostConfig) -> dict[str, Any]:
    return {
        "NetworkMode": host.network_mode,
        "IpcMode": _sharing_text(host.ipc),
        "PidMode": "" if host.pid.kind is SharingKind.PRIVATE else _sharing_text(host.pid),
        "UTSMode": "" if host.uts.kind is SharingKind.PRIVATE else _sharing_text(host.uts),
        "UsernsMode": host.userns,
        "CgroupnsMode": host.cgroupns.value if host.cgroupns else "host" if host.privileged else "private",
        "Cgroup": "",
    }


def _encode_limits(host: HostConfig) -> dict[str, Any]:
    limits = host.limits
    return {
        "CpuShares": limits.cpu_shares,
        "Memory": limits.memory_bytes,
        "NanoCpus": limits.nano_cpus,
        "CgroupParent": host.cgroup_parent,
        "BlkioWeight": 0,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [],
        "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [],
        "CpuPeriod": limits.cpu_period_us,
        "CpuQuota": limits.cpu_quota_us,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "Devices": [
            {"PathOnHost": each.source, "PathInContainer": each.target, "CgroupPermissions": each.permissions}
            for each in host.devices
        ],
        "DeviceCgroupRules": None,
        "DeviceRequests": None,
        "MemoryReservation": limits.memory_reservation_bytes,
        "MemorySwap": limits.memory_swap_bytes or 2 * limits.memory_bytes,
        "MemorySwappiness": None,
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": limits.pids_max or None,
        "Ulimits": [{"Name": each.name, "Hard": each.hard, "Soft": each.soft} for each in host.ulimits],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def _encode_security(host: HostConfig) -> list[str]:
    options = ["no-new-privileges"] if host.no_new_privileges else []
    return options + ([f"seccomp={host.seccomp}"] if host.seccomp else [])


def encode_port_bindings(mappings: tuple[PortMapping, ...]) -> dict[str, list[dict[str, str]]]:
    """`PortBindings`: what was asked for, a range as Docker's clients write several ports."""
    found: dict[str, list[dict[str, str]]] = {}
    for mapping in mappings:
        address = "" if mapping.host_address is None else str(mapping.host_address)
        single = mapping.host is not None and len(mapping.host) != len(mapping.container)
        for offset in range(len(mapping.container)):
            host = "" if mapping.host is None else str(mapping.host if single else mapping.host.first + offset)
            key = f"{mapping.container.first + offset}/{mapping.protocol.word}"
            found.setdefault(key, []).append({"HostIp": address, "HostPort": host})
    return found


def _published(container: Container) -> list[str]:
    return list(encode_port_bindings(container.network.mappings if container.network else ()))


def _sharing_text(sharing: Sharing) -> str:
    return f"container:{sharing.container}" if sharing.kind is SharingKind.CONTAINER else sharing.kind.value


def _bind_text(mount: Mount) -> str:
    words = ["ro"] if mount.read_only else []
    words += [mount.propagation] if mount.propagation != "rprivate" else []
    return ":".join([mount.source, mount.target, *([",".join(words)] if words else [])])
