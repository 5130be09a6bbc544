"""A daemon on a host of its own, made of a namespace: started, asked, killed, started again."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Protocol, TypeVar

from atoll.dns.client import NameClient
from atoll.lab.leftovers import unmount_namespaces
from atoll.relay.client import RelayClient
from tests.netns.namespaces import namespace, path_of, run

READY_TIMEOUT_S = 15


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. `body` is the decoded JSON, the text when it isn't JSON, None when there is none."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def message(self) -> str:
        """The message of an error."""
        assert isinstance(self.body, dict) and set(self.body) <= {"message", "hint", "detail"}, self.body
        return str(self.body["message"])


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float = 20) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(
    path: Path,
    method: str,
    target: str,
    body: Any = None,
    *,
    raw: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request over a unix socket. `body` is sent as JSON, `raw` as it is."""
    content = raw if raw is not None else None if body is None else json.dumps(body).encode()
    sent = {} if content is None else {"Content-Type": "application/json"}
    connection = UnixConnection(path)
    try:
        connection.request(method, target, content, {**sent, **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    try:
        decoded = json.loads(text) if text else None
    except ValueError:
        decoded = text
    return Answer(response.status, dict(response.getheaders()), decoded)


class Process(Protocol):
    """A daemon's, as `subprocess.Popen` has it."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...


@dataclass
class DaemonHost:
    """A host and its daemon. `name` is the namespace's, as `ip netns` lists it."""

    name: str
    directory: Path
    options: Sequence[str] = ()
    process: "Process | None" = field(default=None, init=False)

    @property
    def netns(self) -> Path:
        return path_of(self.name)

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "atoll.sock"

    @property
    def netns_directory(self) -> Path:
        return self.directory / "netns"

    @property
    def url(self) -> str:
        """DOCKER_HOST."""
        return f"unix://{self.socket}"

    @property
    def log(self) -> str:
        path = self.directory / "daemon.log"
        return path.read_text() if path.exists() else ""

    def command(self, *options: str) -> list[str]:
        daemon = [sys.executable, "-m", "atoll.daemon", *self.arguments(*options)]
        return ["nsenter", f"--net={self.netns}", "--", *daemon]

    def arguments(self, *options: str) -> list[str]:
        directories = ("--state", self.state, "--run", self.directory / "run", "--netns-dir", self.netns_directory)
        return [*map(str, directories), *self.options, *options]

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        with (self.directory / "daemon.log").open("ab") as log:
            self.process = self.begin(log, *options)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._answers():
            assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}: {self.log}"
            assert time.monotonic() < deadline, f"no answer after {READY_TIMEOUT_S} s: {self.log}"
            time.sleep(0.02)

    def begin(self, log: IO[bytes], *options: str) -> "Process":
        """Start it, without waiting."""
        return subprocess.Popen(self.command(*options), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def fail_to_start(self, *options: str) -> tuple[int, str]:
        """Start one that is expected to end by itself: its exit status, and what it said."""
        done = subprocess.run(
            self.command(*options), capture_output=True, text=True, timeout=READY_TIMEOUT_S, check=False
        )
        return done.returncode, done.stderr

    def kill9(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it as an administrator does; its exit status."""
        return self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def ask(self, method: str, target: str, body: Any = None, **options: Any) -> Answer:
        return ask(self.socket, method, target, body, **options)

    def must(self, method: str, target: str, body: Any = None) -> Any:
        """The body of an answer that has to be a good one."""
        answer = self.ask(method, target, body)
        assert answer.status < 300, (method, target, answer)
        return answer.body

    def run(self, command: str) -> str:
        """A command line of plain words on this host; its output."""
        return run(self.name, command)

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/_ping").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout=READY_TIMEOUT_S)
        self.process = None
        return status


Host = TypeVar("Host", bound=DaemonHost)


@contextmanager
def daemon_host(
    purpose: str,
    *,
    options: Sequence[str] = (),
    start: bool = True,
    make: Callable[..., Host] = DaemonHost,  # type: ignore[assignment]
) -> Iterator[Host]:
    """A host with a running daemon; nothing of it stays."""
    with TemporaryDirectory(prefix="at-") as directory, namespace(purpose) as name:
        host = make(name, Path(directory), options)
        for made in ("run", "netns"):
            (host.directory / made).mkdir()
        try:
            if start:
                host.start()
            yield host
        finally:
            if host.process is not None:
                host.kill9()
            RelayClient(host.directory / "run" / "relay.sock").stop()
            NameClient(host.directory / "run" / "names.sock").stop()
            unmount_namespaces(host.netns_directory)
            # The daemon makes the directory a mount of its own, to share what is mounted below.
            subprocess.run(["umount", "--lazy", host.netns_directory], check=False, capture_output=True)
