"""Requests to a daemon's socket, atoll's or Docker's, and how long they take."""

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 600
"""Docker takes minutes for a thousand ports."""


class Client(http.client.HTTPConnection):
    """A kept connection to a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def timed(self, method: str, route: str, body: Any = None) -> float:
        """Seconds that one request takes, its answer read. Raises RuntimeError with the answer when it is refused."""
        return self._exchange(method, route, body)[0]

    def ask(self, method: str, route: str, body: Any = None) -> Any:
        """The answer's JSON, None when it is empty. Raises RuntimeError with the answer when it is refused."""
        content = self._exchange(method, route, body)[1]
        return json.loads(content) if content else None

    def _exchange(self, method: str, route: str, body: Any) -> tuple[float, bytes]:
        text = body if body is None or isinstance(body, bytes) else json.dumps(body)
        kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
        begun = time.perf_counter()
        self.request(method, route, text, {"Content-Type": kind})
        answer = self.getresponse()
        content = answer.read()
        taken = time.perf_counter() - begun
        if answer.status >= 300:
            raise RuntimeError(f"{method} {route}: {answer.status} {content[:300]!r}")
        return taken, content
