"""Docker's routes on containers that answer at once; those with streams are in `container_streams.py`."""

import platform
import secrets
from dataclasses import replace

from aiohttp import web

from atoll.api import container_body as bodies
from atoll.api.backend import Backend
from atoll.api.body import decode_body
from atoll.api.container_create import Known, parse_create, parse_limits, parse_restart
from atoll.api.container_filters import parse_container_filters, parse_prune_filters
from atoll.api.container_names import chosen_name
from atoll.api.container_plans import ContainerPlans
from atoll.api.container_seen import see, with_sizes
from atoll.api.container_views import encode_container, encode_summary
from atoll.api.http import Route, body_of, is_dry_run, reference_of, respond, runs_dry, version_of
from atoll.api.query import parse_flag, parse_number
from atoll.errors import NameTaken, NotFound
from atoll.model.container import Container, ContainerRequest, Limits, Status
from atoll.runtime.namespaces import namespaces_of

_ATTEMPTS_MAX = 5
_NO_CONTENT, _NOT_MODIFIED = 204, 304
_ENDED = (Status.CREATED, Status.EXITED, Status.DEAD)


class ContainerRoutes:
    """`/containers` and below. Source: Docker Engine API, tag Container."""

    def __init__(self, backend: Backend) -> None:
        self._engine = backend.engine
        self._runtime = backend.runtime
        self._containers = backend.runtime.containers
        self._now_ns = backend.now_ns
        self._plans = ContainerPlans(backend)

    def routes(self) -> list[Route]:
        """Every route here."""
        one = "/containers/{reference:[^/]+}"
        return [
            ("GET", "/containers/json", self.list),
            ("POST", "/containers/create", self.create),
            ("POST", "/containers/prune", self.prune),
            ("GET", f"{one}/json", self.inspect),
            ("DELETE", one, self.remove),
            ("POST", f"{one}/start", self.start),
            ("POST", f"{one}/stop", self.stop),
            ("POST", f"{one}/restart", self.restart),
            ("POST", f"{one}/kill", self.kill),
            ("POST", f"{one}/pause", self.pause),
            ("POST", f"{one}/unpause", self.unpause),
            ("POST", f"{one}/rename", self.rename),
            ("POST", f"{one}/update", self.update),
            ("POST", f"{one}/resize", self.resize),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """Containers that run, with `all` every one, that the filters let through, the newest first."""
        shown, also_ended = parse_container_filters(
            request.query.get("filters", ""),
            container=self._containers.find,
            image_id=lambda name: self._runtime.images.find(name).id,
        )
        limit = parse_number(request.query, "limit")
        every = parse_flag(request.query, "all") or also_ended or limit > 0
        world = self._engine.world
        records = [each for each in self._containers.all() if every or _is_up(each)]
        seen = [each for each in (see(self._runtime, record) for record in records) if shown(each, world)]
        seen = seen[:limit] if limit > 0 else seen
        if parse_flag(request.query, "size"):
            seen = [await with_sizes(self._runtime, each) for each in seen]
        now_ns, version = self._now_ns(), version_of(request)
        return respond([encode_summary(each, world, version, now_ns=now_ns) for each in seen])

    async def inspect(self, request: web.Request) -> web.Response:
        """One container in full."""
        container = self._containers.find(reference_of(request))
        seen = replace(see(self._runtime, container), namespaces=namespaces_of(container, self._containers.all()))
        if parse_flag(request.query, "size"):
            seen = await with_sizes(self._runtime, seen)
        return respond(encode_container(seen, self._engine.world, self._runtime.places, version_of(request)))

    @runs_dry
    async def create(self, request: web.Request) -> web.Response:
        """Make a container, not its processes."""
        wanted = parse_create(await body_of(request), self._known())
        if is_dry_run(request):
            name = request.query.get("name", "").removeprefix("/")
            return await self._plans.create(wanted, name, start=parse_flag(request.query, "start"))
        container = await self._create(wanted, request.query.get("name", "").removeprefix("/"))
        return respond({"Id": container.id, "Warnings": []}, status=201)

    async def _create(self, wanted: ContainerRequest, name: str) -> Container:
        if name:
            return await self._containers.create(wanted, name=name)
        for attempt in range(_ATTEMPTS_MAX):
            try:
                return await self._containers.create(wanted, name=chosen_name(secrets.token_hex(4), attempt))
            except NameTaken:
                continue
        return await self._containers.create(wanted, name=f"c{secrets.token_hex(6)}")

    def _known(self) -> Known:
        return Known(self._containers.find, self._runtime.images.find, self._namespace_of, platform.node())

    def _namespace_of(self, reference: str) -> str:
        try:
            return self._containers.find(reference).id
        except NotFound as error:
            try:
                return self._engine.world.sandbox(reference).id
            except NotFound:
                raise error from None

    @runs_dry
    async def remove(self, request: web.Request) -> web.Response:
        """Remove a container."""
        force, volumes = parse_flag(request.query, "force"), parse_flag(request.query, "v")
        if is_dry_run(request):
            return await self._plans.remove(reference_of(request), force=force, volumes=volumes)
        await self._containers.remove(reference_of(request), force=force, volumes=volumes)
        return web.Response(status=_NO_CONTENT)

    @runs_dry
    async def prune(self, request: web.Request) -> web.Response:
        """Remove every container that doesn't run and that the filters name."""
        wanted = parse_prune_filters(request.query.get("filters", ""), now_ns=self._now_ns())
        ended = [each for each in self._containers.all() if each.status in _ENDED and wanted(each)]
        if is_dry_run(request):
            return await self._plans.prune(ended)
        for container in ended:
            await self._containers.remove(container.id)
        removed = [container.id for container in ended]
        return respond({"ContainersDeleted": removed or None, "SpaceReclaimed": 0})

    @runs_dry
    async def start(self, request: web.Request) -> web.Response:
        """Start a container; 304 when it runs."""
        if is_dry_run(request):
            return await self._plans.start(reference_of(request))
        begun = await self._containers.start(reference_of(request))
        return web.Response(status=_NO_CONTENT if begun else _NOT_MODIFIED)

    @runs_dry
    async def stop(self, request: web.Request) -> web.Response:
        """Ask a container to end, and kill it after a while; 304 when it doesn't run."""
        if is_dry_run(request):
            return await self._plans.stop(
                reference_of(request), timeout_s=_timeout_s(request), signal=request.query.get("signal", "")
            )
        ended = await self._containers.stop(
            reference_of(request), timeout_s=_timeout_s(request), signal=request.query.get("signal", "")
        )
        return web.Response(status=_NO_CONTENT if ended else _NOT_MODIFIED)

    @runs_dry
    async def restart(self, request: web.Request) -> web.Response:
        """Stop and start."""
        if is_dry_run(request):
            return await self._plans.restart(reference_of(request), timeout_s=_timeout_s(request))
        await self._containers.restart(reference_of(request), timeout_s=_timeout_s(request))
        return web.Response(status=_NO_CONTENT)

    @runs_dry
    async def kill(self, request: web.Request) -> web.Response:
        """Send a signal."""
        if is_dry_run(request):
            return self._plans.kill(reference_of(request), request.query.get("signal", "") or "SIGKILL")
        await self._containers.kill(reference_of(request), request.query.get("signal", "") or "SIGKILL")
        return web.Response(status=_NO_CONTENT)

    @runs_dry
    async def pause(self, request: web.Request) -> web.Response:
        """Freeze."""
        if is_dry_run(request):
            return self._plans.freeze(reference_of(request), "pause")
        await self._containers.pause(reference_of(request))
        return web.Response(status=_NO_CONTENT)

    @runs_dry
    async def unpause(self, request: web.Request) -> web.Response:
        """Let go on."""
        if is_dry_run(request):
            return self._plans.freeze(reference_of(request), "resume")
        await self._containers.unpause(reference_of(request))
        return web.Response(status=_NO_CONTENT)

    @runs_dry
    async def rename(self, request: web.Request) -> web.Response:
        """Give another name."""
        if is_dry_run(request):
            return self._plans.rename(reference_of(request), request.query.get("name", ""))
        await self._containers.rename(reference_of(request), request.query.get("name", ""))
        return web.Response(status=_NO_CONTENT)

    @runs_dry
    async def update(self, request: web.Request) -> web.Response:
        """Change limits and the restart policy."""
        asked = decode_body(await body_of(request), bodies.Resources)
        before = self._containers.find(reference_of(request)).host
        limits = parse_limits(asked, before.limits)
        restart = parse_restart(asked.restart_policy, auto_remove=before.auto_remove)
        changed: Limits | None = limits if limits != before.limits else None
        if is_dry_run(request):
            policy = restart if asked.restart_policy.name else None
            return self._plans.update(reference_of(request), limits=changed, restart=policy)
        await self._containers.update(
            reference_of(request), limits=changed, restart=restart if asked.restart_policy.name else None
        )
        return respond({"Warnings": None})

    async def resize(self, request: web.Request) -> web.Response:
        """Tell the terminal its size."""
        height, width = parse_number(request.query, "h"), parse_number(request.query, "w")
        self._containers.resize(reference_of(request), height=height, width=width)
        return web.Response(status=200)


def _is_up(container: Container) -> bool:
    return container.status.has_process or container.status is Status.RESTARTING


def _timeout_s(request: web.Request) -> float | None:
    return float(parse_number(request.query, "t")) if request.query.get("t") else None
