"""What the suite found, kept to be written down: whole tables, and a line for each promise that a test decided."""

from pathlib import Path

BUILD = Path(__file__).parents[3] / "build"


class Ledger:
    """Findings of one stage."""

    def __init__(self, surroundings: str) -> None:
        self.surroundings = surroundings
        self._tables: list[str] = []
        self._lines: list[tuple[str, str, bool]] = []

    def text(self, table: str) -> None:
        """Keep a table."""
        self._tables.append(table)

    def decide(self, promise: str, where: str, *, kept: bool, seen: str = "") -> None:
        """Keep one finding; `seen` says what was seen when the promise was not kept."""
        self._lines.append((promise, where + (f": {seen}" if seen and not kept else ""), kept))

    def broken(self) -> list[str]:
        """The promises that were not kept."""
        return [f"{promise}, {where}" for promise, where, kept in self._lines if not kept]

    def write(self, name: str) -> str:
        """Write everything under build/ and return it."""
        lines = [f"{'kept' if kept else 'BROKEN':<8}{promise:<78}{where}" for promise, where, kept in self._lines]
        whole = "\n".join([*self._tables, *lines]) + "\n"
        BUILD.mkdir(exist_ok=True)
        (BUILD / name).write_text(whole)
        return whole
