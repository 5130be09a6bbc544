"""Docker's routes about the engine itself, and its stream of events."""

import asyncio
from dataclasses import dataclass

import msgspec
from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.docker_system import encode_info, encode_version
from atoll.api.events import encode_event, parse_event_filters
from atoll.api.http import Route, reference_of, respond, version_of
from atoll.api.query import parse_timestamp_ns
from atoll.engine.events import Event
from atoll.errors import InvalidRequest, NotFound

_NO_CACHE = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}
_SECOND_NS = 10**9


class SystemRoutes:
    """`/_ping`, `/version`, `/info`, `/events`. Source: Docker Engine API, tag System."""

    def __init__(self, backend: Backend) -> None:
        self._engine = backend.engine
        self._runtime = backend.runtime
        self._events = backend.events
        self._about = backend.about
        self._now_ns = backend.now_ns

    def routes(self) -> list[Route]:
        """Every route here."""
        return [
            ("GET", "/_ping", self.ping),
            ("HEAD", "/_ping", self.ping),
            ("GET", "/version", self.version),
            ("GET", "/info", self.info),
            ("GET", "/events", self.events),
            ("GET", "/plugins", self.plugins),
            ("GET", "/plugins/{reference:.+}/json", self.plugin),
        ]

    async def ping(self, request: web.Request) -> web.Response:
        """Says that the daemon answers; clients read the version from the headers."""
        return web.Response(text="OK" if request.method == "GET" else "", headers=_NO_CACHE)

    async def version(self, request: web.Request) -> web.Response:
        """Versions and machine."""
        return respond(encode_version(self._about))

    async def info(self, request: web.Request) -> web.Response:
        """What runs here."""
        body = encode_info(
            self._about,
            self._runtime.containers.all(),
            self._engine.facts,
            version_of(request),
            images=len(self._runtime.images.images()),
            now_ns=self._now_ns(),
            warnings=[f"WARNING: {reason}" for reason in dict(self._engine.degraded).values()],
        )
        return respond(body)

    async def plugins(self, request: web.Request) -> web.Response:
        """None."""
        return respond([])

    async def plugin(self, request: web.Request) -> web.Response:
        """`docker inspect` looks here last for what is nothing else."""
        raise NotFound(f'plugin "{reference_of(request)}" not found')

    async def events(self, request: web.Request) -> web.StreamResponse:
        """A line for every event, past ones first when `since` or `until` asks for them, until the client goes."""
        wanted = parse_event_filters(request.query.get("filters", ""))
        span = _parse_span(request)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        with self._events.watch() as watch:
            past = self._events.history() if span.asked else ()
            await response.prepare(request)
            for event in past:
                if wanted(event) and span.holds(event):
                    await _write(response, event)
            while (left_s := span.left_s(self._now_ns())) is None or left_s > 0:
                try:
                    fresh: Event | None = await asyncio.wait_for(watch.next(), left_s)
                except TimeoutError:
                    break
                if fresh is None:
                    break
                if wanted(fresh) and span.holds(fresh):
                    await _write(response, fresh)
        await response.write_eof()
        return response


@dataclass(frozen=True, slots=True)
class _Span:
    since_ns: int | None
    until_ns: int | None

    @property
    def asked(self) -> bool:
        return self.since_ns is not None or self.until_ns is not None

    def holds(self, event: Event) -> bool:
        after = self.since_ns is None or event.time_ns >= self.since_ns
        return after and (self.until_ns is None or event.time_ns <= self.until_ns)

    def left_s(self, now_ns: int) -> float | None:
        """Seconds until the end; None for no end."""
        return None if self.until_ns is None else (self.until_ns - now_ns) / _SECOND_NS


def _parse_span(request: web.Request) -> _Span:
    times = {name: request.query.get(name, "") for name in ("since", "until")}
    since, until = (parse_timestamp_ns(name, text) if text else None for name, text in times.items())
    if since is not None and until is not None and since > until:
        raise InvalidRequest(f"`since` time ({times['since']}) cannot be after `until` time ({times['until']})")
    return _Span(since, until)


async def _write(response: web.StreamResponse, event: Event) -> None:
    await response.write(msgspec.json.encode(encode_event(event)) + b"\n")
