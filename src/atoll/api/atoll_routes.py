"""atoll's own routes."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.body import decode_body
from atoll.api.http import Route, body_of, is_dry_run, reference_of, respond, respond_plan, runs_dry
from atoll.api.query import parse_flag
from atoll.api.rules import encode_rules
from atoll.api.sandboxes import encode_sandbox, parse_sandbox_create, parse_sandbox_filters
from atoll.api.slices import run_slices
from atoll.engine.outcome import Outcome
from atoll.errors import InUse, InvalidRequest
from atoll.model.sandbox import Sandbox
from atoll.model.world import World


class _Allow(msgspec.Struct, kw_only=True):
    target: str = msgspec.field(name="Target", default="")
    one_way: bool = msgspec.field(name="OneWay", default=False)


class AtollRoutes:
    """`/atoll/...`: what Docker has no word for. Shapes: docs/api.md."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._engine = backend.engine
        self._queue = backend.queue

    def routes(self) -> list[Route]:
        """Every route here."""
        return [
            ("GET", "/atoll/sandboxes", self.list),
            ("POST", "/atoll/sandboxes/create", self.create),
            ("GET", "/atoll/sandboxes/{reference:[^/]+}", self.inspect),
            ("DELETE", "/atoll/sandboxes/{reference:[^/]+}", self.remove),
            ("POST", "/atoll/networks/{reference:[^/]+}/allow", self.allow),
            ("POST", "/atoll/networks/{reference:[^/]+}/disallow", self.disallow),
            ("GET", "/atoll/rules", self.rules),
            ("GET", "/atoll/status", self.status),
            ("POST", "/atoll/purge", self.purge),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """All sandboxes that the filters let through, by name."""
        shown = parse_sandbox_filters(request.query.get("filters", ""))
        world = self._engine.world
        sandboxes = sorted(world.sandboxes.values(), key=lambda sandbox: sandbox.name)
        return respond([self._encode(world, sandbox) for sandbox in sandboxes if shown(world, sandbox)])

    async def inspect(self, request: web.Request) -> web.Response:
        """One sandbox."""
        world = self._engine.world
        return respond(self._encode(world, world.sandbox(reference_of(request))))

    @runs_dry
    async def create(self, request: web.Request) -> web.Response:
        """Make or attach a sandbox."""
        wanted = parse_sandbox_create(await body_of(request))
        dry_run = is_dry_run(request)
        outcome = await self._queue.run(self._engine.create_sandbox, wanted, dry_run=dry_run)
        if dry_run:
            return respond_plan(outcome)
        return respond({"Id": outcome.value.id, "Warnings": list(outcome.warnings)}, status=201)

    @runs_dry
    async def remove(self, request: web.Request) -> web.Response:
        """Remove a sandbox."""
        force, dry_run = parse_flag(request.query, "force"), is_dry_run(request)
        sandbox = self._engine.world.sandbox(reference_of(request))
        if sandbox.id in self._engine.world.containers:
            raise InUse(f"sandbox {sandbox.name} is a container's", hint=f"docker rm --force {sandbox.name}")
        outcome = await self._queue.run(
            self._engine.remove_sandbox, reference_of(request), force=force, dry_run=dry_run
        )
        return respond_plan(outcome) if dry_run else web.Response(status=204)

    @runs_dry
    async def allow(self, request: web.Request) -> web.Response:
        """Open two networks to each other."""
        return await self._open(request, self._engine.allow)

    @runs_dry
    async def disallow(self, request: web.Request) -> web.Response:
        """Close two networks to each other."""
        return await self._open(request, self._engine.disallow)

    async def rules(self, request: web.Request) -> web.Response:
        """What serves each network in the firewall."""
        counters = parse_flag(request.query, "counters")
        return respond(encode_rules(await self._queue.run(self._engine.rules, counters=counters)))

    async def status(self, request: web.Request) -> web.Response:
        """How the daemon is."""
        about = self._backend.about
        snapshot = dict(self._engine.degraded)  # the engine's thread goes on writing it
        degraded = [{"Subject": subject, "Reason": reason} for subject, reason in snapshot.items()]
        body = {
            "Version": about.version,
            "Pid": about.pid,
            "StateDir": about.state_directory,
            "RunDir": about.run_directory,
            "Ready": self._engine.ready,
            "Degraded": degraded,
        }
        return respond(body)

    @runs_dry
    async def purge(self, request: web.Request) -> web.Response:
        """Remove everything ever made, and end the daemon."""
        dry_run = is_dry_run(request)
        if dry_run:
            return respond_plan(await run_slices(self._queue, self._engine.purge, dry_run=True))
        try:
            containers, images = await self._backend.runtime.purge()
            outcome = await run_slices(self._queue, self._engine.purge)
        except BaseException:
            self._backend.runtime.reopen()
            raise
        self._backend.stop()
        networks, sandboxes = (sum(counts) for counts in zip(*outcome.value, strict=True))
        return respond({"Networks": networks, "Sandboxes": sandboxes, "Containers": containers, "Images": images})

    async def _open(self, request: web.Request, verb: Callable[..., Outcome[None]]) -> web.Response:
        body = decode_body(await body_of(request), _Allow)
        if not body.target:
            raise InvalidRequest("no Target network is named")
        dry_run = is_dry_run(request)
        outcome = await self._queue.run(verb, reference_of(request), body.target, one_way=body.one_way, dry_run=dry_run)
        return respond_plan(outcome) if dry_run else respond({})

    def _encode(self, world: World, sandbox: Sandbox) -> dict[str, Any]:
        return encode_sandbox(world, sandbox, netns_inode=self._backend.netns_inode, degraded=self._engine.degraded)
