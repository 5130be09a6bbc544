"""The page docs/benchmarks.md: the machine, the figures, the limits. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from bench.section import Limit, Row, Section, Unit

_HEAD = """# Benchmarks

Written by `make bench`; no figure here is typed by hand. What stands in one table was measured in one run, the
contestants by turns, another one first each time; a row is the median of *n* values, *half of all* is between their
quartiles. Absolute times are this machine's; what carries over is the factors. Everything runs on hosts made of
network namespaces, the others unpacked from Debian's packages into namespaces of their own.
"""


def page(sections: Sequence[Section], machine: Mapping[str, str], command: str) -> str:
    """The whole page as Markdown; `command` repeats the run."""
    parts = [_HEAD, f"Repeat it: `{command}`\n", _machine(machine), _limits(sections)]
    parts += [section_text(section) for section in sections]
    return "\n".join(parts)


def section_text(section: Section) -> str:
    """One subject: heading, what was done, its table."""
    lines = [f"## {section.title}", "", section.text, "", *_table(section), ""]
    return "\n".join(lines)


def limit_lines(limits: Sequence[Limit]) -> list[str]:
    """The limits as rows of a table."""
    return [f"| {' | '.join(_cells(limit))} |" for limit in limits]


def _cells(limit: Limit) -> list[str]:
    return [limit.promise, _at(limit), _with_unit(limit.unit, limit.found), "yes" if limit.met else "**no**"]


def _at(limit: Limit) -> str:
    return f"at {'least' if limit.least else 'most'} {_with_unit(limit.unit, limit.limit)}"


def _with_unit(unit: Unit, value: float) -> str:
    return f"{unit.show(value)} {unit.name}".rstrip()


def _machine(machine: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in machine.items()), ""])


def _limits(sections: Sequence[Section]) -> str:
    lines = ["## Limits", "", "What the project has set itself, and whether this run kept it.", ""]
    lines += ["| | limit | found | kept |", "|---|---|---|---|"]
    for section in sections:
        lines += limit_lines(section.limits)
    return "\n".join([*lines, ""])


def _table(section: Section) -> Iterator[str]:
    against = [section.base] if section.base else []
    yield f"| {' | '.join(['', 'who', 'median', 'half of all', 'n', *against])} |"
    yield f"|{'---|' * (5 + len(against))}"
    last = ""
    for row in section.rows:
        what = "" if row.what == last else row.what
        last = row.what
        factor = [] if not against else [f"{row.factor:.2f}" if row.factor is not None else ""]
        yield f"| {' | '.join([what, row.who, *_spread(row), *factor])} |"


def _spread(row: Row) -> list[str]:
    samples, unit = row.samples, row.unit
    count = len(samples.values)
    middle = f"{unit.show(samples.quantile(25))} to {unit.show(samples.quantile(75))}" if count > 1 else ""
    return [_with_unit(unit, samples.median), middle, str(count)]
