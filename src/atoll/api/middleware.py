"""What is the same for every route: headers, versions, errors as JSON."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType

from aiohttp import web

from atoll.api.body import BODY_BYTES_MAX
from atoll.api.connection import Connection
from atoll.api.errors import atoll_error, docker_error, status_of
from atoll.api.http import Handler, is_dry_run, respond, version_of
from atoll.api.versions import NEWEST
from atoll.errors import AtollError, Unsupported

_log = logging.getLogger(__name__)

OWN_TYPE = "application/vnd.atoll+json"
"""In `Accept` it asks for hint and detail in errors of Docker's routes too, whose other clients expect no more than a
message."""

_CHANGE_NOTHING = ("GET", "HEAD")

_LEVELS: Mapping[HTTPStatus, int] = MappingProxyType(
    {
        HTTPStatus.INTERNAL_SERVER_ERROR: logging.ERROR,
        HTTPStatus.INSUFFICIENT_STORAGE: logging.ERROR,
        # Nothing is broken: too much was asked for, or too early.
        HTTPStatus.SERVICE_UNAVAILABLE: logging.INFO,
    }
)
"""How refusals are logged; others are the caller's business alone."""


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse versions that aren't served, and turn whatever goes wrong into JSON; a broken promise is logged.

    A body that is said to be too large isn't waited for.
    """
    try:
        if (request.content_length or 0) > BODY_BYTES_MAX and not _takes_files(request):
            return _too_large()
        version_of(request)
        _check_dry(request)
        return await handler(request)
    except AtollError as error:
        if _has_begun(request):
            _log.info("%s %s broke off: %s", request.method, request.path, error.message)
            raise ConnectionResetError(error.message) from error
        return _answer(request, error)
    except web.HTTPRequestEntityTooLarge:
        return _too_large()
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        # dockerd says so to a wrong method too.
        return respond({"message": "page not found"}, status=HTTPStatus.NOT_FOUND)
    except web.HTTPException as error:
        return respond({"message": error.reason}, status=error.status)
    except ConnectionResetError:
        raise
    except Exception as error:
        _log.exception("%s %s failed", request.method, request.path)
        if _has_begun(request):
            raise ConnectionResetError(str(error)) from error
        message = f"internal error: {type(error).__name__}: {error}"
        return respond({"message": message}, status=HTTPStatus.INTERNAL_SERVER_ERROR)


def name_engine(version: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """The signal that puts Docker's headers on every response; `version` is atoll's own."""

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Api-Version"] = str(NEWEST)
        response.headers["Docker-Experimental"] = "false"
        response.headers["Ostype"] = "linux"
        response.headers["Server"] = f"atoll/{version} (linux)"

    return add_headers


def _check_dry(request: web.Request) -> None:
    """Raise Unsupported for a dry run of what would be done all the same."""
    if request.method in _CHANGE_NOTHING or not is_dry_run(request):
        return
    if not getattr(request.match_info.handler, "runs_dry", False):
        raise Unsupported(f"{request.method} {request.path}: no dry run of this", hint="leave out dry-run")


def _has_begun(request: web.Request) -> bool:
    """Whether a part of the answer is sent: another can't be, and only a broken connection tells that it failed."""
    connection = request.protocol
    return request.writer.output_size > 0 or (isinstance(connection, Connection) and connection.taken_over)


def _takes_files(request: web.Request) -> bool:
    """Whether the body is an archive, of any size."""
    return request.path.endswith(("/archive", "/images/load", "/images/create"))


def _too_large() -> web.Response:
    """The body may still be on its way, so the connection can't be used again."""
    message = f"request body too large: at most {BODY_BYTES_MAX} bytes are taken"
    answer = respond({"message": message}, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    answer.force_close()
    return answer


def _answer(request: web.Request, error: AtollError) -> web.Response:
    status = status_of(error)
    level = _LEVELS.get(status)
    if level is not None:
        _log.log(level, "%s %s: %s %s", request.method, request.path, error.message, error.detail)
    own = request.match_info.get_info().get("path", request.path).startswith("/atoll/")
    own = own or OWN_TYPE in request.headers.get("Accept", "")
    return respond(atoll_error(error) if own else docker_error(error), status=status)
