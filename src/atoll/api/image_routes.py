"""Docker's routes on images, and ours that makes one where there is no registry."""

import base64
import binascii
from typing import Any

import msgspec
from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.filters import parse_filters
from atoll.api.http import Route, reference_of, respond, version_of
from atoll.api.image_views import encode_image, encode_image_line, parse_image_filters
from atoll.api.progress import Report, report_progress
from atoll.api.query import parse_flag
from atoll.api.spool import spooled
from atoll.errors import InvalidRequest, Unsupported
from atoll.model.image import Image
from atoll.model.reference import parse_reference, parse_tagged
from atoll.runtime.images.bootstrap import bootstrap
from atoll.runtime.images.load import import_root, load
from atoll.runtime.images.pull import Credentials, pull

_PRUNE_KEYS = frozenset({"dangling", "label"})


class _Auth(msgspec.Struct, kw_only=True):
    username: str = ""
    password: str = ""


class ImageRoutes:
    """`/images` and below. Source: Docker Engine API, tag Image."""

    def __init__(self, backend: Backend) -> None:
        self._runtime = backend.runtime
        self._images = backend.runtime.images
        self._now_ns = backend.now_ns

    def routes(self) -> list[Route]:
        """Every route here. An image's name may have slashes."""
        one = "/images/{reference:.+}"
        return [
            ("GET", "/images/json", self.list),
            ("POST", "/images/create", self.create),
            ("POST", "/images/load", self.load),
            ("POST", "/images/prune", self.prune),
            ("GET", f"{one}/json", self.inspect),
            ("POST", f"{one}/tag", self.tag),
            ("DELETE", one, self.remove),
            ("POST", "/atoll/images/bootstrap", self.bootstrap),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """All images that the filters let through, the newest first."""
        shown = parse_image_filters(request.query.get("filters", ""), self._images.find)
        version = version_of(request)
        found = (shown(image) for image in self._images.images())
        return respond([encode_image_line(image, version) for image in found if image is not None])

    async def inspect(self, request: web.Request) -> web.Response:
        """One image."""
        return respond(encode_image(self._images.find(reference_of(request)), version_of(request)))

    async def tag(self, request: web.Request) -> web.Response:
        """Give an image one more name."""
        image = self._images.find(reference_of(request))
        query = request.query
        self._images.name(image.id, parse_tagged(_reference_text(query.get("repo", ""), query.get("tag", ""))))
        return web.Response(status=201)

    async def remove(self, request: web.Request) -> web.Response:
        """Take a name away, and the image with the last one."""
        untagged, deleted = await self._images.remove(
            reference_of(request), users=self._runtime.users_of_image(), force=parse_flag(request.query, "force")
        )
        lines: list[dict[str, str]] = [{"Untagged": name} for name in untagged]
        return respond(lines + [{"Deleted": f"sha256:{image_id}"} for image_id in deleted])

    async def prune(self, request: web.Request) -> web.Response:
        """Remove images without a name, with the filter `dangling=false` all that no container is of."""
        filters = parse_filters(request.query.get("filters", ""), known=_PRUNE_KEYS)
        named_too = filters.flag("dangling") is False
        used = self._runtime.users_of_image()
        lines: list[dict[str, str]] = []
        reclaimed_bytes = 0
        for image in self._images.images():
            wanted = filters.labelled("label", image.config.labels) and (named_too or not image.tags)
            if wanted and image.id not in used:
                untagged, deleted = await self._images.remove(f"sha256:{image.id}", users={}, force=True)
                lines += [{"Untagged": name} for name in untagged]
                lines += [{"Deleted": f"sha256:{image_id}"} for image_id in deleted]
                reclaimed_bytes += image.size_bytes
        return respond({"ImagesDeleted": lines or None, "SpaceReclaimed": reclaimed_bytes})

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Pull an image from a registry, or make one out of a tar of a root (`fromSrc=-`)."""
        query = request.query
        if query.get("fromSrc"):
            return await self._import(request)
        reference = parse_reference(_reference_text(query.get("fromImage", ""), query.get("tag", "")))
        credentials = _credentials(request.headers.get("X-Registry-Auth", ""))

        async def work(report: Report) -> None:
            def tell(digest: str, status: str) -> None:
                report({"status": status, **({"id": digest} if digest else {})})

            known = {image.id for image in self._images.images()}
            image, digest = await pull(
                self._images, reference, tell=tell, credentials=credentials, platform=query.get("platform", "")
            )
            done = "Image is up to date for" if image.id in known else "Downloaded newer image for"
            report({"status": f"Digest: {digest}"})
            report({"status": f"Status: {done} {reference.familiar}"})

        return await report_progress(request, work)

    async def _import(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if query["fromSrc"] != "-":
            raise Unsupported("cannot fetch what is to be imported", hint="give the archive on standard input")
        name = parse_tagged(_reference_text(query["repo"], query.get("tag", ""))) if query.get("repo") else None
        async with spooled(request, self._runtime.places.images) as path:
            image = await import_root(
                self._images, path, name=name, now_ns=self._now_ns(), message=query.get("message", "")
            )
        return respond({"status": f"sha256:{image.id}"})

    async def load(self, request: web.Request) -> web.StreamResponse:
        """Every image of an archive."""
        async with spooled(request, self._runtime.places.images) as path:

            async def work(report: Report) -> None:
                for image in await load(self._images, path, tell=lambda digest, status: None):
                    report({"stream": f"{_loaded(image)}\n"})

            return await report_progress(request, work)

    async def bootstrap(self, request: web.Request) -> web.Response:
        """Make busybox:latest out of this host's busybox."""
        image = await bootstrap(self._images)
        return respond({"Id": f"sha256:{image.id}", "RepoTags": [*image.tags]})


def _loaded(image: Image) -> str:
    return f"Loaded image: {image.tags[0]}" if image.tags else f"Loaded image ID: sha256:{image.id}"


def _reference_text(repository: str, tag: str) -> str:
    """A name that is in two parts in the query; the tag may be a digest. Raises InvalidRequest when there is none."""
    if not repository:
        raise InvalidRequest("no image is named")
    separator = "@" if tag.startswith("sha256:") else ":"
    return f"{repository}{separator}{tag}" if tag else repository


def _credentials(header: str) -> Credentials | None:
    """Source: Docker Engine API, Authentication: JSON in base64 for URLs."""
    if not header:
        return None
    try:
        raw: Any = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
        auth = msgspec.json.decode(raw or b"{}", type=_Auth)
    except (binascii.Error, ValueError):
        raise InvalidRequest("the header X-Registry-Auth does not decode") from None
    return Credentials(auth.username, auth.password) if auth.username else None
