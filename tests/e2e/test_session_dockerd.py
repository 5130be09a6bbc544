"""Sessions of the docker command, replayed against a real dockerd and against atoll, both at version 1.41.

Exit codes are the same, output is alike, and the JSON of every answer has the same keys and types, but for what
`sessions/differences.py` lists with its reason; `pytest -s` prints that list.

`sessions/*.txt` has a command a line: `~` before one whose output differs by nature, `=` before one whose lines may
come in any order, ` < TEXT` after one that gets TEXT on standard input.
"""

import shlex
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.e2e.sessions.differences import ANSWERS, CODES, OUTPUTS
from tests.support.likeness import compare_bodies, plain_target, plain_text
from tests.support.recorder import Exchange, Recorder, recorded
from tests.support.twins import Engine, root_archive, twins

SESSIONS = {
    path.stem: path.read_text().splitlines() for path in sorted((Path(__file__).parent / "sessions").glob("*.txt"))
}


VALUES = ("GET /containers/*/json", "GET /containers/json*", "GET /networks*", "GET /images/*json*", "GET /volumes/*")
"""Requests whose answers have the same values, too, where these aren't chosen by chance or by the clock."""


@dataclass(frozen=True)
class Reply:
    """What the command, and the engine behind it, said to a line."""

    code: int
    out: str
    err: str
    exchanges: list[Exchange]


@dataclass
class Desk:
    """An engine where lines are typed, with a recorder before it."""

    engine: Engine
    recorder: Recorder
    begun: float = 0.0

    def sit(self, lines: list[str]) -> list[Reply]:
        """Type a whole session."""
        self.begun = time.time()
        return [self._type(line) for line in lines]

    def _type(self, line: str) -> Reply:
        text, _, given = line.removeprefix("~ ").removeprefix("= ").partition(" < ")
        values = {"home": str(self.engine.home), "begun": f"{self.begun:.6f}", "now": f"{time.time():.6f}"}
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        done = self.engine.docker(*shlex.split(text), stdin=given.encode())
        out, err = (plain_text(each.decode(errors="replace"), self.engine.home) for each in (done.stdout, done.stderr))
        return Reply(done.returncode, out, err, self.recorder.take())


Pair = tuple[Reply, Reply]


@pytest.fixture(scope="module")
def replies() -> Iterator[Mapping[str, list[Pair]]]:
    """dockerd's reply and atoll's to each line of each session."""
    with twins("sessions") as engines, ExitStack() as stack:
        desks = []
        for engine in engines:
            path = engine.home / "recorded.sock"
            (engine.home / "root.tar").write_bytes(root_archive())
            recorder = stack.enter_context(recorded(path, engine.socket))
            desks.append(Desk(Engine(engine.name, path, engine.home), recorder))

        def replay(desk: Desk) -> dict[str, list[Reply]]:
            return {name: desk.sit(lines) for name, lines in SESSIONS.items()}

        with ThreadPoolExecutor() as pool:
            theirs, ours = pool.map(replay, desks)
        yield {name: list(zip(theirs[name], ours[name], strict=True)) for name in SESSIONS}


@pytest.mark.parametrize("name", SESSIONS)
def test_exit_codes_are_dockerds(replies: Mapping[str, list[Pair]], name: str) -> None:
    wrong = [
        (line, theirs.code, theirs.err, ours.code, ours.err)
        for line, (theirs, ours) in zip(SESSIONS[name], replies[name], strict=True)
        if (theirs.code != ours.code) is not (line in CODES)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", SESSIONS)
def test_output_is_alike(replies: Mapping[str, list[Pair]], name: str) -> None:
    wrong = []
    for line, (theirs, ours) in zip(SESSIONS[name], replies[name], strict=True):
        outs = [reply.out.splitlines() for reply in (theirs, ours)]
        if line.startswith("= "):
            outs = [sorted(out) for out in outs]
        alike = outs[0] == outs[1] and bool(theirs.err) is bool(ours.err)
        if not line.startswith("~ ") and alike is (line in OUTPUTS):
            wrong.append((line, theirs.out, ours.out, theirs.err, ours.err))
    assert wrong == []


def test_answers_have_the_same_keys_and_types(replies: Mapping[str, list[Pair]]) -> None:
    found: dict[str, str] = {}
    count = 0
    for name, pairs in replies.items():
        for line, pair in zip(SESSIONS[name], pairs, strict=True):
            for difference in _differences(*pair):
                found.setdefault(difference, line)
            count += len(pair[0].exchanges)
    unlisted = {line: by for line, by in found.items() if not any(fnmatchcase(line, each) for each in ANSWERS)}
    unseen = [pattern for pattern in ANSWERS if not any(fnmatchcase(line, pattern) for line in found)]
    print(f"\n{count} answers compared")
    for what, reason in {**CODES, **OUTPUTS, **ANSWERS}.items():
        print(f"{what}: {reason}")
    assert (unlisted, unseen) == ({}, [])
    assert count > 300


def _differences(theirs: Reply, ours: Reply) -> Iterator[str]:
    sorted_ones = [
        sorted(reply.exchanges, key=lambda exchange: (plain_target(exchange.target), exchange.method))
        for reply in (theirs, ours)
    ]
    asked = [[f"{each.method} {plain_target(each.target)}" for each in exchanges] for exchanges in sorted_ones]
    if asked[0] != asked[1]:
        yield f"requests: {sorted(set(asked[0]) ^ set(asked[1]))}"
        return
    for request, one, other in zip(asked[0], *sorted_ones, strict=True):
        if one.status != other.status:
            yield f"{request}: status {one.status}, ours {other.status}"
        else:
            values = any(fnmatchcase(request, pattern) for pattern in VALUES)
            found = compare_bodies(one.body, other.body, values=values)
            yield from (f"{request}: {difference}" for difference in found)
