"""The settings of a container as Docker's JSON shows them: what was asked for, and what its image adds. Pure."""

from typing import Any

from atoll.model.container import Container, HostConfig, Mount, MountKind, Sharing, SharingKind
from atoll.model.image import HealthCheck, ImageConfig
from atoll.model.names import short_id
from atoll.model.ports import PortMapping
from atoll.runtime.bundle.effective import Effective


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
        "Env": list(merged.env),
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
        "Annotations": dict(host.annotations) or None,
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
        "Sysctls": dict(host.sysctls) or None,
        "Runtime": host.runtime,
        "Init": host.init or None,
        "Isolation": "",
        "MaskedPaths": None if host.masked_paths is None else list(host.masked_paths),
        "ReadonlyPaths": None if host.readonly_paths is None else list(host.readonly_paths),
    }


def _encode_mounts(host: HostConfig) -> dict[str, Any]:
    named = [mount for mount in host.mounts if mount.kind is not MountKind.TMPFS and mount.source]
    return {
        "Binds": [_bind_text(mount) for mount in named] or None,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "Tmpfs": {m.target: ",".join(m.options) for m in host.mounts if m.kind is MountKind.TMPFS} or None,
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
        "OomKillDisable": limits.oom_kill_disable or None,
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
