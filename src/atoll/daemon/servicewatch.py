"""The end of a service is noticed at once, and another one started: it is nobody's child, so its connection tells."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path

from atoll.api.backend import Queue
from atoll.errors import AtollError

_log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
"""How often a service is looked for where none is needed yet; and the least time between two that are started."""
PAUSE_MAX_S = 30.0
"""The time between two that are started is doubled up to this while they end soon."""
CALM_S = 10.0
"""A service that lived for so long has not ended soon."""


async def follow_service(control_path: Path, renew: Callable[[], None], queue: Queue) -> None:
    """Have `renew` called by the engine's thread whenever the service at this path has ended, for ever."""
    clock = asyncio.get_running_loop().time
    pause_s = LOOK_INTERVAL_S
    unneeded = 0
    while True:
        found_s = clock()
        if not await _ended(control_path, unneeded):
            await asyncio.sleep(LOOK_INTERVAL_S)
            continue
        if clock() - found_s >= CALM_S:
            pause_s = LOOK_INTERVAL_S
        _log.warning("the service at %s has ended, another is started", control_path)
        await _renew(control_path, renew, queue)
        unneeded = _dead(control_path)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


async def _renew(control_path: Path, renew: Callable[[], None], queue: Queue) -> None:
    try:
        await queue.run(renew)
    except AtollError as error:
        _log.error("%s: %s %s", control_path.name, error.message, error.detail)
    except Exception:
        _log.exception("renewing %s failed", control_path.name)


async def _ended(control_path: Path, unneeded: int) -> bool:
    """True once the service that answers there has ended; False at once when there is none, nor was one killed.

    `unneeded` is the inode of what a killed one left, in whose place nobody needed another.
    """
    with _connection() as connection:
        try:
            connection.connect(str(control_path))
        except ConnectionRefusedError:
            # It would have removed its path: it was killed.
            return _dead(control_path) != unneeded
        except OSError:
            return False
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_recv(connection, 1)
        return True


def _dead(control_path: Path) -> int:
    """The inode of the path that a killed service left; 0 when one answers there, or the path is gone."""
    with _connection() as connection, contextlib.suppress(OSError):
        try:
            connection.connect(str(control_path))
        except ConnectionRefusedError:
            return control_path.stat().st_ino
    return 0


def _connection() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
