"""What a daemon finds when it starts: containers that run, that ended meanwhile, and what nobody needs any more."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

from atoll.errors import AtollError
from atoll.model.container import Status
from atoll.runtime.registry import Entry
from atoll.runtime.restarts import starts_at_boot
from atoll.runtime.runs import Runs
from atoll.runtime.supervise import process
from atoll.runtime.supervise.mounts import unmount_below
from atoll.runtime.supervise.runc import Runc

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
    await _sweep(runs, running)
    for entry in runs.registry:
        async with entry.lock:
            try:
                await _recover(runs, entry, booted=booted)
            except AtollError:
                _log.exception("container %s is not recovered", entry.container.name)


async def _recover(runs: Runs, entry: Entry, *, booted: bool) -> None:
    container = entry.container
    if container.status.has_process:
        if runs.launcher.conmon_pid(container.id):
            runs.watch(entry)
        else:
            await runs.settle(entry)
    elif container.status is Status.RESTARTING:
        runs.restart_later(entry)
    elif container.status is Status.EXITED and container.host.auto_remove:
        await runs.remove(entry, volumes=True)
    elif booted and starts_at_boot(container):
        await runs.registry.put(replace(container, status=Status.RESTARTING))
        runs.restart_later(entry)


async def _sweep(runs: Runs, running: set[str]) -> None:
    """Take away what belongs to no container that runs, and the files of containers that there aren't."""
    places = runs.places
    # A conmon that was about to make a container when the daemon died would go on.
    for container_id, pid in _conmons(places.bundles).items():
        if container_id not in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await process.ended(pid)
    runc = Runc("runc", places.runtime_root)
    for container_id in runc.known():
        if container_id not in running:
            await _attempt(container_id, runc.delete(container_id))
    for bundle in places.bundles.iterdir():
        if bundle.name not in running:
            await _attempt(bundle.name, unmount_below(bundle))
            await asyncio.to_thread(shutil.rmtree, bundle, ignore_errors=True)
    for kept in places.containers.iterdir():
        if kept.name not in runs.registry:
            await _attempt(kept.name, unmount_below(kept))
            await asyncio.to_thread(shutil.rmtree, kept, ignore_errors=True)


async def _attempt(name: str, step: Awaitable[None]) -> None:
    try:
        await step
    except AtollError:
        _log.exception("what %s left is not all gone", name)


def _conmons(bundles: Path) -> dict[str, int]:
    """conmon processes of containers in this directory, by container id."""
    found = {}
    for path in Path("/proc").iterdir():
        if not path.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            arguments = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(arguments[0]).name == "conmon" and "--bundle" in arguments:
                bundle = Path(arguments[arguments.index("--bundle") + 1])
                if bundle.parent == bundles:
                    found[bundle.name] = int(path.name)
    return found
