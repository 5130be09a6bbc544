"""The streams of a process under conmon. Source: conmon's conn_sock.c.

conmon's socket keeps messages apart. What it sends begins with a byte that names the stream; what it gets is input.
An end of sending is the end of the input.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from enum import IntEnum
from pathlib import Path

PART_MAX_BYTES = 8192
"""Of one message to conmon; it would cut a longer one off."""
_MESSAGE_MAX_BYTES = 1 << 16


class Stream(IntEnum):
    """The number of Docker's frames: 1 output, 2 errors."""

    STDOUT = 1
    STDERR = 2


_STREAMS = {2: Stream.STDOUT, 3: Stream.STDERR}
"""By conmon's numbers: STDOUT_PIPE, STDERR_PIPE in utils.h."""


class Attachment:
    """A client's end of a process's streams; it may be made before the process is.

    A terminal's output is all STDOUT. A reader that is slow slows the process down.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._settled = asyncio.Event()
        self._users = 0
        self._closed = False

    def connect(self, directory: Path) -> None:
        """Connect to the process that works in `directory`. Raises OSError when it has ended."""
        # By descriptor: a socket's path has at most 107 bytes.
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            connecting.connect(f"/proc/self/fd/{descriptor}/attach")
        except BaseException:
            connecting.close()
            raise
        finally:
            os.close(descriptor)
        if self._closed:
            connecting.close()
            return
        self._socket = connecting
        self._settled.set()

    async def read(self) -> tuple[Stream, bytes] | None:
        """What comes next, None at the end. Waits for the process when it is not there yet."""
        async with self._used() as used:
            while used is not None:
                message = await asyncio.get_running_loop().sock_recv(used, _MESSAGE_MAX_BYTES)
                if not message:
                    return None
                if len(message) > 1 and message[0] in _STREAMS:
                    return _STREAMS[message[0]], message[1:]
        return None

    async def write(self, content: bytes) -> None:
        """Give input; nothing when the process has ended."""
        async with self._used() as used:
            for start in range(0, len(content) if used is not None else 0, PART_MAX_BYTES):
                assert used is not None
                await asyncio.get_running_loop().sock_sendall(used, content[start : start + PART_MAX_BYTES])

    async def end_input(self) -> None:
        """Say that no more input will come; output goes on."""
        async with self._used() as used:
            if used is not None:
                used.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Let go of the streams; the process goes on. Whoever reads gets the end."""
        self._closed = True
        self._settled.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._release()

    @contextlib.asynccontextmanager
    async def _used(self) -> AsyncIterator[socket.socket | None]:
        """The connection, None when there is none or no more; an error of it ends the block."""
        await self._settled.wait()
        self._users += 1
        try:
            with contextlib.suppress(OSError):
                yield None if self._closed else self._socket
        finally:
            self._users -= 1
            if self._closed:
                self._release()

    def _release(self) -> None:
        # The event loop would wait for ever for a socket that is closed while it is watched.
        if self._users == 0 and self._socket is not None:
            self._socket.close()
            self._socket = None
