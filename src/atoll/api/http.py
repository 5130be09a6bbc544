"""Requests and responses as the routes see them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from atoll.api.query import parse_flag
from atoll.api.rules import encode_plan
from atoll.api.versions import NEWEST, ApiVersion, parse_version
from atoll.engine.outcome import Outcome
from atoll.errors import InvalidRequest

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
H = TypeVar("H", bound=Callable[..., Awaitable[web.StreamResponse]])
Route = tuple[str, str, Handler]
"""Method, path without a version prefix, handler."""


def respond(body: Any, *, status: int = 200) -> web.Response:
    """A JSON answer, with a line's end as dockerd writes it."""
    return web.Response(body=msgspec.json.encode(body) + b"\n", status=status, content_type="application/json")


def respond_plan(outcome: Outcome[Any]) -> web.Response:
    """The answer to a dry run."""
    return respond(encode_plan(outcome))


def respond_lines(lines: Iterable[tuple[str, str]], warnings: Iterable[str] = ()) -> web.Response:
    """The answer to a dry run of what is no engine's: lines that a person would type, each with its reason."""
    steps = [{"Line": line, "Reason": reason} for line, reason in lines]
    return respond({"Steps": steps, "Warnings": list(warnings)})


def runs_dry(handler: H) -> H:
    """Mark a handler that does nothing in a dry run."""
    handler.runs_dry = True  # type: ignore[attr-defined]
    return handler


async def stream(request: web.Request, chunks: AsyncIterator[bytes], content_type: str) -> web.StreamResponse:
    """An answer in pieces. What fails before the first of them is an error as anywhere."""
    first = await anext(chunks, b"")
    response = web.StreamResponse(headers={"Content-Type": content_type})
    await response.prepare(request)
    await response.write(first)
    async for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


async def body_of(request: web.Request) -> bytes:
    """The whole body, "" for none. Raises InvalidRequest unless it is declared to be JSON; HTTP 413."""
    raw = await request.read()
    if raw and request.content_type != "application/json":
        raise InvalidRequest(f"Content-Type specified ({request.content_type}) must be 'application/json'")
    return raw


def version_of(request: web.Request) -> ApiVersion:
    """The version in the path; the newest without one. Raises InvalidRequest when it isn't served."""
    text = request.match_info.get("version")
    return NEWEST if text is None else parse_version(text)


def reference_of(request: web.Request) -> str:
    """The object that the path names: a name, an id, or the beginning of an id."""
    return request.match_info["reference"]


def is_dry_run(request: web.Request) -> bool:
    """Whether the caller only wants to know; `?dry-run` without a value means it too. Raises InvalidRequest."""
    return request.query.get("dry-run") == "" or parse_flag(request.query, "dry-run")
