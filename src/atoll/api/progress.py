"""Answers that tell how far something is: JSON objects, one a line. Source: jsonmessage in moby."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from atoll.errors import AtollError

Report = Callable[[Mapping[str, Any]], None]


async def report_progress(request: web.Request, work: Callable[[Report], Awaitable[None]]) -> web.StreamResponse:
    """Do the work and write what it reports.

    What fails before the first line is an error as anywhere; what fails later is the last line. Raises AtollError.
    """
    lines: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
    task = asyncio.ensure_future(work(lines.put_nowait))
    task.add_done_callback(lambda _: lines.put_nowait(None))
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    try:
        while (line := await lines.get()) is not None:
            if not response.prepared:
                await response.prepare(request)
            await _write(response, line)
        try:
            task.result()
        except AtollError as error:
            if not response.prepared:
                raise
            await _write(response, {"errorDetail": {"message": error.message}, "error": error.message})
    finally:
        task.cancel()
    if not response.prepared:
        await response.prepare(request)
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, line: Mapping[str, Any]) -> None:
    await response.write(msgspec.json.encode(line) + b"\r\n")
