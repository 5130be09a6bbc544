"""Between a client and an engine: passes every byte on, and tells afterwards what was asked and answered."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 16
END_S = 5.0


@dataclass(frozen=True)
class Exchange:
    """A request and its answer. `body` is decoded JSON, a list of what stands on several lines, or None for others."""

    method: str
    target: str
    status: int
    body: Any


@dataclass
class Connection:
    """What went over one connection, each way."""

    asked: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)
    threads: list[threading.Thread] = field(default_factory=list)


class Recorder:
    """Listens at `socket`, and passes on to `engine`."""

    def __init__(self, path: Path, engine: Path) -> None:
        self.socket = path
        self._engine = engine
        self._connections: list[Connection] = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def take(self) -> list[Exchange]:
        """What was exchanged since the last time, once all connections have ended."""
        with self._lock:
            connections, self._connections = self._connections, []
        found = []
        for connection in connections:
            for thread in connection.threads:
                thread.join(END_S)
            found += list(_parse(bytes(connection.asked), bytes(connection.answered)))
        return found

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                engine.connect(str(self._engine))
                made = Connection()
                for source, sink, record in ((client, engine, made.asked), (engine, client, made.answered)):
                    thread = threading.Thread(target=_pass_on, args=(source, sink, record), daemon=True)
                    made.threads.append(thread)
                with self._lock:
                    self._connections.append(made)
                    for thread in made.threads:
                        thread.start()


@contextmanager
def recorded(path: Path, engine: Path) -> Iterator[Recorder]:
    """A recorder for as long as the block lasts."""
    recorder = Recorder(path, engine)
    try:
        yield recorder
    finally:
        recorder.close()


def _pass_on(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
    with suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            record += chunk
            sink.sendall(chunk)
    with suppress(OSError):
        # The other direction may go on: a half-closed connection still has answers.
        sink.shutdown(socket.SHUT_WR)


def _parse(asked: bytes, answered: bytes) -> Iterator[Exchange]:
    requests, answers = BytesIO(asked), BytesIO(answered)
    while head := _head(requests):
        method, target, _ = head[0].split(" ", 2)
        _body(requests, head[1], 0)
        answer = _head(answers)
        if not answer:
            return
        status = int(answer[0].split(" ")[1])
        has_body = method != "HEAD" and status not in (101, 204, 304)
        content = _body(answers, answer[1], -1) if has_body else b""
        json_body = answer[1].get("content-type", "").startswith("application/json")
        yield Exchange(method, target, status, _decoded(content) if json_body else None)
        if status == 101:
            return


def _head(stream: BytesIO) -> tuple[str, dict[str, str]] | None:
    first = stream.readline().decode().strip()
    if not first:
        return None
    headers = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return first, headers


def _body(stream: BytesIO, headers: dict[str, str], without_length: int) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return stream.read(int(headers.get("content-length", without_length)))
    found = b""
    while size := int(stream.readline().strip() or b"0", 16):
        found += stream.read(size)
        stream.readline()
    stream.readline()
    return found


def _decoded(content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except ValueError:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
