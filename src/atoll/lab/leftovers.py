"""Named namespaces, made and deleted, and what a killed lab has left behind."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atoll.lab.namespace import end_residents

NETNS_DIRECTORY = Path("/run/netns")
"""Where `ip netns` keeps names."""
VOLATILE_DIRECTORY = Path("/run")
"""Where hosts keep what a reboot takes: in memory, as on a real one."""

_LAB = re.compile(r"atoll-lab-(\d+)-")


def add_namespace(path: Path) -> None:
    """Make a namespace that `ip netns` knows; `path` is in its directory. Raises CalledProcessError."""
    subprocess.run(["ip", "netns", "add", path.name], check=True, capture_output=True)


def delete_namespace(path: Path) -> None:
    """Delete a named namespace; one that's gone is no error."""
    subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)


def unmount_namespaces(directory: Path) -> None:
    """Let go of every namespace that is mounted in a directory, their files, and the directory.

    Who mounts namespaces also mounts their directory on itself, so that they are seen in every mount namespace.
    """
    mounted = list(directory.glob("*"))
    for path in (*mounted, directory):
        subprocess.run(["umount", "--lazy", str(path)], check=False, capture_output=True)
    for path in mounted:
        path.unlink(missing_ok=True)


def sweep() -> tuple[str, ...]:
    """Remove what labs of dead processes have left behind; the names of their namespaces and directories."""
    spaces = tuple(_stale(NETNS_DIRECTORY))
    directories = tuple(path for where in (Path(tempfile.gettempdir()), VOLATILE_DIRECTORY) for path in _stale(where))
    end_residents([*spaces, *(path for directory in directories for path in directory.glob("*/netns/*"))])
    for path in spaces:
        delete_namespace(path)
    for directory in directories:
        for mounts in directory.glob("*/netns"):
            unmount_namespaces(mounts)
        shutil.rmtree(directory, ignore_errors=True)
    return tuple(path.name for path in (*spaces, *directories))


def _stale(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.glob("atoll-lab-*")):
        match = _LAB.match(path.name)
        if match and not Path("/proc", match[1]).exists():
            yield path
