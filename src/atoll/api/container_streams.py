"""Docker's routes on containers whose answers take as long as something lasts: attach, logs, wait."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.hijack import Taken, content_type, frame, hijack, parse_keys, pump
from atoll.api.http import Route, reference_of, version_of
from atoll.api.query import parse_flag, parse_number, parse_timestamp_ns
from atoll.errors import InvalidRequest
from atoll.model.container import Container
from atoll.runtime.supervise.logs import LogLine, LogQuery
from atoll.runtime.supervise.streams import Stream

_SECOND_NS = 10**9
_CONDITIONS = ("not-running", "next-exit", "removed")


class ContainerStreamRoutes:
    """`/containers/{id}/attach`, `logs` and `wait`. Source: Docker Engine API, tag Container."""

    def __init__(self, backend: Backend) -> None:
        self._runtime = backend.runtime
        self._containers = backend.runtime.containers

    def routes(self) -> list[Route]:
        """Every route here."""
        one = "/containers/{reference:[^/]+}"
        return [
            ("POST", f"{one}/attach", self.attach),
            ("GET", f"{one}/logs", self.logs),
            ("POST", f"{one}/wait", self.wait),
        ]

    async def attach(self, request: web.Request) -> web.StreamResponse:
        """The streams of a container; of one that doesn't run, of its next run."""
        query = request.query
        container = self._containers.find(reference_of(request))
        wanted = {stream for stream in Stream if parse_flag(query, stream.name.lower())}
        stdin = parse_flag(query, "stdin") and container.config.open_stdin
        keys = parse_keys(query.get("detachKeys", "")) if container.config.tty else b""
        tty, kind = container.config.tty, content_type(version_of(request), tty=container.config.tty)
        before = self._past(container, wanted) if parse_flag(query, "logs") else None
        # Before the head: who has read it may start the container.
        attachment = self._containers.attach(container.id) if parse_flag(query, "stream") else None
        stream = await hijack(request, kind)
        if attachment is None:
            async for content in before or _nothing():
                await stream.write(content)
            return Taken()
        await pump(stream, attachment, wants=wanted.__contains__, stdin=stdin, tty=tty, keys=keys, before=before)
        return Taken()

    async def _past(self, container: Container, wanted: set[Stream]) -> AsyncIterator[bytes]:
        query = LogQuery(stdout=Stream.STDOUT in wanted, stderr=Stream.STDERR in wanted)
        async for line in self._runtime.logs(container.id, query):
            yield line.content if container.config.tty else frame(line.stream, line.content)

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """What a container has written, and with `follow` what it will."""
        container = self._containers.find(reference_of(request))
        follow, timestamps = parse_flag(request.query, "follow"), parse_flag(request.query, "timestamps")
        lines = self._runtime.logs(container.id, _parse_query(request), follow=follow)
        tty = container.config.tty
        response = web.StreamResponse(headers={"Content-Type": content_type(version_of(request), tty=tty)})
        await response.prepare(request)
        begins = True
        async for line in lines:
            content = _stamp(line) + line.content if timestamps and begins else line.content
            begins = line.content.endswith(b"\n")
            await response.write(content if tty else frame(line.stream, content))
        await response.write_eof()
        return response

    async def wait(self, request: web.Request) -> web.StreamResponse:
        """How a container ends, once it has; the head of the answer comes at once."""
        condition = request.query.get("condition", "") or _CONDITIONS[0]
        if condition not in _CONDITIONS:
            raise InvalidRequest(f'invalid condition: "{condition[:80]}"', hint=f"one of {', '.join(_CONDITIONS)}")
        future = self._containers.wait(reference_of(request), condition)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        how = await future
        # What kept it from starting is told to who started it.
        body = {"Error": None, "StatusCode": how.code}
        await response.write(msgspec.json.encode(body) + b"\n")
        await response.write_eof()
        return response


def _parse_query(request: web.Request) -> LogQuery:
    query = request.query
    stdout, stderr = parse_flag(query, "stdout"), parse_flag(query, "stderr")
    if not stdout and not stderr:
        raise InvalidRequest("Bad parameters: you must choose at least one stream")
    times = {name: query.get(name, "") for name in ("since", "until")}
    since, until = (parse_timestamp_ns(name, text) if text else 0 for name, text in times.items())
    tail = query.get("tail", "all")
    # Docker takes what is no number for all.
    last = -1 if tail == "all" or not tail.removeprefix("-").isdecimal() else parse_number(query, "tail", default=-1)
    return LogQuery(stdout=stdout, stderr=stderr, since_ns=since, until_ns=until, tail=last)


def _stamp(line: LogLine) -> bytes:
    seconds, rest = divmod(line.time_ns, _SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z ".encode()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
