"""The mounts of a container, outermost first. Law: pure. Source: Docker's defaults; mount(8)."""

from collections.abc import Iterable, Mapping
from typing import Any

from atoll.model.container import HostConfig, Mount, MountKind, SharingKind

MASKED: tuple[str, ...] = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY: tuple[str, ...] = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_DEVPTS = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]


def mounts(
    host: HostConfig,
    own: Iterable[Mount],
    *,
    sources: Mapping[str, str],
    files: Mapping[str, str],
    programs: Mapping[str, str],
    ipc: Mapping[str, str],
    remapped: bool,
) -> list[dict[str, Any]]:
    """All mounts in the order in which they are made: a target before what lies below it.

    `own` are the container's; `sources` maps targets of volumes to paths of the host, `files` paths in the container
    (/etc/hosts) to paths of the host, as `programs` does, and `ipc` for /dev/shm and /dev/mqueue where these are
    shared. `remapped`: the container's ids are not the host's.
    """
    found = {mount["destination"]: mount for mount in _defaults(host, ipc)}
    if remapped:
        # The kernel gives sysfs to a user namespace only for a network namespace that it owns.
        found["/sys"] = _bind("/sys", "/sys", ["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"])
    for target, path in files.items():
        found[target] = _bind(path, target, ["rbind", "rprivate"])
    for target, path in programs.items():
        # It is the host's own, not a copy.
        found[target] = _bind(path, target, ["bind", "rprivate", "ro", "nosuid", "nodev"])
    for mount in own:
        found[mount.target] = _own(mount, sources)
    return sorted(found.values(), key=lambda mount: (mount["destination"].count("/"), _rank(mount["destination"])))


def tmpfs_options(mount: Mount) -> list[str]:
    """Options of a tmpfs: Docker's, then its own."""
    options = ["nosuid", "nodev", "noexec", f"mode={mount.mode:o}"]
    if mount.size_bytes:
        options.append(f"size={mount.size_bytes}")
    if mount.read_only:
        options.append("ro")
    # Later ones win: `exec` over `noexec`.
    return [option for option in options if _opposite(option) not in mount.options] + list(mount.options)


def _defaults(host: HostConfig, ipc: Mapping[str, str]) -> list[dict[str, Any]]:
    # `ro` of these two would also keep a privileged container from what it is for.
    read_only = [] if host.privileged else ["ro"]
    found = [
        _mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", _DEVPTS),
        _mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", *read_only]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", *read_only]),
        _mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ]
    if host.ipc.kind is not SharingKind.NONE:
        options = ["nosuid", "noexec", "nodev", "mode=1777", f"size={host.shm_bytes}"]
        found.append(_mount("/dev/shm", "tmpfs", "shm", options))
    shared = [
        _bind(source, target, ["rbind", "rprivate", "nosuid", "noexec", "nodev"]) for target, source in ipc.items()
    ]
    return [mount for mount in found if mount["destination"] not in ipc] + shared


def _own(mount: Mount, sources: Mapping[str, str]) -> dict[str, Any]:
    if mount.kind is MountKind.TMPFS:
        return _mount(mount.target, "tmpfs", "tmpfs", tmpfs_options(mount))
    source = sources[mount.target] if mount.kind is MountKind.VOLUME else mount.source
    options = ["rbind" if mount.recursive else "bind", mount.propagation, "ro" if mount.read_only else "rw"]
    return _bind(source, mount.target, options)


def _bind(source: str, target: str, options: list[str]) -> dict[str, Any]:
    return _mount(target, "bind", source, options)


def _mount(target: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": options}


def _rank(target: str) -> int:
    # As Docker orders what lies equally deep: the kernel's own first.
    first = ("/proc", "/dev", "/sys")
    return first.index(target) if target in first else len(first)


def _opposite(option: str) -> str:
    return option.removeprefix("no")
