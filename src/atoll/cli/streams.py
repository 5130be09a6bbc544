"""The standard streams of a process in a container, joined to ours."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atoll.errors import InvalidRequest

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


class Keys:
    """Looks for the keys by which one leaves a terminal, in what is typed; `text` as in `--detach-keys`, "" for ^P ^Q.

    Raises InvalidRequest.
    """

    def __init__(self, text: str) -> None:
        self._keys = b"".join(map(_key, text.split(","))) if text else b"\x10\x11"
        self._typed = 0

    def take(self, content: bytes) -> tuple[bytes, bool]:
        """What is to be passed on, and whether it was left."""
        passed = bytearray()
        for byte in content:
            if byte == self._keys[self._typed]:
                self._typed += 1
                if self._typed == len(self._keys):
                    return bytes(passed), True
                continue
            # What only looked like the beginning was meant for the process.
            passed += self._keys[: self._typed]
            self._typed = 0
            if byte == self._keys[0]:
                self._typed = 1
            else:
                passed.append(byte)
        return bytes(passed), False


def join(
    connection: socket.socket, *, tty: bool, stdin: bool, resize: Callable[[int, int], None], detach_keys: str = ""
) -> bool:
    """Carry our input to a process and its output to us until that ends: True. `resize` is told height and width.

    False when the terminal was left by its keys (see `Keys`). Effects: with `tty` our terminal is raw meanwhile.
    """
    keys = Keys(detach_keys) if tty and stdin else None
    with raw_terminal(resize) if tty and stdin and sys.stdin.isatty() else _as_it_is():
        return _carry(connection, frames=None if tty else Frames(), stdin=stdin, keys=keys)


def _carry(connection: socket.socket, *, frames: Frames | None, stdin: bool, keys: Keys | None) -> bool:
    sources: list[int] = [connection.fileno(), *([sys.stdin.fileno()] if stdin else [])]
    while True:
        for source in select.select(sources, [], [])[0]:
            if source == connection.fileno():
                content = _received(connection)
                if not content:
                    return True
                for number, part in ((1, content),) if frames is None else frames.take(content):
                    show(number, part)
                continue
            content = os.read(source, _READ_BYTES)
            passed, left = (content, False) if keys is None else keys.take(content)
            if left:
                return False
            try:
                if passed:
                    connection.sendall(passed)
                elif not content:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                # The process takes no more; what it has said is still to come.
                content = b""
            if not content:
                sources.remove(source)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(_READ_BYTES)
    except ConnectionResetError:
        return b""


def _key(word: str) -> bytes:
    letter = word.removeprefix("ctrl-")
    if len(letter) == 1 and letter.isascii():
        if letter is word:
            return letter.encode()
        if "@" <= letter.upper() <= "_":
            return bytes((ord(letter.upper()) - ord("@"),))
    raise InvalidRequest(f"invalid detach keys: {word!r}", hint="write them as ctrl-p,ctrl-q or a,b")


@contextmanager
def forwarded_signals(send: Callable[[str], None]) -> Iterator[None]:
    """As long as the block lasts, signals that would end us are told to `send` by name instead."""
    import signal

    def told(number: int, _: object) -> None:
        send(signal.Signals(number).name)

    numbers = [getattr(signal, f"SIG{name}") for name in ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2")]
    before = [(number, signal.signal(number, told)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


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
    # At once: what is typed already is for the process.
    tty.setraw(descriptor, termios.TCSANOW)
    try:
        tell()
        yield
    finally:
        signal.signal(signal.SIGWINCH, handler)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
