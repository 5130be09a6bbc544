"""Docker's route on what takes room on the disk."""

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.container_seen import see, with_sizes
from atoll.api.container_views import encode_summary
from atoll.api.http import Route, respond, version_of
from atoll.api.image_views import encode_image_line
from atoll.api.versions import ApiVersion
from atoll.api.volume_routes import encode_volume
from atoll.runtime.usage import disk_bytes


class DiskRoutes:
    """`/system/df`. Source: Docker Engine API, tag System."""

    def __init__(self, backend: Backend) -> None:
        self._engine = backend.engine
        self._runtime = backend.runtime
        self._now_ns = backend.now_ns

    def routes(self) -> list[Route]:
        """Every route here."""
        return [("GET", "/system/df", self.usage)]

    async def usage(self, request: web.Request) -> web.Response:
        """What takes room on the disk."""
        version = version_of(request)
        layers = {layer for image in self._runtime.images.images() for layer in image.layers}
        body = {
            "LayersSize": sum(self._runtime.images.layers.size_bytes(layer) for layer in layers),
            "Images": self._images(version),
            "Containers": await self._containers(version),
            "Volumes": await self._volumes(),
            "BuildCache": [],
        }
        return respond(body)

    def _images(self, version: ApiVersion) -> list[dict[str, Any]]:
        images = self._runtime.images.images()
        users = Counter(container.image_id for container in self._runtime.containers.all())
        owners = Counter(layer for image in images for layer in set(image.layers))
        size_bytes = self._runtime.images.layers.size_bytes
        return [
            encode_image_line(
                image,
                version,
                containers=users[image.id],
                shared_bytes=sum(size_bytes(layer) for layer in image.layers if owners[layer] > 1),
            )
            for image in images
        ]

    async def _containers(self, version: ApiVersion) -> list[dict[str, Any]]:
        seen = [await with_sizes(self._runtime, see(self._runtime, each)) for each in self._runtime.containers.all()]
        return [encode_summary(each, self._engine.world, version, now_ns=self._now_ns()) for each in seen]

    async def _volumes(self) -> list[dict[str, Any]]:
        found = []
        for volume in self._runtime.volumes.list():
            usage = {
                "RefCount": len(self._runtime.users_of_volume(volume.name)),
                "Size": await asyncio.to_thread(disk_bytes, volume.path),
            }
            found.append(encode_volume(volume) | {"UsageData": usage})
        return found
