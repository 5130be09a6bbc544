"""How far a pull or a load is: bars on a terminal, lines elsewhere. Takes the lines of Docker's API, jsonmessage.

Law: rich is imported when there is a terminal to draw on, never before.
"""

from __future__ import annotations

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol, TextIO

    class Display(Protocol):
        """Shows a progress. `moves`: it is worth being told of every step of it."""

        moves: bool

        def tell(self, line: Mapping[str, Any]) -> None:
            """Show a line of the answer."""

        def sent(self, what: str, done_bytes: int, total_bytes: int) -> None:
            """Show how much has been sent; the total is 0 where nobody knows."""

        def close(self) -> None:
            """The end: what was drawn stays."""


_STEPS = {"Pulling fs layer": 0, "Downloading": 0, "Extracting": 1, "Pull complete": 2, "Already exists": 2}
"""How far a layer is that says so, of `_STEPS_MAX`."""
_STEPS_MAX = 2


class Silence:
    """Shows nothing but what was made."""

    moves = False

    def tell(self, line: Mapping[str, Any]) -> None:
        """Only what a load prints as its result."""
        if line.get("stream"):
            print(line["stream"], end="")

    def sent(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """A line for each that comes, as Docker's command prints where there is no terminal."""

    moves = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def tell(self, line: Mapping[str, Any]) -> None:
        """Print it."""
        of = f"{line['id']}: " if line.get("id") else ""
        print(line.get("stream") or f"{of}{line.get('status', '')}\n", end="", file=self._stream, flush=True)

    def sent(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """Nothing: it would be many lines."""

    def close(self) -> None:
        """Nothing."""


class Bars:
    """A bar for each layer, and one for what is sent."""

    moves = True

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.fields[name]}"),
            BarColumn(bar_width=30),
            TextColumn("{task.description}"),
            console=Console(file=stream),
        )
        self._tasks: dict[str, Any] = {}
        self._progress.start()

    def tell(self, line: Mapping[str, Any]) -> None:
        """Move the bar of a layer; what is of none stands above the bars."""
        status = str(line.get("status", ""))
        if not line.get("id"):
            self._progress.console.print((line.get("stream") or status).rstrip("\n"), markup=False, highlight=False)
            return
        detail = line.get("progressDetail") or {}
        done, total = _STEPS.get(status, 0), _STEPS_MAX
        if detail.get("total"):
            done, total = detail["current"], detail["total"]
        self._move(str(line["id"]), status, done, total)

    def sent(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """Move the bar of what is sent."""
        from atoll.cli.units import human_size

        known = f" / {human_size(total_bytes)}" if total_bytes else ""
        self._move(what, f"{human_size(done_bytes)}{known}", done_bytes, total_bytes or None)

    def close(self) -> None:
        """The end: the bars stay as they are."""
        self._progress.stop()

    def _move(self, name: str, text: str, done: int, total: int | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task("", name=name)
        self._progress.update(self._tasks[name], description=text, completed=done, total=total)
