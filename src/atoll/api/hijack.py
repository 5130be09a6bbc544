"""Docker's hijacked streams: a request whose connection becomes the standard streams of a process.

A terminal's bytes go as they are; otherwise each part of the output has a head of eight bytes, [1|2, 0, 0, 0, length].
Source: Docker Engine API, ContainerAttach.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from aiohttp import web

from atoll.api.connection import Connection, RawStream
from atoll.api.versions import ApiVersion
from atoll.runtime.supervise.streams import Attachment, Stream

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
MULTIPLEXED_SINCE = ApiVersion(1, 42)
"""Before, both were called raw."""
CTRL_P, CTRL_Q = 16, 17


class Taken(web.StreamResponse):
    """The answer of a handler that has written everything itself; the connection ends with it."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing: the head is written."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the body was."""


def content_type(version: ApiVersion, *, tty: bool) -> str:
    """What a stream is called."""
    return RAW if tty or version < MULTIPLEXED_SINCE else MULTIPLEXED


def frame(stream: Stream, content: bytes) -> bytes:
    """A part of output as it goes when there is no terminal."""
    return struct.pack(">BxxxI", stream, len(content)) + content


async def hijack(request: web.Request, kind: str) -> RawStream:
    """Turn the connection into a stream of `kind`; with an `Upgrade` header the answer is 101, else 200."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    stream = connection.take_over()
    if "Upgrade" in request.headers:
        head = f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {kind}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    else:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n"
    await stream.write(head.encode())
    return stream


async def pump(
    stream: RawStream,
    attachment: Attachment,
    *,
    wants: Callable[[Stream], bool],
    stdin: bool,
    tty: bool,
    keys: bytes = b"",
    before: AsyncIterator[bytes] | None = None,
) -> None:
    """Carry a process's streams until its output ends, or the client leaves by typing `keys`.

    `before` comes before the output. The end of the client's input is the end of the process's.
    """
    giving = asyncio.create_task(_give_input(stream, attachment, keys=keys)) if stdin else None
    taking = asyncio.create_task(_take_output(stream, attachment, wants=wants, tty=tty, before=before))
    tasks = [taking] if giving is None else [taking, giving]
    try:
        while not taking.done():
            await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)
            if giving is not None and giving.done() and giving.exception() is None and giving.result():
                return
        with suppress(ConnectionResetError):
            taking.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        attachment.close()


async def _take_output(
    stream: RawStream,
    attachment: Attachment,
    *,
    wants: Callable[[Stream], bool],
    tty: bool,
    before: AsyncIterator[bytes] | None,
) -> None:
    if before is not None:
        async for content in before:
            await stream.write(content)
    while (part := await attachment.read()) is not None:
        source, content = part
        if wants(source):
            await stream.write(content if tty else frame(source, content))


async def _give_input(stream: RawStream, attachment: Attachment, *, keys: bytes) -> bool:
    """Whether the client left by its keys."""
    leaving = Leaving(keys)
    while content := await stream.read():
        content, left = leaving.take(content)
        if content:
            await attachment.write(content)
        if left:
            return True
    await attachment.end_input()
    return False


class Leaving:
    """Looks for the keys by which a client leaves a terminal, over several reads; `keys` "" is none."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._typed = 0

    def take(self, content: bytes) -> tuple[bytes, bool]:
        """What is to be passed on of what was typed, and whether the client leaves."""
        if not self._keys:
            return content, False
        passed = bytearray()
        for byte in content:
            if byte == self._keys[self._typed]:
                self._typed += 1
                if self._typed == len(self._keys):
                    return bytes(passed), True
                continue
            # What only looked like the beginning was meant for the process.
            passed += self._keys[: self._typed]
            self._typed = 1 if byte == self._keys[0] else 0
            if not self._typed:
                passed.append(byte)
        return bytes(passed), False


def parse_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` as bytes, which "" stands for. What is no such list is none: Docker's clients check it."""
    if not text:
        return bytes((CTRL_P, CTRL_Q))
    found = bytearray()
    for word in text.split(","):
        key = word.removeprefix("ctrl-") if word.startswith("ctrl-") else ""
        if len(key) == 1 and "@" <= key.upper() <= "_":
            found.append(ord(key.upper()) - ord("@"))
        elif len(word) == 1 and word.isascii():
            found.append(ord(word))
        else:
            return b""
    return bytes(found)
