"""The OCI runtime specification of a container, and of a process in it.

Law: pure; everything about the host is an argument. Source: opencontainers/runtime-spec 1.0.2, config.md and
config-linux.md; Docker's defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.errors import InvalidRequest
from atoll.model.container import Container, Device, HostConfig, Sharing, SharingKind
from atoll.runtime.bundle.capabilities import capabilities
from atoll.runtime.bundle.effective import Effective
from atoll.runtime.bundle.host import HostAbilities, HostDevice
from atoll.runtime.bundle.mounts import MASKED, READONLY, mounts
from atoll.runtime.bundle.resources import resources, rlimits
from atoll.runtime.bundle.seccomp import seccomp
from atoll.runtime.bundle.users import User

SPEC_VERSION = "1.0.2"
UNCONFINED = "unconfined"
INIT_PATH = "/sbin/docker-init"
"""Where an init of the host's is mounted, as Docker does."""


@dataclass(frozen=True, slots=True)
class IdMap:
    """Ids of a user namespace: 0 is `first` on the host, `count` in all."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where on this host the parts of a container are. Paths are absolute.

    `netns` is the sandbox's namespace. `joined` maps ipc, pid and uts to the path of a namespace of another
    container's, `ipc` /dev/shm and /dev/mqueue to what they are when they are not its own alone, `files` paths in the
    container to files of the host, `volumes` targets to directories. `init` is a program that reaps, "" for none.
    """

    root: str
    netns: str
    cgroup: str
    hostname: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    ipc: Mapping[str, str] = field(default_factory=dict)
    joined: Mapping[str, str] = field(default_factory=dict)
    ids: IdMap | None = None
    init: str = ""


def specification(
    container: Container, effective: Effective, user: User, place: Place, host: HostAbilities
) -> dict[str, Any]:
    """The specification. Raises InvalidRequest, Unsupported for what can't be."""
    config = container.host
    devices = _devices(config, host)
    found: dict[str, Any] = {
        "ociVersion": SPEC_VERSION,
        "root": {"path": place.root, "readonly": config.readonly_rootfs},
        "process": _process(container, effective, user, place, host),
        "mounts": mounts(
            config,
            container.mounts,
            sources=place.volumes,
            files=place.files,
            programs={INIT_PATH: place.init} if place.init else {},
            ipc=place.ipc,
            remapped=place.ids is not None,
        ),
        "annotations": dict(config.annotations),
        "linux": _linux(container, place, host, devices),
    }
    if config.uts.kind is SharingKind.PRIVATE:
        found["hostname"] = place.hostname
        if container.config.domainname:
            found["linux"]["sysctl"]["kernel.domainname"] = container.config.domainname
    return found


def process(
    base: Mapping[str, Any],
    *,
    argv: tuple[str, ...],
    env: tuple[str, ...],
    user: User,
    workdir: str = "",
    tty: bool = False,
    privileged_by: HostAbilities | None = None,
) -> dict[str, Any]:
    """A further process in a container whose first one is `base`, with the same rights, or all of a host's."""
    found = {
        **base,
        "args": list(argv),
        "env": list(env),
        "cwd": workdir or base["cwd"],
        "terminal": tty,
        "user": _user(user),
        "capabilities": _sets(base["capabilities"]["bounding"], user),
    }
    found.pop("consoleSize", None)
    if privileged_by is not None:
        every = capabilities((), (), privileged=True, available=privileged_by.capabilities)
        found["capabilities"] = _sets(every, user)
    return found


def _process(
    container: Container, effective: Effective, user: User, place: Place, host: HostAbilities
) -> dict[str, Any]:
    config = container.host
    granted = capabilities(config.cap_add, config.cap_drop, privileged=config.privileged, available=host.capabilities)
    argv = ((INIT_PATH, "--") if place.init else ()) + effective.argv
    env = effective.env
    if not any(entry.startswith("HOSTNAME=") for entry in env):
        env = (*env, f"HOSTNAME={place.hostname}")
    if not any(entry.startswith("HOME=") for entry in env):
        env = (*env, f"HOME={user.home}")
    found: dict[str, Any] = {
        "terminal": container.config.tty,
        "user": _user(user),
        "args": list(argv),
        "env": list(env),
        "cwd": effective.workdir,
        "capabilities": _sets(granted, user),
        "noNewPrivileges": config.no_new_privileges,
        "oomScoreAdj": config.oom_score_adj,
    }
    limits = rlimits(config.ulimits)
    if limits:
        found["rlimits"] = limits
    return found


def _user(user: User) -> dict[str, Any]:
    found: dict[str, Any] = {"uid": user.uid, "gid": user.gid}
    if user.groups:
        found["additionalGids"] = list(user.groups)
    return found


