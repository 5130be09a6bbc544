"""What the verbs on containers do, as the lines a person would type. Law: pure; nothing runs these lines.

runc makes the mounts inside a namespace of the container's own, and conmon stands above it; what a container sees is
the same. A line that begins with # is about
what only atoll itself knows, and there is nothing to type for it.
"""

import shlex
from collections.abc import Iterable, Sequence

from atoll.model.container import Container, Limits, MountKind
from atoll.model.names import short_id
from atoll.runtime.places import Places

Lines = list[tuple[str, str]]
"""Lines, each with the object that it is about."""


def making(container: Container, places: Places, *, volumes: Iterable[str]) -> Lines:
    """Of `create`. `volumes` are those that are not there yet."""
    kept = places.kept(container.id)
    return [
        *volume_lines("mkdir -p", places, *volumes),
        (f"mkdir -p {_word(kept / 'upper')} {_word(kept / 'work')}", _reason(container)),
    ]


def beginning(container: Container, places: Places, layers: Sequence[str]) -> Lines:
    """Of `start`, after its sandbox is made. `layers` are paths, the lowest first."""
    kept, bundle, root = places.kept(container.id), places.bundle(container.id), places.root(container.id)
    lower = ":".join(reversed(layers)) or str(kept / "empty")
    options = f"lowerdir={lower},upperdir={kept / 'upper'},workdir={kept / 'work'}"
    mounts = [
        f"mount --{'r' if mount.recursive else ''}bind {_word(source)} {_word(str(root) + mount.target)}"
        for mount in container.mounts
        if mount.kind is not MountKind.TMPFS and (source := _source(mount.kind, mount.source, places))
    ]
    runtime = f"{container.host.runtime} --root {_word(places.runtimes / container.host.runtime)}"
    lines = [
        f"mkdir -p {_word(root)}",
        f"mount -t overlay -o {_word(options)} overlay {_word(root)}",
        *mounts,
        f"{runtime} create --bundle {_word(bundle)} {short_id(container.id)}",
        f"{runtime} start {short_id(container.id)}",
    ]
    return [(line, _reason(container)) for line in lines]


def signalling(container: Container, signal: str) -> Lines:
    """Of `kill`."""
    return [(f"kill -{signal.removeprefix('SIG')} {container.pid}", _reason(container))]


def ending(container: Container, places: Places, *, signal: str, timeout_s: float) -> Lines:
    """Of `stop`, before its sandbox is released; -1 s waits for ever."""
    lines = signalling(container, signal)
    if timeout_s >= 0 and signal != "SIGKILL":
        lines.append((f"sleep {timeout_s:g}; kill -KILL {container.pid}", _reason(container)))
    return [*lines, (f"umount -l {_word(places.root(container.id))}", _reason(container))]


def removing(container: Container, places: Places, *, volumes: Iterable[str]) -> Lines:
    """Of `rm`, with the volumes that go too."""
    lines = [(f"rm -r {_word(places.kept(container.id))}", _reason(container))]
    return lines + volume_lines("rm -r", places, *volumes)


def volume_lines(command: str, places: Places, *names: str) -> Lines:
    """A command on the directory of each volume."""
    return [(f"{command} {_word(places.volumes / name / '_data')}", f"volume {name}") for name in names]


def freezing(container: Container, verb: str) -> Lines:
    """Of `pause` and `unpause`, which runc calls pause and resume."""
    return [(f"{container.host.runtime} {verb} {short_id(container.id)}", _reason(container))]


def renaming(container: Container, name: str) -> Lines:
    """Of `rename`."""
    return [(f"# {container.name} is called {name}", _reason(container))]


def updating(container: Container, limits: Limits, restart: str) -> Lines:
    """Of `update`; `restart` is the new policy, "" for the old one."""
    told = {
        "--memory": limits.memory_bytes,
        "--memory-reservation": limits.memory_reservation_bytes,
        "--memory-swap": limits.memory_swap_bytes,
        "--cpu-share": limits.cpu_shares,
        "--cpu-period": limits.cpu_period_us,
        "--cpu-quota": limits.cpu_quota_us,
        "--cpuset-cpus": limits.cpuset_cpus,
        "--cpuset-mems": limits.cpuset_mems,
        "--pids-limit": limits.pids_max,
    }
    words = " ".join(f"{option} {_word(value)}" for option, value in told.items() if value)
    lines = [(f"{container.host.runtime} update {words} {short_id(container.id)}", _reason(container))] if words else []
    return lines + ([(f"# it is restarted: {restart}", _reason(container))] if restart else [])


def _source(kind: MountKind, source: str, places: Places) -> str:
    """Where a mount's content lies, "" of a volume that has no name yet."""
    return source if kind is MountKind.BIND or not source else str(places.volumes / source / "_data")


def _reason(container: Container) -> str:
    return f"container {container.name}"


def _word(value: object) -> str:
    return shlex.quote(str(value))
