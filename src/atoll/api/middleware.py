"""What is the same for every route: headers, versions, errors as JSON."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from atoll.api.body import BODY_BYTES_MAX
from atoll.api.errors import atoll_error, docker_error, status_of
from atoll.api.http import Handler, respond, version_of
from atoll.api.versions import NEWEST
from atoll.errors import AtollError

_log = logging.getLogger(__name__)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse versions that aren't served, and turn whatever goes wrong into JSON; a broken promise is logged."""
    try:
        version_of(request)
        return await handler(request)
    except AtollError as error:
        return _answer(request, error)
    except web.HTTPRequestEntityTooLarge:
        message = f"request body too large: at most {BODY_BYTES_MAX} bytes are taken"
        return respond({"message": message}, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        # dockerd says so to a wrong method too.
        return respond({"message": "page not found"}, status=HTTPStatus.NOT_FOUND)
    except web.HTTPException as error:
        return respond({"message": error.reason}, status=error.status)
    except ConnectionResetError:
        raise
    except Exception as error:
        _log.exception("%s %s failed", request.method, request.path)
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


def _answer(request: web.Request, error: AtollError) -> web.Response:
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status is not HTTPStatus.NOT_IMPLEMENTED:
        _log.error("%s %s: %s %s", request.method, request.path, error.message, error.detail)
    own = request.match_info.get_info().get("path", request.path).startswith("/atoll/")
    return respond(atoll_error(error) if own else docker_error(error), status=status)
