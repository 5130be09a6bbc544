"""One client's connection: HTTP, and the raw streams that some requests turn it into.

What isn't HTTP is answered as every other error is.
"""

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import Any

from aiohttp import web

from atoll.api.http import respond

_log = logging.getLogger(__name__)

UNREAD_BYTES_MAX = 1 << 18
"""Of a raw stream: what a client may be ahead of who reads it."""
_SHOWN_MAX = 200


class RawStream:
    """What goes both ways on a connection once HTTP is over: the answer's head is the handler's to write.

    A client that only stops sending goes on reading. Bounded: a client whose bytes nobody reads is made to wait.
    """

    def __init__(self, connection: "Connection", transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._come = asyncio.Event()
        self._ended = False

    def feed(self, content: bytes) -> None:
        """Take what the client sent."""
        self._waiting.append(content)
        self._waiting_bytes += len(content)
        self._come.set()
        if self._waiting_bytes > UNREAD_BYTES_MAX:
            self._transport.pause_reading()

    def end(self) -> None:
        """The client sends no more."""
        self._ended = True
        self._come.set()

    async def read(self) -> bytes:
        """What comes next from the client, empty at the end."""
        while not self._waiting and not self._ended:
            self._come.clear()
            await self._come.wait()
        if not self._waiting:
            return b""
        content = self._waiting.popleft()
        before, self._waiting_bytes = self._waiting_bytes, self._waiting_bytes - len(content)
        if before > UNREAD_BYTES_MAX >= self._waiting_bytes and not self._transport.is_closing():
            self._transport.resume_reading()
        return content

    async def write(self, content: bytes) -> None:
        """Give the client bytes, as fast as it reads. Raises ConnectionResetError when it is gone."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(content)
        await self._connection.written()


class Connection(web.RequestHandler):
    """aiohttp's side of a connection; its own answers would be text, and a traceback in the log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._raw: RawStream | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def taken_over(self) -> bool:
        """Whether HTTP has ended on it."""
        return self._raw is not None

    def take_over(self) -> RawStream:
        """End HTTP on this connection, whose request has been read: from now on it carries bytes."""
        assert self.transport is not None and self._raw is None
        self._raw = RawStream(self, self.transport)
        return self._raw

    async def written(self) -> None:
        """Wait until the client has taken most of what was written."""
        await self._writable.wait()

    def data_received(self, data: bytes) -> None:
        """To whom the connection belongs."""
        if self._raw is not None:
            self._raw.feed(data)
        else:
            super().data_received(data)

    # aiohttp's own always closes, and says None.
    def eof_received(self) -> bool | None:  # type: ignore[override]
        """True keeps the other direction open: of a raw stream only one has ended."""
        if self._raw is None:
            super().eof_received()
            return None
        self._raw.end()
        return True

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        super().pause_writing()
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._writable.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone: nobody waits for it."""
        if self._raw is not None:
            self._raw.end()
        self._writable.set()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what the parser refused, or to a failure outside of all routes; then the connection ends.

        Raises ConnectionError when an answer has begun already, or can't be given.
        """
        if isinstance(exc, ConnectionError):
            # The client has gone, or a part of the answer is sent and the rest can't be.
            raise ConnectionError(str(exc)) from exc
        reason = _one_line(message or str(exc or ""))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("request failed: %s", reason, exc_info=exc)
            text = f"internal error: {reason}"
        else:
            _log.info("malformed request: %s", reason)
            text = f"malformed request: {reason}"
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        answer = respond({"message": text}, status=status)
        answer.force_close()
        return answer


def _one_line(text: str) -> str:
    """The parser shows the place of an error by a mark in a further line, which says nothing without the first."""
    shown = " ".join(line.strip() for line in text.splitlines() if line.strip(" ^"))
    return shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}..."
