"""A daemon of a lab's host: started, asked, killed, started again."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from atoll.errors import Unavailable

READY_TIMEOUT_S = 15


class Daemon:
    """A running daemon. Its output goes to the file `log`."""

    def __init__(
        self,
        argv: Callable[[Sequence[str]], list[str]],
        *,
        state: Path,
        run: Path,
        netns_directory: Path,
        options: Sequence[str] = (),
    ) -> None:
        self.socket = run / "atoll.sock"
        self.log = state.parent / "daemon.log"
        self._command = argv(
            [
                *(sys.executable, "-m", "atoll.daemon"),
                *("--state", str(state)),
                *("--run", str(run)),
                *("--socket", str(self.socket)),
                *("--netns-dir", str(netns_directory)),
                *options,
            ]
        )
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Process id of the daemon itself."""
        return self._process.pid

    def restart(self) -> float:
        """Start it again after `kill` or `stop`, wait until it is ready, and return how many seconds that took."""
        begun = time.monotonic()
        self._process = self._start()
        return time.monotonic() - begun

    def kill(self) -> None:
        """End it as a crash does: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an administrator does: SIGTERM."""
        self._end(signal.SIGTERM)

    def wait(self) -> None:
        """Wait for the end of a daemon that has been told to end."""
        self._process.wait(timeout=READY_TIMEOUT_S)

    def get(self, route: str) -> Any:
        """The JSON answer to GET `route`. Raises OSError when nobody listens; Unavailable on an error status."""
        connection = _UnixConnection(self.socket)
        try:
            connection.request("GET", route)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise Unavailable(f"GET {route}: {response.status} {body.decode(errors='replace')[:200]}")
        return json.loads(body)

    def events(self) -> "EventStream":
        """What happens from now on. Raises OSError when nobody listens."""
        return EventStream(_UnixConnection(self.socket))

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._ready():
            if process.poll() is not None:
                raise Unavailable(f"the daemon ended with {process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise Unavailable(f"the daemon isn't ready after {READY_TIMEOUT_S} s: {self._last_words()}")
            time.sleep(0.02)
        return process

    def _ready(self) -> bool:
        try:
            return bool(self.get("/atoll/status")["Ready"])
        except (OSError, http.client.HTTPException, Unavailable):
            return False

    def _end(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self._process.wait(timeout=READY_TIMEOUT_S)

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return "; ".join(lines[-4:])


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class EventStream:
    """Events as they happen; opened when the daemon has answered, so none is missed after that."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        connection.request("GET", "/events")
        self._response = connection.getresponse()

    def wait_for(self, kind: str, action: str, *, timeout_s: float = 5) -> dict[str, Any]:
        """The next event of a kind (`Type`) and action. Raises Unavailable after `timeout_s` of silence."""
        assert self._connection.sock is not None
        self._connection.sock.settimeout(timeout_s)
        seen = []
        try:
            while line := self._response.readline():
                event: dict[str, Any] = json.loads(line)
                if (event["Type"], event["Action"]) == (kind, action):
                    return event
                seen.append(f"{event['Type']} {event['Action']}")
        except TimeoutError:
            pass
        raise Unavailable(f"no event {kind} {action} in {timeout_s} s; there were: {', '.join(seen) or 'none'}")

    def close(self) -> None:
        """End the stream."""
        self._connection.close()
