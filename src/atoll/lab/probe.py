"""Real exchanges of packets: who answers a question, and which client it saw."""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from atoll.lab.namespace import CommandFailed, Namespace

OPEN_WAIT_S = 3.0
"""How long an answer that is expected may take."""
CLOSED_WAIT_S = 0.4
"""How long to wait for an answer that must not come; every path in a lab takes less than a millisecond."""


@dataclass(frozen=True, slots=True)
class Question:
    """One exchange to try: `protocol` is tcp, udp, sctp or icmp (an echo; `port` means nothing).

    `wait_s` runs from the start of the asking.
    """

    protocol: str
    address: str
    port: int
    wait_s: float = OPEN_WAIT_S


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question. `server` is who answered, "" when nobody; then `error` says how it failed.

    `client` and `client_port` are whom the server saw; an echo's server is the address that replied, which tells
    nothing of its client.
    """

    server: str = ""
    client: str = ""
    client_port: int = 0
    error: str = ""

    def __str__(self) -> str:
        return f"{self.server} saw {self.client}" if self.server else f"no answer ({self.error})"


class Answerer:
    """A process that answers on many ports of a namespace with its name and the client it saw."""

    def __init__(self, space: Namespace, name: str, ports: Iterable[tuple[str, str, int]]) -> None:
        """`ports` are (protocol, address, port); the address may be 0.0.0.0 or ::. Raises CommandFailed."""
        texts = [f"{protocol}/{address}/{port}" for protocol, address, port in ports]
        self._process = space.start(space.program("answer", name, *texts))
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            _, said = self._process.communicate()
            raise CommandFailed(f"answerer {name} did not start: {said.strip()}")

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Asking:
    """Questions under way in one process; many may run side by side."""

    def __init__(self, space: Namespace, questions: Mapping[str, Question]) -> None:
        self._space = space
        self._ids: Sequence[str] = tuple(questions)
        self._process = space.start(space.program("ask"))
        rows = [[key, q.protocol, q.address, q.port, q.wait_s] for key, q in questions.items()]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(rows))
        self._process.stdin.close()
        self._process.stdin = None

    def answers(self) -> dict[str, Answer]:
        """Wait for all answers. Raises CommandFailed."""
        try:
            out, said = self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        if self._process.returncode != 0:
            raise CommandFailed(f"asking in {self._space.name} failed: {said.strip()}")
        return {key: _answer(*row) for key, row in json.loads(out).items()}


def ask(space: Namespace, questions: Mapping[str, Question]) -> dict[str, Answer]:
    """Ask all questions at once from a namespace and wait for the answers, by the same keys."""
    return Asking(space, questions).answers()


def ask_one(space: Namespace, protocol: str, address: str, port: int, *, wait_s: float = OPEN_WAIT_S) -> Answer:
    """Ask one question."""
    return ask(space, {"it": Question(protocol, address, port, wait_s)})["it"]


def _answer(text: str, error: str) -> Answer:
    if error:
        return Answer(error=error)
    server, client, port = text.split(" ")
    return Answer(server, client, int(port))
