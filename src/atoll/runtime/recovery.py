"""What a daemon finds when it starts: containers that run, that ended meanwhile, and what nobody needs any more."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from atoll.errors import AtollError
from atoll.model.container import Container, Status
from atoll.runtime import cgroups
from atoll.runtime.launching import CONMON_TIMEOUT_S
from atoll.runtime.registry import Entry
from atoll.runtime.restarts import starts_at_boot
from atoll.runtime.runs import Runs
from atoll.runtime.supervise import process
from atoll.runtime.supervise.conmon import StartFailed
from atoll.runtime.supervise.mounts import unmount_below
from atoll.runtime.supervise.runc import Runc
from atoll.runtime.trees import discard_tree

MADE_TIMEOUT_S = 10
"""Longer than a runtime takes to make a container on a host that is busy."""

_log = logging.getLogger(__name__)


async def recover(runs: Runs) -> None:
    """Bring what is there in line with the records.

    What runs is watched again, without a touch; what has ended gets its exit code and its policy's due; what belongs to
    no record, or to one that doesn't run, is taken away. After a boot the policies `always` and `unless-stopped` start
    what they want.
    """
    booted = not runs.places.bundles.is_dir()
    for made in (runs.places.containers, runs.places.bundles):
        made.mkdir(mode=0o711, parents=True, exist_ok=True)
    running = {entry.container.id for entry in runs.registry if entry.container.status.has_process}
    conmons = _conmons()
    await _sweep(runs, running, conmons)
    for entry in runs.registry:
        async with entry.lock:
            try:
                await _recover(runs, entry, conmons, booted=booted)
            except (AtollError, OSError):
                _log.exception("container %s is not recovered", entry.container.name)


async def _recover(runs: Runs, entry: Entry, conmons: Collection[Path], *, booted: bool) -> None:
    container = entry.container
    if container.status.has_process:
        if runs.launcher.conmon_pid(container.id):
            await _begin(runs, container)
            runs.watch(entry)
            await _finish(runs, container, conmons)
        else:
            await runs.settle(entry)
        return
    # What a start had made when the daemon died, or an end had not yet taken away.
    await runs.clear(container)
    if container.status is Status.RESTARTING:
        runs.restart_later(entry)
    elif container.status is Status.EXITED and container.host.auto_remove:
        await runs.remove(entry, volumes=True)
    elif booted and starts_at_boot(container):
        await runs.registry.put(replace(container, status=Status.RESTARTING))
        runs.restart_later(entry)


async def _begin(runs: Runs, container: Container) -> None:
    """Let a container begin that is stored as running, if the daemon died before it did."""
    if not runs.launcher.waits(container):
        return
    try:
        await runs.launcher.begin(container)
    except StartFailed:
        # The runtime that the dead daemon had asked may have been first.
        if runs.launcher.waits(container):
            await runs.launcher.runc(container).delete(container.id)


async def _finish(runs: Runs, container: Container, conmons: Collection[Path]) -> None:
    """Do what was stored of a container that runs, and may not have been done; what its execs left goes."""
    if runs.places.unwritten(container.id).exists():
        await runs.write_files(container)
    runc = runs.launcher.runc(container)
    if container.status is Status.PAUSED and (await runc.state(container.id))["status"] == "running":
        await runc.pause(container.id)
    for directory in _children(runs.places.execs(container.id)):
        if directory not in conmons:
            await asyncio.to_thread(discard_tree, directory)


async def _sweep(runs: Runs, running: set[str], conmons: Mapping[Path, int]) -> None:
    """Take away what belongs to no container that runs, and the files of containers that there aren't."""
    places = runs.places
    stray = {
        directory.name: pid
        for directory, pid in conmons.items()
        if directory.parent == places.bundles and directory.name not in running
    }
    for container_id, pid in stray.items():
        await _made(places.bundle(container_id), pid)
    for root in _children(places.runtimes):
        runc = Runc(root.name, places.runtimes)
        for container_id in runc.known():
            if container_id not in running:
                await _attempt(container_id, runc.delete(container_id))
    for pid in stray.values():
        await _gone(pid)
    for bundle in places.bundles.iterdir():
        if bundle.name not in running:
            await _attempt(bundle.name, unmount_below(bundle))
            await asyncio.to_thread(discard_tree, bundle)
            if bundle.name in runs.registry:
                # Of a runtime that failed to make the container when nobody listened any more.
                cgroups.remove_empty(cgroups.path_of(runs.registry.find(bundle.name).container))
    for kept in places.containers.iterdir():
        if kept.name not in runs.registry:
            await _attempt(kept.name, unmount_below(kept))
            await asyncio.to_thread(discard_tree, kept)
    await runs.preparer.volumes.sweep(runs.registry.__contains__, lambda volume: bool(runs.users_of(volume)))


async def _made(bundle: Path, pid: int) -> None:
    """Wait until a conmon that goes on without its daemon has made its container, or failed to.

    Killed in the middle, the runtime would leave traces that it doesn't know itself.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MADE_TIMEOUT_S):
            while process.start_ticks(pid) and not (bundle / "pid").exists():
                await asyncio.sleep(0.02)


async def _gone(pid: int) -> None:
    """Wait for a conmon whose container is gone; one that stays is killed."""
    try:
        await asyncio.wait_for(process.ended(pid), CONMON_TIMEOUT_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _attempt(name: str, step: Awaitable[None]) -> None:
    try:
        await step
    except AtollError:
        _log.exception("what %s left is not all gone", name)


def _children(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _conmons() -> dict[Path, int]:
    """All conmon processes of the host, by the directories that they work in."""
    found = {}
    for path in Path("/proc").iterdir():
        if not path.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            arguments = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(arguments[0]).name == "conmon" and "--bundle" in arguments:
                found[Path(arguments[arguments.index("--bundle") + 1])] = int(path.name)
    return found
