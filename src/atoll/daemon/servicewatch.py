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


async def follow_service(control_path: Path, renew: Callable[[], None], queue: Queue) -> None:
    """Have `renew` called by the engine's thread whenever the service at this path has ended, for ever."""
    while True:
        if await _ended(control_path):
            _log.warning("the service at %s has ended, another is started", control_path)
            try:
                await queue.run(renew)
            except AtollError as error:
                _log.error("%s: %s %s", control_path.name, error.message, error.detail)
            except Exception:
                _log.exception("renewing %s failed", control_path.name)
        await asyncio.sleep(LOOK_INTERVAL_S)


async def _ended(control_path: Path) -> bool:
    """True once the service that answers there has ended; False at once when there is none, nor was one killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as connection:
        try:
            connection.connect(str(control_path))
        except ConnectionRefusedError:
            # It would have removed its path: it was killed.
            return True
        except OSError:
            return False
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_recv(connection, 1)
        return True
