"""Where the cgroups of containers are, and taking away what a runtime leaves of them."""

import contextlib
from pathlib import Path

from atoll.model.container import Container

DEFAULT_PARENT = "/atoll"
"""The cgroup below which those of containers are, unless they ask for another."""
_ROOT = Path("/sys/fs/cgroup")


def parent_of(container: Container) -> str:
    """The cgroup in which a container's own is, in every hierarchy."""
    return container.host.cgroup_parent or DEFAULT_PARENT


def path_of(container: Container) -> str:
    """The cgroup of a container."""
    return f"{parent_of(container)}/{container.id}"


def remove_empty(path: str) -> None:
    """Remove a cgroup in every hierarchy, v1 or v2, where it has neither processes nor others below it."""
    for hierarchy in (_ROOT, *_ROOT.iterdir()):
        with contextlib.suppress(OSError):
            (hierarchy / path.lstrip("/")).rmdir()
