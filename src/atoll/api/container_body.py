"""The bodies of Docker's requests on containers, as they come. Source: Docker Engine API, ContainerConfig, HostConfig.

What this version has no use for is not here, and so ignored, unless `container_create.py` refuses it.
"""

from typing import Any

import msgspec

Words = list[str] | str
"""A list of words; clients may send a single one as a string."""


class Health(msgspec.Struct, kw_only=True, rename="pascal"):
    """A health check; times in nanoseconds."""

    test: Words = msgspec.field(default_factory=list)
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Restart(msgspec.Struct, kw_only=True, rename="pascal"):
    """A restart policy."""

    name: str = ""
    maximum_retry_count: int = 0


class LogConfig(msgspec.Struct, kw_only=True, rename="pascal"):
    """Where the output goes."""

    type: str = ""
    config: dict[str, str] = msgspec.field(default_factory=dict)


class HostPort(msgspec.Struct, kw_only=True, rename="pascal"):
    """A host's side of a published port; clients may send the port as a number."""

    host_ip: str = ""
    host_port: str | int = ""


class Device(msgspec.Struct, kw_only=True, rename="pascal"):
    """A device of the host."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = "rwm"


class Ulimit(msgspec.Struct, kw_only=True, rename="pascal"):
    """A limit of getrlimit(2)."""

    name: str = ""
    soft: int = 0
    hard: int = 0


class BindOptions(msgspec.Struct, kw_only=True, rename="pascal"):
    """Of a bind mount."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False


class VolumeDriver(msgspec.Struct, kw_only=True, rename="pascal"):
    """What makes a volume."""

    name: str = ""


class VolumeOptions(msgspec.Struct, kw_only=True, rename="pascal"):
    """Of a volume."""

    no_copy: bool = False
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    driver_config: VolumeDriver = msgspec.field(default_factory=VolumeDriver)


class TmpfsOptions(msgspec.Struct, kw_only=True, rename="pascal"):
    """Of a tmpfs."""

    size_bytes: int = 0
    mode: int = 0


class MountSpec(msgspec.Struct, kw_only=True, rename="pascal"):
    """A mount as `--mount` asks for it."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    bind: BindOptions = msgspec.field(name="BindOptions", default_factory=BindOptions)
    volume: VolumeOptions = msgspec.field(name="VolumeOptions", default_factory=VolumeOptions)
    tmpfs: TmpfsOptions = msgspec.field(name="TmpfsOptions", default_factory=TmpfsOptions)


class Resources(msgspec.Struct, kw_only=True, rename="pascal"):
    """What a container may use; also the body of an update."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    oom_kill_disable: bool = False
    restart_policy: Restart = msgspec.field(default_factory=Restart)


class Host(Resources, kw_only=True, rename="pascal"):
    """How a container runs on this host."""

    binds: list[str] = msgspec.field(default_factory=list)
    mounts: list[MountSpec] = msgspec.field(default_factory=list)
    tmpfs: dict[str, str] = msgspec.field(default_factory=dict)
    volumes_from: list[str] = msgspec.field(default_factory=list)
    volume_driver: str = ""
    network_mode: str = ""
    port_bindings: dict[str, list[HostPort]] = msgspec.field(default_factory=dict)
    publish_all_ports: bool = False
    links: list[str] = msgspec.field(default_factory=list)
    ipc_mode: str = ""
    pid_mode: str = ""
    uts_mode: str = msgspec.field(name="UTSMode", default="")
    cgroupns_mode: str = ""
    userns_mode: str = ""
    auto_remove: bool = False
    privileged: bool = False
    readonly_rootfs: bool = False
    init: bool = False
    cap_add: Words = msgspec.field(default_factory=list)
    cap_drop: Words = msgspec.field(default_factory=list)
    security_opt: list[str] = msgspec.field(default_factory=list)
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    device_requests: list[Any] = msgspec.field(default_factory=list)
    devices: list[Device] = msgspec.field(default_factory=list)
    ulimits: list[Ulimit] = msgspec.field(default_factory=list)
    sysctls: dict[str, str] = msgspec.field(default_factory=dict)
    group_add: list[str] = msgspec.field(default_factory=list)
    oom_score_adj: int = 0
    shm_size: int = 0
    cgroup_parent: str = ""
    dns: list[str] = msgspec.field(default_factory=list)
    dns_search: list[str] = msgspec.field(default_factory=list)
    dns_options: list[str] = msgspec.field(default_factory=list)
    extra_hosts: list[str] = msgspec.field(default_factory=list)
    log_config: LogConfig = msgspec.field(default_factory=LogConfig)
    runtime: str = ""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class Networking(msgspec.Struct, kw_only=True, rename="pascal"):
    """The networks of a new container: a body of `docker_endpoints.py` by name, null for no wish."""

    endpoints_config: dict[str, Any] = msgspec.field(default_factory=dict)


class Create(msgspec.Struct, kw_only=True, rename="pascal"):
    """The body of POST /containers/create."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Any] = msgspec.field(default_factory=dict)
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] = msgspec.field(default_factory=list)
    cmd: Words = msgspec.field(default_factory=list)
    entrypoint: Words | None = None
    healthcheck: Health | None = None
    image: str = ""
    volumes: dict[str, Any] = msgspec.field(default_factory=dict)
    working_dir: str = ""
    mac_address: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    stop_signal: str = ""
    stop_timeout: int | None = None
    host_config: Host = msgspec.field(default_factory=Host)
    networking_config: Networking = msgspec.field(default_factory=Networking)


class ExecCreate(msgspec.Struct, kw_only=True, rename="pascal"):
    """The body of POST /containers/{id}/exec."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    tty: bool = False
    privileged: bool = False
    user: str = ""
    working_dir: str = ""
    env: list[str] = msgspec.field(default_factory=list)
    cmd: Words = msgspec.field(default_factory=list)
    console_size: list[int] = msgspec.field(default_factory=list)


class ExecStart(msgspec.Struct, kw_only=True, rename="pascal"):
    """The body of POST /exec/{id}/start."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] = msgspec.field(default_factory=list)


def words(value: Words) -> tuple[str, ...]:
    """A list of words, however it was written."""
    return (value,) if isinstance(value, str) else tuple(value)
