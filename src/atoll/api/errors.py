"""Errors as HTTP: the one table of status codes, and the two shapes of an error's body."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from atoll.errors import (
    AtollError,
    Conflict,
    Exhausted,
    Forbidden,
    InvalidRequest,
    NameTaken,
    NotFound,
    PortTaken,
    StoreFull,
    Unavailable,
    Unsupported,
    WrongState,
)

STATUS: Mapping[type[AtollError], HTTPStatus] = MappingProxyType(
    {
        InvalidRequest: HTTPStatus.BAD_REQUEST,
        NotFound: HTTPStatus.NOT_FOUND,
        # Docker's kinds, not HTTP's words: an overlap, an endpoint or an address that is there already are
        # "forbidden" in moby, and only names, ports and states are "conflict".
        Conflict: HTTPStatus.FORBIDDEN,
        NameTaken: HTTPStatus.CONFLICT,
        PortTaken: HTTPStatus.CONFLICT,
        WrongState: HTTPStatus.CONFLICT,
        Forbidden: HTTPStatus.FORBIDDEN,
        Exhausted: HTTPStatus.SERVICE_UNAVAILABLE,
        Unsupported: HTTPStatus.NOT_IMPLEMENTED,
        Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
        StoreFull: HTTPStatus.INSUFFICIENT_STORAGE,
        AtollError: HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)
"""Status by error class; a class that is not here has its nearest base's."""


def status_of(error: AtollError) -> HTTPStatus:
    """The status code that answers a request which ended with `error`."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def docker_error(error: AtollError) -> dict[str, str]:
    """An error's body on Docker's routes, whose clients print the message and know nothing else."""
    return {"message": error.message}


def atoll_error(error: AtollError) -> dict[str, str]:
    """An error's body on atoll's routes."""
    return {"message": error.message, "hint": error.hint, "detail": error.detail}
