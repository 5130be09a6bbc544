"""Containers: what was asked for, and what became of it.

Everything is parsed; where Docker's API has a string with parts, there is a value here. Source: Docker's API, the
schemas ContainerConfig, HostConfig and ContainerState.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from atoll.model.image import HealthCheck
from atoll.model.sandbox import SandboxRequest

NEVER_NS = (1 << 63) - 1
"""A time that does not come."""


class Status(StrEnum):
    """State of a container, in Docker's words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    DEAD = "dead"

    @property
    def has_process(self) -> bool:
        """Whether its first process is there."""
        return self in (Status.RUNNING, Status.PAUSED)


class Health(StrEnum):
    """What health checks have told; NONE where there are none."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class RestartKind(StrEnum):
    """When a container that ended is started again."""

    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """`retries_max` counts for ON_FAILURE alone; 0 is without end."""

    kind: RestartKind = RestartKind.NO
    retries_max: int = 0


class SharingKind(StrEnum):
    """Whose namespace of some kind a container is in; SHAREABLE is its own, which others may join."""

    PRIVATE = "private"
    SHAREABLE = "shareable"
    HOST = "host"
    CONTAINER = "container"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Sharing:
    """`container` is the id of the container whose namespace it is."""

    kind: SharingKind = SharingKind.PRIVATE
    container: str = ""


class MountKind(StrEnum):
    """Where what is mounted comes from."""

    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"


class MountOrigin(StrEnum):
    """Who asks for a mount, and so where Docker's JSON shows it again."""

    OPTION = "option"
    """`--volume` and `--tmpfs`."""
    SPEC = "spec"
    """`--mount`."""
    OTHER = "other"
    """`--volumes-from`."""


@dataclass(frozen=True, slots=True)
class Mount:
    """Something mounted at `target`, an absolute path in the container.

    `source` is a path of the host, or the name of a volume ("" before it is chosen). `make_source`: a bind's missing
    directory is made, as `-v` does and `--mount` doesn't. `copy`: a new volume begins with what the image has there.
    `size_bytes` 0 is without limit; `options` are mount(8)'s for a tmpfs.
    """

    kind: MountKind
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = "rprivate"
    recursive: bool = True
    make_source: bool = False
    copy: bool = True
    anonymous: bool = False
    size_bytes: int = 0
    mode: int = 0o1777
    options: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    origin: MountOrigin = MountOrigin.OPTION


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the host, or all below a directory; `permissions` of r, w, m."""

    source: str
    target: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A limit of getrlimit(2) by its short name, `nofile`; -1 is without limit."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use; 0 and "" mean no limit of its own.

    `memory_swap_bytes`, memory and swap together, and `pids_max` may be -1: any.
    """

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    memory_reservation_bytes: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_max: int = 0
    oom_kill_disable: bool = False


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """What runs. Empty fields are the image's; `entrypoint` None is the image's, () is none.

    `stop_timeout_s` None is the daemon's. `env` holds NAME=VALUE, or NAME, which takes the image's away.
    """

    image: str
    hostname: str = ""
    domainname: str = ""
    user: str = ""
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    workdir: str = ""
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    stop_timeout_s: int | None = None
    health: HealthCheck | None = None


@dataclass(frozen=True, slots=True)
class HostConfig:
    """How it runs on this host.

    `masked_paths` and `readonly_paths` None are Docker's; () is none. `log_max_bytes` 0 is without limit.
    `network_mode`, `volumes_from` and `userns` are kept as they were asked for: the first two are shown only, the third
    is "" or "host" for the host's ids, "private" for ids of the container's own.
    """

    network_mode: str = "default"
    ipc: Sharing = field(default_factory=lambda: Sharing(SharingKind.SHAREABLE))
    pid: Sharing = field(default_factory=Sharing)
    uts: Sharing = field(default_factory=Sharing)
    cgroupns: SharingKind | None = None
    userns: str = ""
    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[str, ...] = ()
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    privileged: bool = False
    readonly_rootfs: bool = False
    init: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str = ""
    """"" for the default profile, `unconfined`, or a profile's JSON."""
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    devices: tuple[Device, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    group_add: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    oom_score_adj: int = 0
    shm_bytes: int = 64 << 20
    cgroup_parent: str = ""
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    log_max_bytes: int = 0
    log_options: Mapping[str, str] = field(default_factory=dict)
    runtime: str = "runc"
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """A container as stored.

    `mounts` are those of `host` and of the image, volumes named. `network` is what it asks of a sandbox, in the
    engine's words. `pid` and `pid_start_ticks` (field 22 of /proc/PID/stat, so that another process with that number
    is not taken for it) are of its first process, 0 when there is none. Times are Unix time, 0 for never.
    `stop_requested`: the end was wanted, so no policy starts it again. `kill_at_ns` is when a stop that is under way
    kills it: 0 while there is none, NEVER_NS of one that waits for ever.
    """

    id: str
    name: str
    image_id: str
    created_ns: int
    config: ContainerConfig
    host: HostConfig = field(default_factory=HostConfig)
    mounts: tuple[Mount, ...] = ()
    network: SandboxRequest | None = None
    status: Status = Status.CREATED
    pid: int = 0
    pid_start_ticks: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    restart_count: int = 0
    stop_requested: bool = False
    kill_at_ns: int = 0
    health: Health = Health.NONE

    @property
    def volumes(self) -> tuple[str, ...]:
        """Names of the volumes that it mounts."""
        return tuple(mount.source for mount in self.mounts if mount.kind is MountKind.VOLUME)


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """A container as asked for; `name` "" means "choose"."""

    config: ContainerConfig
    host: HostConfig = field(default_factory=HostConfig)
    name: str = ""
    network: SandboxRequest | None = None
