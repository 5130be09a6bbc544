"""Docker's routes on files of containers: as archives, and which of them differ from the image's."""

import base64
import stat
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from atoll.api.backend import Backend
from atoll.api.http import Route, reference_of, respond, stream
from atoll.api.spool import spooled
from atoll.errors import InvalidRequest
from atoll.runtime.archives import PathStatus

_TAR = "application/x-tar"
_OCTETS = "application/octet-stream"
_STATUS_HEADER = "X-Docker-Container-Path-Stat"
_KINDS = (
    (stat.S_ISDIR, 1 << 31),
    (stat.S_ISLNK, 1 << 27),
    (stat.S_ISBLK, 1 << 26),
    (stat.S_ISCHR, 1 << 26 | 1 << 21),
    (stat.S_ISFIFO, 1 << 25),
    (stat.S_ISSOCK, 1 << 24),
)
_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))
"""Go's bits of a file's mode, io/fs.FileMode."""


class ArchiveRoutes:
    """`/containers/{id}/archive`, `export` and `changes`. Source: Docker Engine API, tag Container."""

    def __init__(self, backend: Backend) -> None:
        self._runtime = backend.runtime
        self._archives = backend.runtime.archives

    def routes(self) -> list[Route]:
        """Every route here."""
        one = "/containers/{reference:[^/]+}"
        path = f"{one}/archive"
        return [
            ("HEAD", path, self.status),
            ("GET", path, self.read),
            ("PUT", path, self.write),
            ("GET", f"{one}/export", self.export),
            ("GET", f"{one}/changes", self.changes),
        ]

    async def status(self, request: web.Request) -> web.Response:
        """What there is at a path, in a header."""
        found = await self._archives.status(reference_of(request), _path(request))
        return web.Response(headers={_STATUS_HEADER: _encode(found)})

    async def read(self, request: web.Request) -> web.StreamResponse:
        """The archive of a path."""
        reference, path = reference_of(request), _path(request)
        found = await self._archives.status(reference, path)
        response = web.StreamResponse(headers={_STATUS_HEADER: _encode(found), "Content-Type": _TAR})
        await response.prepare(request)
        async for chunk in self._archives.read(reference, path):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def export(self, request: web.Request) -> web.StreamResponse:
        """The archive of all files, without volumes and what else is mounted."""
        return await stream(request, self._archives.export(reference_of(request)), _OCTETS)

    async def changes(self, request: web.Request) -> web.Response:
        """What differs from the image; null for nothing."""
        found = await self._archives.changes(reference_of(request))
        return respond([{"Path": change.path, "Kind": int(change.kind)} for change in found] or None)

    async def write(self, request: web.Request) -> web.Response:
        """Unpack an archive in a directory."""
        path = _path(request)
        await self._archives.status(reference_of(request), path)
        async with spooled(request, self._runtime.places.containers) as body:
            with body.open("rb") as archive:
                await self._archives.write(reference_of(request), path, archive)
        return web.Response(status=200)


def _path(request: web.Request) -> str:
    path = request.query.get("path", "")
    if not path:
        raise InvalidRequest('missing parameter "path"', hint="?path=/etc/hosts")
    return path


def _encode(status: PathStatus) -> str:
    body = {
        "name": _text(status.name),
        "size": status.size_bytes,
        "mode": _go_mode(status.mode),
        "mtime": _time(status.mtime_ns),
        "linkTarget": _text(status.link_target),
    }
    return base64.b64encode(msgspec.json.encode(body)).decode()


def _time(time_ns: int) -> str:
    """RFC 3339; a file's may be one that no calendar of Python's has, and is then told as the last that does."""
    try:
        moment = datetime.fromtimestamp(time_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        moment = datetime.max
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(name: str) -> str:
    """A file's name as JSON can say it: names are bytes."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _go_mode(mode: int) -> int:
    found = stat.S_IMODE(mode) & 0o777
    found |= next((bits for is_kind, bits in _KINDS if is_kind(mode)), 0)
    return found | sum(bit for flag, bit in _BITS if mode & flag)
