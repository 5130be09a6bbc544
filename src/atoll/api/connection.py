"""One client's connection, where what isn't HTTP is answered as every other error is."""

import logging
from http import HTTPStatus

from aiohttp import web

from atoll.api.http import respond

_log = logging.getLogger(__name__)

_SHOWN_MAX = 200


class Connection(web.RequestHandler):
    """aiohttp's side of a connection; its own answers would be text, and a traceback in the log."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what the parser refused, or to a failure outside of all routes; then the connection ends.

        Raises ConnectionError when an answer has begun already.
        """
        reason = _one_line(message or str(exc or ""))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("request failed: %s", reason, exc_info=exc)
            text = f"internal error: {reason}"
        else:
            _log.info("malformed request: %s", reason)
            text = f"malformed request: {reason}"
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        answer = respond({"message": text}, status=status)
        answer.force_close()
        return answer


def _one_line(text: str) -> str:
    """The parser shows the place of an error by a mark in a further line, which says nothing without the first."""
    shown = " ".join(line.strip() for line in text.splitlines() if line.strip(" ^"))
    return shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}..."
