"""The standard streams of a process in a container, joined to ours."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HEAD_BYTES = 8
"""Of a part of the output: [1|2, 0, 0, 0, length]. Source: Docker Engine API, ContainerAttach."""
_READ_BYTES = 65536


class Frames:
    """Takes the output of a process without a terminal apart."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """Number of the stream (1 output, 2 errors) and content of every part that is whole now."""
        self._rest += content
        while len(self._rest) >= HEAD_BYTES:
            end = HEAD_BYTES + int.from_bytes(self._rest[4:HEAD_BYTES], "big")
            if len(self._rest) < end:
                return
            yield self._rest[0], self._rest[HEAD_BYTES:end]
            self._rest = self._rest[end:]


def show(number: int, content: bytes) -> None:
    """Write output where it belongs, at once."""
    stream = sys.stderr if number == 2 else sys.stdout
    stream.buffer.write(content)
    stream.buffer.flush()


def join(connection: socket.socket, *, tty: bool, stdin: bool, resize: Callable[[int, int], None]) -> None:
    """Carry our input to a process and its output to us until that ends. `resize` is told height and width.

    Effects: with `tty` our terminal is raw meanwhile.
    """
    with raw_terminal(resize) if tty and stdin and sys.stdin.isatty() else _as_it_is():
        _carry(connection, frames=None if tty else Frames(), stdin=stdin)


def _carry(connection: socket.socket, *, frames: Frames | None, stdin: bool) -> None:
    sources: list[int] = [connection.fileno(), *([sys.stdin.fileno()] if stdin else [])]
    while True:
        for source in select.select(sources, [], [])[0]:
            if source != connection.fileno():
                content = os.read(source, _READ_BYTES)
                if content:
                    connection.sendall(content)
                else:
                    sources.remove(source)
                    connection.shutdown(socket.SHUT_WR)
                continue
            content = connection.recv(_READ_BYTES)
            if not content:
                return
            for number, part in ((1, content),) if frames is None else frames.take(content):
                show(number, part)


@contextmanager
def raw_terminal(resize: Callable[[int, int], None]) -> Iterator[None]:
    """Our terminal without a discipline of its own as long as the block lasts; changes of its size are told."""
    import signal
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def tell(*_: object) -> None:
        width, height = os.get_terminal_size(descriptor)
        resize(height, width)

    handler = signal.signal(signal.SIGWINCH, tell)
    tty.setraw(descriptor)
    try:
        tell()
        yield
    finally:
        signal.signal(signal.SIGWINCH, handler)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
