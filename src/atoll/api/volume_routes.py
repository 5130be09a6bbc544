"""Docker's routes on volumes."""

import secrets
from typing import Any

import msgspec
from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.body import decode_body
from atoll.api.clock import rfc3339
from atoll.api.filters import parse_filters
from atoll.api.http import Route, body_of, is_dry_run, reference_of, respond, respond_lines, runs_dry, version_of
from atoll.api.query import parse_flag
from atoll.api.versions import ApiVersion
from atoll.errors import NotFound
from atoll.runtime.describe import volume_lines
from atoll.runtime.volumes import DRIVER, Volume

_KEYS = frozenset({"dangling", "driver", "label", "name"})
_NAMED_STAY_FROM = ApiVersion(1, 42)
"""Until then a prune took volumes with names, too."""
_PRUNE_KEYS = frozenset({"all", "label", "label!"})


class _VolumeCreate(msgspec.Struct, kw_only=True, rename="pascal"):
    name: str = ""
    driver: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class VolumeRoutes:
    """`/volumes` and below. Source: Docker Engine API, tag Volume."""

    def __init__(self, backend: Backend) -> None:
        self._runtime = backend.runtime
        self._volumes = backend.runtime.volumes

    def routes(self) -> list[Route]:
        """Every route here."""
        return [
            ("GET", "/volumes", self.list),
            ("POST", "/volumes/create", self.create),
            ("POST", "/volumes/prune", self.prune),
            ("GET", "/volumes/{reference:[^/]+}", self.inspect),
            ("DELETE", "/volumes/{reference:[^/]+}", self.remove),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """All volumes that the filters let through, by name."""
        filters = parse_filters(request.query.get("filters", ""), known=_KEYS)
        named, dangling = filters.pattern("name"), filters.flag("dangling")
        shown = [
            volume
            for volume in self._volumes.list()
            if named(volume.name)
            and filters.exact("driver", DRIVER)
            and filters.labelled("label", volume.labels)
            and (dangling is None or dangling is not bool(self._runtime.users_of_volume(volume.name)))
        ]
        return respond({"Volumes": [encode_volume(volume) for volume in shown], "Warnings": None})

    @runs_dry
    async def create(self, request: web.Request) -> web.Response:
        """The volume of this name, made when it is not there."""
        asked = decode_body(await body_of(request) or b"{}", _VolumeCreate)
        name = asked.name or secrets.token_hex(32)
        if is_dry_run(request):
            return respond_lines(
                [] if self._volumes.has(name) else volume_lines("mkdir -p", self._runtime.places, name)
            )
        volume = self._volumes.create(name, driver=asked.driver, labels=asked.labels, anonymous=not asked.name)
        return respond(encode_volume(volume), status=201)

    async def inspect(self, request: web.Request) -> web.Response:
        """One volume."""
        return respond(encode_volume(self._volumes.find(reference_of(request))))

    @runs_dry
    async def remove(self, request: web.Request) -> web.Response:
        """Remove a volume that nobody mounts; with `force` one that isn't there is no error."""
        name = reference_of(request)
        dry_run = is_dry_run(request)
        try:
            if not dry_run:
                await self._volumes.remove(name, users=self._runtime.users_of_volume(name))
            elif self._volumes.find(name):
                return respond_lines(volume_lines("rm -r", self._runtime.places, name))
        except NotFound:
            if not parse_flag(request.query, "force"):
                raise
        return respond_lines(()) if dry_run else web.Response(status=204)

    @runs_dry
    async def prune(self, request: web.Request) -> web.Response:
        """Remove volumes that nobody mounts: those without a name of a person's, with the filter `all` every one."""
        filters = parse_filters(request.query.get("filters", ""), known=_PRUNE_KEYS)
        every = version_of(request) < _NAMED_STAY_FROM or filters.flag("all")
        removed = [
            volume.name
            for volume in self._volumes.list()
            if (volume.anonymous or every)
            and filters.labelled("label", volume.labels)
            and not filters.any_label("label!", volume.labels)
            and not self._runtime.users_of_volume(volume.name)
        ]
        if is_dry_run(request):
            return respond_lines(volume_lines("rm -r", self._runtime.places, *removed))
        for name in removed:
            await self._volumes.remove(name, users=())
        return respond({"VolumesDeleted": removed or None, "SpaceReclaimed": 0})


def encode_volume(volume: Volume) -> dict[str, Any]:
    """A volume in Docker's form."""
    return {
        "CreatedAt": rfc3339(volume.created_ns // 10**9 * 10**9),
        "Driver": DRIVER,
        "Labels": dict(volume.labels) or None,
        "Mountpoint": str(volume.path),
        "Name": volume.name,
        "Options": None,
        "Scope": "local",
    }
