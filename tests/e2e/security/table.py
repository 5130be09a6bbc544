"""The outcomes as text: a line for what is asked of which network, a column an origin."""

from collections.abc import Iterable, Mapping

from tests.e2e.security.cells import Cell, Origin, Target
from tests.e2e.security.nets import NETS
from tests.e2e.security.rules import Outcome, expected

WIDTH = 26


def render(results: Mapping[Cell, Outcome | str], surroundings: str) -> str:
    """The table of one stage: what was seen, `!` before what was not expected, protocols apart where they differ."""
    head = f"{'network':<17}{'asked':<34}" + "".join(f"{origin.value:<{WIDTH}}" for origin in Origin).rstrip()
    lines = [f"{surroundings}: who answers, and as whom the client is seen", head]
    for net in NETS:
        for target in Target:
            rows = [cell for cell in results if (cell.net, cell.target) == (net, target)]
            if rows:
                shown = "".join(f"{_show(results, [c for c in rows if c.origin is o]):<{WIDTH}}" for o in Origin)
                lines.append(f"{net:<17}{target.value:<34}{shown}".rstrip())
    return "\n".join(lines) + "\n"


def render_pairs(results: Mapping[Cell, Outcome | str], surroundings: str) -> str:
    """A line for each network that asks, a column for each that is asked: what is open to it."""
    lines = [f"{surroundings}: what a container of one network reaches of another", ""]
    lines.append(f"{'from, to':<17}" + "".join(f"{net:<17}" for net in NETS).rstrip())
    for asker in NETS:
        shown = [_opened([c for c in results if (c.asker, c.net) == (asker, net)], results) for net in NETS]
        lines.append(f"{asker:<17}" + "".join(f"{text:<17}" for text in shown).rstrip())
    lines.append("host: by the host's address; ports: published ports at the container; all: any port of it; ping")
    return "\n".join(lines) + "\n"


def _opened(cells: list[Cell], results: Mapping[Cell, Outcome | str]) -> str:
    if not cells:
        return ""
    found = {cell.target for cell in cells if results[cell] is not Outcome.CLOSED}
    mark = "" if all(results[cell] == expected(cell) for cell in cells) else "!"
    words = {Target.HOST_ANY: "host", Target.OWN_ANY: "ports", Target.OWN_UNPUBLISHED: "all", Target.PING: "ping"}
    skipped = Target.OWN_ANY if Target.OWN_UNPUBLISHED in found else None
    return mark + (" ".join(word for target, word in words.items() if target in found - {skipped}) or "-")


def failing(results: Mapping[Cell, Outcome | str]) -> list[str]:
    """A line for each cell that didn't come out as it must."""
    return [
        f"{cell.id}: expected {_word(expected(cell))}, got {_word(seen)}"
        for cell, seen in results.items()
        if seen != expected(cell)
    ]


def _show(results: Mapping[Cell, Outcome | str], cells: Iterable[Cell]) -> str:
    """One word where all families and protocols agree."""
    groups: dict[str, list[str]] = {}
    for cell in cells:
        mark = "" if results[cell] == expected(cell) else "!"
        groups.setdefault(f"{mark}{_word(results[cell])}", []).append(f"{cell.protocol}{cell.version}")
    if len(groups) < 2:
        return next(iter(groups), "")
    by_family = {word: {name[-1] for name in names} for word, names in groups.items()}
    if sum(map(len, by_family.values())) == len(set().union(*by_family.values())):
        return ", ".join(f"v{''.join(sorted(families))} {word}" for word, families in by_family.items())
    return ", ".join(f"{word} ({' '.join(names)})" for word, names in groups.items())


def _word(outcome: Outcome | str) -> str:
    return "closed" if outcome is Outcome.CLOSED else str(outcome)
