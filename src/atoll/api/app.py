"""The application: every route, with and without a version before it."""

from collections.abc import Iterable

from aiohttp import web

from atoll.api.archive_routes import ArchiveRoutes
from atoll.api.atoll_routes import AtollRoutes
from atoll.api.backend import Backend
from atoll.api.body import BODY_BYTES_MAX
from atoll.api.container_routes import ContainerRoutes
from atoll.api.container_streams import ContainerStreamRoutes
from atoll.api.disk_routes import DiskRoutes
from atoll.api.doctor import DoctorRoutes
from atoll.api.exec_routes import ExecRoutes
from atoll.api.http import Route
from atoll.api.image_routes import ImageRoutes
from atoll.api.image_saving import ImageSavingRoutes
from atoll.api.lasting import Lasting
from atoll.api.middleware import answer_errors, name_engine
from atoll.api.network_routes import NetworkRoutes
from atoll.api.system_routes import SystemRoutes
from atoll.api.usage_routes import UsageRoutes
from atoll.api.volume_routes import VolumeRoutes
from atoll.errors import Unsupported

_VERSIONED = "/v{version:[0-9.]+}"

_UNSERVED = (
    "auth", "build", "commit", "configs", "containers", "distribution", "exec", "grpc", "images", "nodes", "plugins",
    "secrets", "services", "session", "swarm", "system", "tasks", "volumes",
)  # fmt: skip
"""First words of Docker's routes that this version doesn't have, or not all of."""


def make_app(backend: Backend) -> web.Application:
    """The whole API over one engine."""
    app = web.Application(middlewares=[answer_errors], client_max_size=BODY_BYTES_MAX)
    app.on_response_prepare.append(name_engine(backend.about.version))
    for routes in (
        SystemRoutes(backend),
        NetworkRoutes(backend),
        ContainerRoutes(backend),
        ArchiveRoutes(backend),
        ImageRoutes(backend),
        ImageSavingRoutes(backend),
        VolumeRoutes(backend),
        DiskRoutes(backend),
        AtollRoutes(backend),
        DoctorRoutes(backend),
    ):
        _add(app, routes.routes())
    lasting = Lasting()
    app.on_shutdown.append(lasting.end)
    for streams in (ContainerStreamRoutes(backend), ExecRoutes(backend), UsageRoutes(backend)):
        _add(app, lasting.routes(streams.routes()))
    _add(app, (("*", f"/{word}{{rest:(/.*)?}}", _unserved) for word in _UNSERVED))
    return app


def _add(app: web.Application, routes: Iterable[Route]) -> None:
    for method, path, handler in routes:
        for prefix in ("", _VERSIONED):
            app.router.add_route(method, prefix + path, handler)


async def _unserved(request: web.Request) -> web.StreamResponse:
    raise Unsupported(f"{request.method} {request.path}: not in this version", hint="docs/api.md says what is")
