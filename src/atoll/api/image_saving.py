"""Docker's routes that give images away, and tell how they were made."""

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.http import Route, reference_of, respond, stream
from atoll.model.image import Image
from atoll.runtime.images.save import choose, save
from atoll.runtime.images.store import parse_time_ns

_TAR = "application/x-tar"
_SECOND_NS = 10**9


class ImageSavingRoutes:
    """`/images/get`, `/images/{name}/get` and `history`. Source: Docker Engine API, tag Image."""

    def __init__(self, backend: Backend) -> None:
        self._images = backend.runtime.images

    def routes(self) -> list[Route]:
        """Every route here. An image's name may have slashes."""
        one = "/images/{reference:.+}"
        return [
            ("GET", "/images/get", self.save_several),
            ("GET", f"{one}/get", self.save),
            ("GET", f"{one}/history", self.history),
        ]

    async def save(self, request: web.Request) -> web.StreamResponse:
        """The archive of one image."""
        return await stream(request, save(self._images, [choose(self._images, reference_of(request))]), _TAR)

    async def save_several(self, request: web.Request) -> web.StreamResponse:
        """The archive of all images that are named."""
        wanted = [choose(self._images, name) for name in request.query.getall("names", [])]
        return await stream(request, save(self._images, wanted), _TAR)

    async def history(self, request: web.Request) -> web.Response:
        """The steps in which an image was made, the last one first."""
        return respond(encode_history(self._images.find(reference_of(request)), self._images.layers.size_bytes))


def encode_history(image: Image, size_bytes: Callable[[str], int]) -> list[dict[str, Any]]:
    """What GET /images/{name}/history answers. `size_bytes` tells a layer's size by its diff id."""
    steps = json.loads(image.raw).get("history") or []
    layers = iter(image.layers)
    found: list[dict[str, Any]] = []
    for step in steps:
        layer = None if step.get("empty_layer") else next(layers, None)
        found.append(
            {
                "Id": "<missing>",
                "Created": parse_time_ns(str(step.get("created") or "")) // _SECOND_NS,
                "CreatedBy": str(step.get("created_by") or ""),
                "Tags": None,
                "Size": 0 if layer is None else size_bytes(layer),
                "Comment": str(step.get("comment") or ""),
            }
        )
    if found:
        found[-1] |= {"Id": f"sha256:{image.id}", "Tags": list(image.tags) or None}
    return found[::-1]
