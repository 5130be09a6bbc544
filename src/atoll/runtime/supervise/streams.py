"""The streams of a process under conmon. Source: conmon's conn_sock.c.

conmon's socket keeps messages apart. What it sends begins with a byte that names the stream; what it gets is input.
An end of sending is the end of the input.
"""

import asyncio
import os
import socket
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
        if self._settled.is_set():
            connecting.close()
            return
        self._socket = connecting
        self._settled.set()

    async def read(self) -> tuple[Stream, bytes] | None:
        """What comes next, None at the end. Waits for the process when it is not there yet."""
        await self._settled.wait()
        while self._socket is not None:
            try:
                message = await asyncio.get_running_loop().sock_recv(self._socket, _MESSAGE_MAX_BYTES)
            except (ConnectionError, OSError):
                return None
            if not message:
                return None
            if len(message) > 1 and message[0] in _STREAMS:
                return _STREAMS[message[0]], message[1:]
        return None

    async def write(self, content: bytes) -> None:
        """Give input; nothing when the process has ended."""
        await self._settled.wait()
        for start in range(0, len(content), PART_MAX_BYTES):
            if self._socket is None:
                return
            try:
                part = content[start : start + PART_MAX_BYTES]
                await asyncio.get_running_loop().sock_sendall(self._socket, part)
            except (ConnectionError, OSError):
                return

    async def end_input(self) -> None:
        """Say that no more input will come; output goes on."""
        await self._settled.wait()
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                return

    def close(self) -> None:
        """Let go of the streams; the process goes on."""
        closing, self._socket = self._socket, None
        self._settled.set()
        if closing is not None:
            closing.close()
