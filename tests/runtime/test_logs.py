"""Logs are read from both ends, by time and stream, and followed."""

import asyncio
import time
from pathlib import Path

import pytest

from atoll.runtime.supervise.logs import LogLine, LogQuery, follow_log, parse_line, read_log
from atoll.runtime.supervise.streams import Stream
from tests.support.runtimes import TIMEOUT_S, Bench, wanted

SECOND_NS = 1_000_000_000
BASE_NS = 1_700_000_000 * SECOND_NS


def written(number: int, stream: str = "stdout", tag: str = "F", text: str = "") -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(BASE_NS // SECOND_NS + number))
    return f"{stamp}.{number:09d}+00:00 {stream} {tag} {text or f'line {number}'}\n"


def read(path: Path, query: LogQuery) -> list[LogLine]:
    async def whole() -> list[LogLine]:
        return [line async for line in read_log(path, query)]

    return asyncio.run(whole())


def numbers(lines: list[LogLine]) -> list[int]:
    return [int(line.content.split()[1]) for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "log"
    made.write_text("".join(written(number, "stderr" if number % 2 else "stdout") for number in range(5000)))
    return made


def test_line_has_its_time_to_the_nanosecond() -> None:
    line = parse_line(b"2026-11-24T14:55:09.716324443+01:00 stderr F a b  c")
    assert line == LogLine(1795528509716324443, Stream.STDERR, b"a b  c\n")
    assert parse_line(b"2026-11-24T14:55:09.716324443+01:00 stdout P part") == LogLine(
        1795528509716324443, Stream.STDOUT, b"part"
    )


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"a b c d", b"2026 stdout F x", b"\xff\xfe stdout F x", b"2026-11-24T14:55:09 out F x"]
)
def test_nonsense_is_no_line(raw: bytes) -> None:
    assert parse_line(raw) is None


def test_everything_is_read(path: Path) -> None:
    lines = read(path, LogQuery())
    assert numbers(lines) == list(range(5000))
    assert lines[7] == LogLine(BASE_NS + 7 * SECOND_NS + 7, Stream.STDERR, b"line 7\n")


@pytest.mark.parametrize("tail", [0, 1, 2, 999, 4999, 5000, 9000])
def test_tail(path: Path, tail: int) -> None:
    assert numbers(read(path, LogQuery(tail=tail))) == list(range(max(0, 5000 - tail), 5000))
    wanted_numbers = list(range(1, 5000, 2))
    assert numbers(read(path, LogQuery(tail=tail, stdout=False))) == wanted_numbers[max(0, 2500 - tail) :]


def test_since_and_until(path: Path) -> None:
    query = LogQuery(since_ns=BASE_NS + 100 * SECOND_NS, until_ns=BASE_NS + 110 * SECOND_NS)
    assert numbers(read(path, query)) == list(range(100, 110))


def test_missing_log_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "none", LogQuery(tail=3)) == read(tmp_path / "none", LogQuery()) == []


@pytest.mark.parametrize("tail", [-1, 0, 2])
def test_follower_gets_each_line_once_and_ends(path: Path, tail: int) -> None:
    async def scene() -> None:
        running = True
        found: list[LogLine] = []

        async def follow() -> None:
            lines = follow_log(path, LogQuery(tail=tail), running=lambda: running, now_ns=time.time_ns)
            async for line in lines:
                found.append(line)

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.05)
        with path.open("a") as file:
            for number in range(5000, 5100):
                line = written(number)
                file.write(line[:25])
                if number % 20 == 0:
                    file.flush()
                    await asyncio.sleep(0.03)
                file.write(line[25:])
            file.write(written(5100)[:-1])
            file.flush()
            await asyncio.sleep(0.25)
            file.write("\n")
        running = False
        async with asyncio.timeout(TIMEOUT_S):
            await following
        first = 0 if tail < 0 else 5000 - tail
        assert numbers(found) == list(range(first, 5101))

    asyncio.run(scene())


def test_follower_goes_on_in_the_next_file(tmp_path: Path) -> None:
    async def scene() -> None:
        path, running, found = tmp_path / "log", True, []
        path.write_text(written(0))

        async def follow() -> None:
            async for line in follow_log(path, LogQuery(), running=lambda: running, now_ns=time.time_ns):
                found.append(line)

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.25)
        (tmp_path / "fresh").write_text(written(1))
        (tmp_path / "fresh").rename(path)
        await asyncio.sleep(0.25)
        running = False
        async with asyncio.timeout(TIMEOUT_S):
            await following
        assert numbers(found) == [0, 1]

    asyncio.run(scene())


def test_follower_gets_the_last_lines_of_a_log_that_is_removed(tmp_path: Path) -> None:
    async def scene() -> None:
        path, running, found = tmp_path / "log", True, []
        path.write_text("")

        async def follow() -> None:
            async for line in follow_log(path, LogQuery(), running=lambda: running, now_ns=time.time_ns):
                found.append(line)

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.05)
        path.write_text(written(0))
        path.unlink()
        running = False
        async with asyncio.timeout(TIMEOUT_S):
            await following
        assert numbers(found) == [0]

    asyncio.run(scene())


def test_container_is_followed_to_its_end(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            script = "for i in 1 2 3; do echo line $i; sleep 0.15; done"
            await runtime.containers.create(wanted("sh", "-c", script), name="x")
            await runtime.containers.start("x")
            async with asyncio.timeout(TIMEOUT_S):
                assert numbers([line async for line in runtime.logs("x", LogQuery(), follow=True)]) == [1, 2, 3]

    asyncio.run(scene())
