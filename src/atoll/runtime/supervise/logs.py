"""Logs as conmon writes them, "k8s-file":

    2026-11-24T14:55:09.716324443+00:00 stdout F a whole line
    2026-11-24T14:55:09.716324443+00:00 stdout P a part of one, which has no end of line of its own

A log that has reached its limit is begun anew in another file under the same name.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from atoll.runtime.supervise.streams import Stream

POLL_S = 0.1
"""How often a log that grows is looked at: nothing in it calls back."""
_BLOCK_BYTES = 1 << 16
_NAMES = {b"stdout": Stream.STDOUT, b"stderr": Stream.STDERR}


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line, or a part of one; `content` has its end of line. `time_ns` is Unix time."""

    time_ns: int
    stream: Stream
    content: bytes


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines: of these streams, not older than `since_ns`, not newer than `until_ns` (0: any), the last `tail` of
    them (-1: all).
    """

    stdout: bool = True
    stderr: bool = True
    since_ns: int = 0
    until_ns: int = 0
    tail: int = -1

    def wants(self, line: LogLine) -> bool:
        """Whether a line is one of these, but for `tail`."""
        if not (self.stdout if line.stream is Stream.STDOUT else self.stderr):
            return False
        return line.time_ns >= self.since_ns and not 0 < self.until_ns < line.time_ns


def parse_line(raw: bytes) -> LogLine | None:
    """A line of the file without its end; None for what is none."""
    parts = raw.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in _NAMES:
        return None
    try:
        time_ns = _time_ns(parts[0].decode("ascii"))
    except ValueError:
        return None
    return LogLine(time_ns, _NAMES[parts[1]], parts[3] + (b"\n" if parts[2] == b"F" else b""))


async def read_log(path: Path, query: LogQuery) -> AsyncIterator[LogLine]:
    """The lines that are there; none of a log that isn't."""
    lines: list[LogLine] = []
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        if query.tail >= 0:
            file.seek(_start_of_tail(file, query))
        async for line in _lines(file):
            if query.wants(line):
                if query.tail < 0:
                    yield line
                else:
                    lines.append(line)
    for line in lines[max(0, len(lines) - query.tail) :]:
        yield line


async def follow_log(
    path: Path, query: LogQuery, *, running: Callable[[], bool], now_ns: Callable[[], int]
) -> AsyncIterator[LogLine]:
    """The lines that are there, and those that come as long as `running` says so, in order and each once."""
    file: IO[bytes] | None = None
    if query.tail >= 0:
        file = _renewed(path, None)
        if file is not None:
            file.seek(0, os.SEEK_END)
        async for line in read_log(path, query):
            yield line
    rest = b""
    try:
        while True:
            # Asked first: what was written before the end is read after it.
            last = not running()
            while True:
                # Kept open: who removes a container that has ended doesn't take its last lines from those who follow.
                while file is not None and (block := file.read(_BLOCK_BYTES)):
                    *whole, rest = (rest + block).split(b"\n")
                    for line in _wanted(whole, query):
                        yield line
                    await asyncio.sleep(0)
                fresh = _renewed(path, file)
                if fresh is None:
                    break
                if file is not None:
                    file.close()
                file, rest = fresh, b""
            if last or 0 < query.until_ns < now_ns():
                return
            await asyncio.sleep(POLL_S)
    finally:
        if file is not None:
            file.close()


def _renewed(path: Path, file: IO[bytes] | None) -> IO[bytes] | None:
    """The log, opened, when `file` is another or None; None when there is nothing new."""
    try:
        if file is not None and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return None
        return path.open("rb")
    except FileNotFoundError:
        return None


def _wanted(raw: list[bytes], query: LogQuery) -> list[LogLine]:
    return [line for text in raw if (line := parse_line(text)) is not None and query.wants(line)]


async def _lines(file: IO[bytes]) -> AsyncIterator[LogLine]:
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        *whole, rest = (rest + block).split(b"\n")
        for text in whole:
            line = parse_line(text)
            if line is not None:
                yield line
        # Others have their turn between two blocks.
        await asyncio.sleep(0)


def _start_of_tail(file: IO[bytes], query: LogQuery) -> int:
    """A place in the file from which on there are at least `tail` lines that are wanted, found from behind."""
    end = file.seek(0, 2)
    position, text = end, b""
    while position > 0:
        step = min(_BLOCK_BYTES, position)
        position -= step
        file.seek(position)
        text = file.read(step) + text
        whole = text.split(b"\n")[0 if position == 0 else 1 :]
        if sum(1 for line in _wanted(whole, query) if line.content.endswith(b"\n")) > query.tail:
            return position + text.index(b"\n") + 1 if position else 0
    return 0


def _time_ns(text: str) -> int:
    # fromisoformat knows microseconds only.
    whole, point, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    fraction = int(rest[:digits].ljust(9, "0")[:9]) if point and digits else 0
    return int(datetime.fromisoformat(whole + rest[digits:]).timestamp()) * 1_000_000_000 + fraction
