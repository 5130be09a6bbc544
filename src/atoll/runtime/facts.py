"""What a specification needs to know of this host, read from it."""

import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from atoll.errors import InvalidRequest
from atoll.runtime.bundle.host import HostAbilities, HostDevice

SECCOMP_PROFILES = (Path("/usr/share/containers/seccomp.json"), Path("/etc/containers/seccomp.json"))
"""Where Debian's golang-github-containers-common has Docker's and Podman's profile; the last one counts."""

INITS = ("docker-init", "tini-static", "catatonit")
"""Static ones: Debian's docker.io, tini and catatonit."""

_CGROUP = Path("/sys/fs/cgroup")
_SKIPPED = ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console")
"""Below /dev, what a container has of its own. Source: runc's list for privileged containers."""


def read_abilities() -> HostAbilities:
    """One look at the host, without devices. A missing seccomp profile is "" there."""
    profiles = [path.read_text() for path in SECCOMP_PROFILES if path.is_file()]
    version = cgroup_version()
    return HostAbilities(
        machine=os.uname().machine,
        cgroup_version=version,
        swap_limit=version == 2 or (_CGROUP / "memory" / "memory.memsw.limit_in_bytes").exists(),
        seccomp_profile=profiles[-1] if profiles else "",
        capabilities=_capabilities(),
    )


def _capabilities() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))


def find_init() -> str:
    """The path of a small init for containers that want one; "" where there is none."""
    return next((path for name in INITS if (path := shutil.which(name)) is not None), "")


def cgroup_version() -> int:
    """2 where the unified hierarchy has the controllers, 1 where v1 has them, also when v2 is mounted beside it."""
    return 2 if (_CGROUP / "cgroup.controllers").exists() else 1


def find_devices(paths: Iterable[str]) -> dict[str, tuple[HostDevice, ...]]:
    """The device nodes at or below each path. Raises InvalidRequest for a path that isn't there."""
    found = {}
    for path in paths:
        try:
            found[path] = tuple(_nodes(Path(path)))
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise InvalidRequest(f"cannot give device {path!r}: {reason}", hint=f"ls -l {path}") from None
    return found


def _nodes(path: Path) -> list[HostDevice]:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        below = (child for child in sorted(path.iterdir()) if child.name not in _SKIPPED and not child.is_symlink())
        return [node for child in below for node in _nodes(child)]
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return []
    numbers = os.major(status.st_rdev), os.minor(status.st_rdev)
    return [HostDevice(str(path), kind, *numbers, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)]
