"""What this machine and this process are, for `/version` and `/info`."""

import os
import platform
import time
from pathlib import Path

import atoll
from atoll.api.docker_system import About
from atoll.daemon.arguments import Arguments
from atoll.runtime.facts import find_init, read_abilities


def read_about(arguments: Arguments, engine_id: str) -> About:
    """Read it once, at the start."""
    machine = os.uname()
    release, abilities = _os_release(), read_abilities()
    return About(
        version=atoll.__version__,
        pid=os.getpid(),
        state_directory=str(arguments.state),
        run_directory=str(arguments.run),
        hostname=machine.nodename,
        kernel=machine.release,
        machine=machine.machine,
        system=release.get("PRETTY_NAME", "Linux"),
        system_version=release.get("VERSION_ID", ""),
        cpus=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        engine_id=engine_id,
        started_ns=time.time_ns(),
        cgroup_version=abilities.cgroup_version,
        seccomp=bool(abilities.seccomp_profile),
        init_program=Path(find_init()).name,
    )


def netns_inode(path: str) -> int:
    """Inode number of the namespace at `path`, as `ls -Li` prints it; 0 when it is gone."""
    try:
        return Path(path).stat().st_ino
    except OSError:
        return 0


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
