"""HTTP/1.1 over the daemon's unix socket: one connection a request.

Own, as the standard library's client costs as much to import as everything else of a command together.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Mapping

from atoll.errors import AtollError, Unavailable

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any, BinaryIO

ANSWER_TIMEOUT_S = 120
LINE_MAX_BYTES = 65536
_ACCEPT = "application/vnd.atoll+json, application/json"
"""Asks for hint and detail in errors of Docker's routes too, whose other clients expect a message alone."""
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""Source: RFC 3986, section 2.3."""


class ServerError(AtollError):
    """The daemon's own answer that a request failed; `status` is the HTTP status."""

    def __init__(self, message: str, *, status: int, hint: str = "", detail: str = "") -> None:
        super().__init__(message, hint=hint, detail=detail)
        self.status = status


class Client:
    """Requests to one daemon. Nothing is opened before a request.

    `path` arguments are absolute and already quoted (see `quote`); query values are quoted here.
    Every method raises ServerError for an error answer and Unavailable when there is no daemon,
    or no answer in ANSWER_TIMEOUT_S.
    """

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The JSON value at `path`."""
        return self.request("GET", path, query=query)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = ANSWER_TIMEOUT_S,
    ) -> Any:
        """Send `body` as JSON (nothing when None); return the answer's JSON value, {} when it has no body.

        `timeout_s` None waits as long as it takes.
        """
        with self._connect(timeout_s) as connection:
            try:
                answer, headers = self._exchange(connection, method, path, body, query)
                content = _content(answer, headers)
            except (OSError, EOFError, ValueError) as error:
                raise self._lost(error) from None
        return _decode(content) if content.strip() else {}

    def head(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, str]:
        """The headers of the answer to HEAD, their names in lower case; an error has no message of the daemon's."""
        with self._connect(ANSWER_TIMEOUT_S) as connection:
            try:
                return self._exchange(connection, "HEAD", path, None, query)[1]
            except (OSError, EOFError, ValueError) as error:
                raise self._lost(error) from None

    def begin(
        self, method: str, path: str, query: Mapping[str, str] | None = None, *, content: Iterable[bytes] | None = None
    ) -> Iterator[bytes]:
        """Send a request and wait for the head of its answer; the parts of its body, as they come.

        `content` is an archive, sent part by part.
        """
        connection = self._connect(None)
        try:
            answer, headers = self._exchange(connection, method, path, None, query, parts=content)
        except (OSError, EOFError, ValueError) as error:
            connection.close()
            raise self._lost(error) from None
        return self._parts(connection, answer, headers)

    def _parts(self, connection: socket.socket, answer: BinaryIO, headers: Mapping[str, str]) -> Iterator[bytes]:
        with connection:
            try:
                yield from _chunks(answer) if _is_chunked(headers) else answer
            except (ConnectionError, EOFError, ValueError) as error:
                raise self._lost(error) from None

    def hijack(self, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> socket.socket:
        """POST a request whose connection then carries a process's streams: the connection, which is to be closed."""
        connection = self._connect(None)
        try:
            # Unbuffered: what follows the head is no longer HTTP.
            self._exchange(connection, "POST", path, body, query, upgrade=True)
        except (OSError, EOFError, ValueError) as error:
            connection.close()
            raise self._lost(error) from None
        return connection

    def stream(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Any]:
        """The JSON values of an endless answer, one a line, each as soon as it is there."""
        with self._connect(None) as connection:
            try:
                answer, headers = self._exchange(connection, "GET", path, None, query)
                pending = b""
                for part in _chunks(answer) if _is_chunked(headers) else answer:
                    *lines, pending = (pending + part).split(b"\n")
                    yield from (_decode(line) for line in lines if line.strip())
                if pending.strip():
                    yield _decode(pending)
            except (ConnectionError, EOFError, ValueError) as error:
                raise self._lost(error) from None

    def _connect(self, timeout_s: float | None) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        try:
            connection.connect(self.socket_path)
        except PermissionError:
            connection.close()
            raise Unavailable(
                f"cannot open {self.socket_path}: permission denied", hint="run it as root, or join the group atoll"
            ) from None
        except OSError as error:
            connection.close()
            raise Unavailable(
                f"the daemon is not running: cannot reach {self.socket_path} ({error.strerror or error})",
                hint="atoll up",
            ) from None
        return connection

    def _exchange(
        self,
        connection: socket.socket,
        method: str,
        path: str,
        body: Any,
        query: Mapping[str, str] | None,
        *,
        upgrade: bool = False,
        parts: Iterable[bytes] | None = None,
    ) -> tuple[BinaryIO, dict[str, str]]:
        """Send the request and read the head of the answer. Raises ServerError for an error status."""
        target = path + ("?" + "&".join(f"{quote(k)}={quote(v)}" for k, v in query.items()) if query else "")
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: atoll\r\nAccept: {_ACCEPT}\r\n"
        head += "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else "Connection: close\r\n"
        if parts is not None:
            head += "Transfer-Encoding: chunked\r\nContent-Type: application/x-tar\r\n"
        else:
            head += f"Content-Length: {len(content)}\r\n"
        if content:
            head += "Content-Type: application/json\r\n"
        connection.sendall(head.encode() + b"\r\n" + content)
        if parts is not None:
            _send_chunks(connection, parts)
        answer: Any = connection.makefile("rb", buffering=0 if upgrade else -1)
        status, headers = _read_head(answer)
        if status >= 400:
            raise _server_error(status, b"" if method == "HEAD" else _content(answer, headers))
        return answer, headers

    def _lost(self, error: Exception) -> Unavailable:
        if isinstance(error, TimeoutError):
            return Unavailable(f"no answer from the daemon at {self.socket_path} in {ANSWER_TIMEOUT_S} s")
        if isinstance(error, ValueError):
            return _not_http()
        return Unavailable(f"the daemon at {self.socket_path} closed the connection", hint="atoll up")


def quote(text: str) -> str:
    """Percent-encode `text` as one segment of a path, or one value of a query."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def _read_head(answer: BinaryIO) -> tuple[int, dict[str, str]]:
    words = _line(answer).split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise _not_http()
    headers: dict[str, str] = {}
    while line := _line(answer):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(words[1]), headers


def _not_http() -> Unavailable:
    return Unavailable("what answers at the daemon's socket does not speak HTTP")


def _line(answer: BinaryIO) -> str:
    line = answer.readline(LINE_MAX_BYTES)
    if not line.endswith(b"\n"):
        raise EOFError
    return line.decode("latin-1").rstrip("\r\n")


def _content(answer: BinaryIO, headers: Mapping[str, str]) -> bytes:
    """The whole body, up to the end of the connection when nothing tells its length. Raises EOFError when cut short."""
    if _is_chunked(headers):
        return b"".join(_chunks(answer))
    length = int(headers.get("content-length", -1))
    content = answer.read(length)
    if len(content) < length:
        raise EOFError
    return content


def _send_chunks(connection: socket.socket, parts: Iterable[bytes]) -> None:
    """Send a chunked body. Source: RFC 9112, section 7.1."""
    try:
        for part in parts:
            if part:
                connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        connection.sendall(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        # It was refused before its end: the answer, which is there, says why.
        return


def _is_chunked(headers: Mapping[str, str]) -> bool:
    return headers.get("transfer-encoding", "").lower() == "chunked"


def _chunks(answer: BinaryIO) -> Iterator[bytes]:
    """Parts of a chunked body. Raises EOFError when it is cut short. Source: RFC 9112, section 7.1."""
    while size := int(_line(answer).partition(";")[0], 16):
        part = answer.read(size)
        if len(part) < size:
            raise EOFError
        yield part
        _line(answer)
    while _line(answer):
        pass


def _decode(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise Unavailable("the daemon's answer is not JSON", detail=repr(content[:200])) from None


def _server_error(status: int, content: bytes) -> ServerError:
    try:
        body = json.loads(content)
        message, hint, detail = (str(body.get(key) or "") for key in ("message", "hint", "detail"))
    except (ValueError, AttributeError):
        message, hint, detail = "", "", content[:500].decode(errors="replace")
    return ServerError(message or f"the daemon answered with status {status}", status=status, hint=hint, detail=detail)
