"""Docker's routes on further processes in containers."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from atoll.api import container_body as bodies
from atoll.api.backend import Backend
from atoll.api.body import decode_body
from atoll.api.container_body import words
from atoll.api.hijack import Taken, content_type, frame, hijack, pump
from atoll.api.http import Route, body_of, reference_of, respond, version_of
from atoll.api.query import parse_number
from atoll.errors import AtollError, InvalidRequest, WrongState
from atoll.runtime.execs import Exec, ExecRequest
from atoll.runtime.supervise.streams import Stream

END_TOLD_S = 10.0
"""How long a stream that has ended is kept open for the exit code to be known."""


class ExecRoutes:
    """`/containers/{id}/exec` and `/exec`. Source: Docker Engine API, tag Exec."""

    def __init__(self, backend: Backend) -> None:
        self._execs = backend.runtime.execs
        self._containers = backend.runtime.containers

    def routes(self) -> list[Route]:
        """Every route here."""
        return [
            ("POST", "/containers/{reference:[^/]+}/exec", self.create),
            ("POST", "/exec/{reference:[^/]+}/start", self.start),
            ("POST", "/exec/{reference:[^/]+}/resize", self.resize),
            ("GET", "/exec/{reference:[^/]+}/json", self.inspect),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Remember a process to be run."""
        asked = decode_body(await body_of(request), bodies.ExecCreate)
        argv = words(asked.cmd)
        if not argv:
            raise InvalidRequest("No exec command specified")
        wanted = ExecRequest(
            argv,
            env=tuple(asked.env),
            user=asked.user or self._containers.find(reference_of(request)).config.user,
            workdir=asked.working_dir,
            tty=asked.tty,
            attach_stdin=asked.attach_stdin,
            attach_stdout=asked.attach_stdout,
            attach_stderr=asked.attach_stderr,
            privileged=asked.privileged,
            console_size=_size(asked.console_size),
        )
        return respond({"Id": self._execs.create(reference_of(request), wanted).id}, status=201)

    async def start(self, request: web.Request) -> web.StreamResponse:
        """Run it, and carry its streams unless it is to be detached."""
        raw = await body_of(request)
        asked = decode_body(raw, bodies.ExecStart) if raw else bodies.ExecStart()
        state = self._execs.find(reference_of(request))
        if state.running or state.exit_code is not None:
            raise WrongState(f"exec {state.id[:12]} has been started already")
        if asked.detach:
            await self._execs.start(state.id, attach=False)
            return web.Response(status=200)
        wanted = state.request
        stream = await hijack(request, content_type(version_of(request), tty=wanted.tty))
        try:
            attachment = await self._execs.start(state.id, attach=True)
        except AtollError as error:
            # The answer has begun: Docker, too, tells it in the stream, and by the exit code.
            said = f"OCI runtime exec failed: {error.message}\r\n".encode()
            await stream.write(said if wanted.tty else frame(Stream.STDOUT, said))
            return Taken()
        assert attachment is not None
        streams = {Stream.STDOUT} if wanted.attach_stdout else set()
        streams |= {Stream.STDERR} if wanted.attach_stderr else set()
        await pump(stream, attachment, wants=streams.__contains__, stdin=wanted.attach_stdin, tty=wanted.tty)
        try:
            await asyncio.wait_for(self._execs.wait(state.id), END_TOLD_S)
        except TimeoutError:
            return Taken()
        return Taken()

    async def resize(self, request: web.Request) -> web.Response:
        """Tell its terminal its size."""
        height, width = parse_number(request.query, "h"), parse_number(request.query, "w")
        self._execs.resize(reference_of(request), height=height, width=width)
        return web.Response(status=200)

    async def inspect(self, request: web.Request) -> web.Response:
        """One process."""
        return respond(_encode(self._execs.find(reference_of(request))))


def _size(asked: Sequence[int]) -> tuple[int, int] | None:
    return (asked[0], asked[1]) if len(asked) == 2 else None


def _encode(state: Exec) -> dict[str, Any]:
    wanted = state.request
    return {
        "ID": state.id,
        "Running": state.running,
        "ExitCode": state.exit_code,
        "ProcessConfig": {
            "tty": wanted.tty,
            "entrypoint": wanted.argv[0],
            "arguments": list(wanted.argv[1:]),
            "privileged": wanted.privileged,
            **({"user": wanted.user} if wanted.user else {}),
        },
        "OpenStdin": wanted.attach_stdin,
        "OpenStderr": wanted.attach_stderr,
        "OpenStdout": wanted.attach_stdout,
        "CanRemove": False,
        "ContainerID": state.container_id,
        "DetachKeys": "",
        "Pid": state.pid,
    }
