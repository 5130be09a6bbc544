"""The matrix as text: a line a form, protocol and family; a column an origin."""

from collections.abc import Mapping

from tests.e2e.matrix.cells import PROTOCOLS, VERSIONS, Cell, Form, Origin
from tests.e2e.matrix.rules import DEVIATIONS, Outcome, expected

WIDTH = 16


def render(results: Mapping[Cell, Outcome | str], bridge_nf_call: int) -> str:
    """The table of one setting: what was seen, `!` before what was not expected."""
    head = f"{'port':<23}{'':<11}" + "".join(f"{origin.value:<{WIDTH}}" for origin in Origin).rstrip()
    lines = [f"bridge-nf-call = {bridge_nf_call}: who answers, and which client address the container sees", head]
    by_key = {(c.form, c.protocol, c.version, c.origin): c for c in results}
    for form in Form:
        for protocol in PROTOCOLS:
            for version in VERSIONS:
                row = [by_key.get((form, protocol, version, origin)) for origin in Origin]
                shown = "".join(f"{_show(cell, results):<{WIDTH}}" for cell in row)
                lines.append(f"{form.value.label:<23}{protocol:<5}{f'IPv{version}':<6}{shown}".rstrip())
    return "\n".join([*lines, "", *(f"{_word(d.outcome):<8} {d.why}" for d in DEVIATIONS)]) + "\n"


def failing(results: Mapping[Cell, Outcome | str]) -> list[str]:
    """A line for each cell that didn't come out as it must."""
    return [
        f"{cell.id}: expected {_word(expected(cell))}, got {_word(seen)}"
        for cell, seen in results.items()
        if seen != expected(cell)
    ]


def _show(cell: Cell | None, results: Mapping[Cell, Outcome | str]) -> str:
    if cell is None:
        return ""
    mark = "" if results[cell] == expected(cell) else "! "
    return mark + str(results[cell])[: WIDTH - 3]


def _word(outcome: Outcome | str) -> str:
    return "closed" if outcome is Outcome.CLOSED else str(outcome)
