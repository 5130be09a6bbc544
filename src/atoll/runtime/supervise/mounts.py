"""Roots of containers, mounted on the host while they run. Source: Documentation/filesystems/overlayfs.rst."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from atoll.errors import InvalidRequest
from atoll.runtime.programs import run

OPTIONS_MAX_BYTES = 4095
"""A page and its closing zero: mount(2)."""


async def mount_root(layers: Path, names: Sequence[str], kept: Path, target: Path) -> None:
    """Mount an overlay of the layers of these names, lowest first, and of what the container has written in `kept`.

    Names are relative to the directory of layers: more than a hundred fit into the page that the options may take, and
    no character of a path can be taken for syntax. Raises ProgramFailed, InvalidRequest.
    """
    for made in (kept / "upper", kept / "work", kept / "empty", target):
        made.mkdir(mode=0o755, parents=True, exist_ok=True)
    own = os.path.relpath(kept, layers)
    # A lower directory is wanted, also of an image without layers.
    lower = ":".join(reversed(names)) or f"{own}/empty"
    options = f"lowerdir={lower},upperdir={own}/upper,workdir={own}/work"
    if len(options) > OPTIONS_MAX_BYTES:
        raise InvalidRequest(f"the image has {len(names)} layers, more than can be mounted")
    await run("mount", "--no-canonicalize", "-t", "overlay", "-o", options, "overlay", str(target), cwd=layers)


async def mount_tmpfs(target: Path, *, size_bytes: int) -> None:
    """Mount an empty filesystem in memory that everybody may write to. Raises ProgramFailed."""
    target.mkdir(mode=0o755, parents=True, exist_ok=True)
    options = f"nosuid,nodev,noexec,mode=1777,size={size_bytes}"
    await run("mount", "--no-canonicalize", "-t", "tmpfs", "-o", options, "shm", str(target))


async def unmount_below(directory: Path) -> None:
    """Take away every mount at or below a directory, whether in use or not. Raises ProgramFailed."""
    found = await asyncio.to_thread(mounted_below, directory)
    if found:
        await run("umount", "--no-canonicalize", "--lazy", *(str(path) for path in reversed(found)))


def mounted_below(directory: Path) -> list[Path]:
    """Mount points at or below a directory, in the order in which they were made; one that is hidden comes twice."""
    found = []
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            # Blanks in it are written in octal. Source: proc(5).
            path = Path(line.split()[4].decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape"))
            if path.is_relative_to(directory):
                found.append(path)
    return found
