"""Docker's network routes."""

from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.container_connect import ContainerConnections
from atoll.api.docker_endpoints import parse_connect, parse_disconnect
from atoll.api.docker_networks import encode_network, members_of, parse_network_create
from atoll.api.http import Route, body_of, is_dry_run, reference_of, respond, respond_plan, runs_dry, version_of
from atoll.api.network_filters import parse_list_filters, parse_prune_filters
from atoll.api.query import parse_flag
from atoll.api.slices import run_slices


class NetworkRoutes:
    """`/networks` and below. Source: Docker Engine API, tag Network."""

    def __init__(self, backend: Backend) -> None:
        self._engine = backend.engine
        self._queue = backend.queue
        self._now_ns = backend.now_ns
        self._connections = ContainerConnections(backend)

    def routes(self) -> list[Route]:
        """Every route here."""
        return [
            ("GET", "/networks", self.list),
            ("GET", "/networks/", self.list),
            ("POST", "/networks/create", self.create),
            ("POST", "/networks/prune", self.prune),
            ("GET", "/networks/{reference:[^/]+}", self.inspect),
            ("DELETE", "/networks/{reference:[^/]+}", self.remove),
            ("POST", "/networks/{reference:[^/]+}/connect", self.connect),
            ("POST", "/networks/{reference:[^/]+}/disconnect", self.disconnect),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """All networks that the filters let through, oldest first, without their members."""
        shown = parse_list_filters(request.query.get("filters", ""))
        version = version_of(request)
        world = self._engine.world
        used = {endpoint.network_id for endpoint in world.endpoints.values()}
        networks = sorted(world.networks.values(), key=lambda network: (network.created_ns, network.name))
        return respond(
            [encode_network(network, (), version) for network in networks if shown(network, network.id in used)]
        )

    async def inspect(self, request: web.Request) -> web.Response:
        """One network with its members."""
        verbose = parse_flag(request.query, "verbose")
        world = self._engine.world
        network = world.network(reference_of(request))
        return respond(encode_network(network, members_of(world, network), version_of(request), verbose=verbose))

    @runs_dry
    async def create(self, request: web.Request) -> web.Response:
        """Make a network."""
        wanted = parse_network_create(await body_of(request))
        dry_run = is_dry_run(request)
        outcome = await self._queue.run(self._engine.create_network, wanted, dry_run=dry_run)
        if dry_run:
            return respond_plan(outcome)
        return respond({"Id": outcome.value.id, "Warning": "; ".join(outcome.warnings)}, status=201)

    @runs_dry
    async def remove(self, request: web.Request) -> web.Response:
        """Remove a network."""
        dry_run = is_dry_run(request)
        outcome = await self._queue.run(self._engine.remove_network, reference_of(request), dry_run=dry_run)
        return respond_plan(outcome) if dry_run else web.Response(status=204)

    @runs_dry
    async def prune(self, request: web.Request) -> web.Response:
        """Remove every unused network that the filters name."""
        kept = parse_prune_filters(request.query.get("filters", ""), now_ns=self._now_ns())
        dry_run = is_dry_run(request)
        outcome = await run_slices(self._queue, self._engine.prune_networks, kept, dry_run=dry_run)
        if dry_run:
            return respond_plan(outcome)
        # dockerd says null, not an empty list.
        return respond({"NetworksDeleted": [network.name for some in outcome.value for network in some] or None})

    @runs_dry
    async def connect(self, request: web.Request) -> web.Response:
        """Connect a container or a sandbox."""
        network = reference_of(request)
        sandbox, wanted = parse_connect(network, await body_of(request))
        dry_run = is_dry_run(request)
        container = self._connections.find(sandbox)
        if container is not None and not dry_run:
            await self._connections.connect(network, container, wanted)
            return web.Response(status=200)
        outcome = await self._queue.run(self._engine.connect, network, sandbox, wanted, dry_run=dry_run)
        return respond_plan(outcome) if dry_run else web.Response(status=200)

    @runs_dry
    async def disconnect(self, request: web.Request) -> web.Response:
        """Disconnect a container or a sandbox."""
        asked = parse_disconnect(await body_of(request))
        dry_run = is_dry_run(request)
        container = self._connections.find(asked.sandbox)
        if container is not None and not dry_run:
            await self._connections.disconnect(reference_of(request), container)
            return web.Response(status=200)
        outcome = await self._queue.run(
            self._engine.disconnect, reference_of(request), asked.sandbox, force=asked.force, dry_run=dry_run
        )
        return respond_plan(outcome) if dry_run else web.Response(status=200)
