"""Telling a scenario: numbered steps, each with what is done, what the kernel shows, and checks that decide.

Plain text; colour only on a terminal that wants it.
"""

import os
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

WIDTH = 110
_STYLES = {"bold": "1", "dim": "2", "green": "32", "red": "31", "cyan": "36"}


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step went: `failed` has a line for each check that did not hold."""

    title: str
    checks: int
    failed: tuple[str, ...]


class Story:
    """A narrator that writes to `stream`, and remembers what failed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = stream.isatty() and not os.environ.get("NO_COLOR")
        self._begun = time.monotonic()
        self._checks = 0
        self._failed: list[str] = []
        self.results: list[StepResult] = []

    @property
    def passed(self) -> bool:
        """True when every step so far held."""
        return bool(self.results) and not any(result.failed for result in self.results)

    def open(self, title: str, drawing: str) -> None:
        """The head of the story."""
        self._line(self._paint(title, "bold"))
        self._line()
        self._line(textwrap.dedent(drawing).strip("\n"))

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step. What goes wrong inside fails this step and the story goes on."""
        self._checks, self._failed = 0, []
        number = len(self.results) + 1
        head = f"── {number}. {title} "
        self._line()
        self._line(self._paint(head + "─" * max(3, WIDTH - len(head)), "bold"))
        try:
            yield
        except Exception as error:
            self.check(f"the step runs to its end: {type(error).__name__}", False, str(error))
        result = StepResult(title, self._checks, tuple(self._failed))
        self.results.append(result)
        if result.failed:
            self._line(self._paint(f"   FAIL  {len(result.failed)} of {result.checks} checks", "red"))
        else:
            self._line(self._paint(f"   PASS  {result.checks} checks", "green"))

    def say(self, text: str) -> None:
        """A paragraph of explanation."""
        for line in textwrap.wrap(" ".join(text.split()), WIDTH - 3):
            self._line(f"   {line}")

    def typed(self, where: str, command: str) -> None:
        """A command as typed on a host or in a sandbox."""
        self._line(f"   {self._paint(f'{where}$', 'cyan')} {command}")

    def same_as(self, lines: str) -> None:
        """The commands that would do the same by hand."""
        for line in lines.splitlines():
            shown = textwrap.wrap(
                line, WIDTH - 8, subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
            )
            for part in shown:
                self._line(self._paint(f"      | {part}", "dim"))

    def show(self, text: str, *, lines_max: int = 12) -> None:
        """What a command printed; the rest is counted."""
        lines = text.rstrip("\n").splitlines()
        for line in lines[:lines_max]:
            self._line(f"      {line}"[: WIDTH + 20].rstrip())
        if len(lines) > lines_max:
            self._line(f"      ... {len(lines) - lines_max} more lines")

    def check(self, promise: str, holds: bool, seen: object = "") -> None:
        """Decide one promise; `seen` says what was there instead when it doesn't hold."""
        self._checks += 1
        mark = self._paint("ok  ", "green") if holds else self._paint("NOT ", "red")
        self._line(f"   {mark} {promise}")
        if not holds:
            self._failed.append(promise)
            self._line(f"        seen: {str(seen)[:600]}")

    def close(self) -> None:
        """The end: every step in a line, and the time it took."""
        self._line()
        for number, result in enumerate(self.results, 1):
            word = self._paint("FAIL", "red") if result.failed else self._paint("PASS", "green")
            self._line(f"   {word}  {number:>2}. {result.title}")
            for promise in result.failed:
                self._line(f"             not: {promise}")
        checks = sum(result.checks for result in self.results)
        took_s = time.monotonic() - self._begun
        self._line()
        self._line(f"   {len(self.results)} steps, {checks} checks, {took_s:.1f} s")

    def _line(self, text: str = "") -> None:
        print(text, file=self._stream, flush=True)

    def _paint(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colour else text