def _sets(granted: tuple[str, ...] | list[str], user: User) -> dict[str, list[str]]:
    # Others than root hold none, and may gain what files carry: Docker's rule, which runc alone would not keep.
    held = list(granted) if user.uid == 0 else []
    return {"bounding": list(granted), "effective": held, "permitted": held}


def _linux(
    container: Container, place: Place, host: HostAbilities, devices: list[tuple[HostDevice, Device]]
) -> dict[str, Any]:
    config = container.host
    granted = capabilities(config.cap_add, config.cap_drop, privileged=config.privileged, available=host.capabilities)
    found: dict[str, Any] = {
        "namespaces": _namespaces(config, place, host),
        "cgroupsPath": place.cgroup,
        "sysctl": _sysctls(config),
        "resources": resources(
            config.limits,
            devices=[(device, asked.permissions) for device, asked in devices],
            privileged=config.privileged,
            swap_limit=host.swap_limit,
        ),
        "devices": [_device(device, asked) for device, asked in devices],
        "maskedPaths": list(_unless(config, config.masked_paths, MASKED)),
        "readonlyPaths": list(_unless(config, config.readonly_paths, READONLY)),
        "rootfsPropagation": _propagation(container),
    }
    profile = config.seccomp or ("" if config.privileged else host.seccomp_profile)
    if profile and profile != UNCONFINED:
        found["seccomp"] = seccomp(profile, machine=host.machine, capabilities=granted)
    if place.ids is not None:
        mapping = [{"containerID": 0, "hostID": place.ids.first, "size": place.ids.count}]
        found["uidMappings"] = found["gidMappings"] = mapping
    return found


def _namespaces(config: HostConfig, place: Place, host: HostAbilities) -> list[dict[str, str]]:
    found = [{"type": "mount"}, {"type": "network", "path": place.netns}]
    for kind in ("ipc", "pid", "uts"):
        sharing: Sharing = getattr(config, kind)
        if sharing.kind is SharingKind.CONTAINER:
            found.append({"type": kind, "path": place.joined[kind]})
        elif sharing.kind is not SharingKind.HOST:
            found.append({"type": kind})
    private = config.cgroupns or (SharingKind.PRIVATE if host.cgroup_version == 2 else SharingKind.HOST)
    # A privileged one gets the host's cgroups as Docker gives them, but on v2 only when that is asked for.
    if private is SharingKind.PRIVATE and not (config.privileged and config.cgroupns is None):
        found.append({"type": "cgroup"})
    if place.ids is not None:
        found.append({"type": "user"})
    return found


def _sysctls(config: HostConfig) -> dict[str, str]:
    for name in config.sysctls:
        if not name.startswith(("net.", "fs.mqueue.")) and name not in _IPC_SYSCTLS:
            raise InvalidRequest(
                f"sysctl {name!r} is not allowed: it is the whole host's", hint=f"sysctl {name}, on the host"
            )
    return dict(config.sysctls)


_IPC_SYSCTLS = frozenset(
    {
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.domainname",
    }
)
"""Of a namespace of the container's; source: Docker's list."""


def _unless(config: HostConfig, own: tuple[str, ...] | None, usual: tuple[str, ...]) -> tuple[str, ...]:
    if own is not None:
        return own
    return () if config.privileged else usual


def _propagation(container: Container) -> str:
    """What the root has to be, so that mounts of the host may still arrive below a bind of its own."""
    wanted = {mount.propagation.removeprefix("r") for mount in container.mounts}
    if "shared" in wanted:
        return "rshared"
    return "rslave" if "slave" in wanted else "rprivate"


def _devices(config: HostConfig, host: HostAbilities) -> list[tuple[HostDevice, Device]]:
    """The devices of the host that are made in the container, each with what was asked of it."""
    found = []
    for asked in config.devices:
        nodes = host.devices.get(asked.source, ())
        if not nodes:
            raise InvalidRequest(f"cannot give device {asked.source!r}: no such device node on the host")
        for node in nodes:
            below = node.path.removeprefix(asked.source)
            found.append((node, Device(node.path, asked.target + below, asked.permissions)))
    if config.privileged:
        given = {device.target for _, device in found}
        found += [
            (node, Device(node.path, node.path)) for node in host.devices.get("/dev", ()) if node.path not in given
        ]
    return found


def _device(node: HostDevice, asked: Device) -> dict[str, Any]:
    return {
        "path": asked.target,
        "type": node.kind,
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode & 0o7777,
        "uid": node.uid,
        "gid": node.gid,
    }
