"""Output: tables as Docker lays them out, `--format`, steps of a dry run, errors. Colour only on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from atoll.errors import AtollError, InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any, TextIO

CELL_WIDTH_MIN, CELL_PADDING = 10, 3
"""Source: the tabwriter of Docker's CLI, cli/command/formatter."""

_STYLES = {"bold": "1", "dim": "2", "red": "31", "yellow": "33", "cyan": "36"}


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style (bold, dim, red, yellow, cyan) where `stream` (stdout) is a terminal that wants colour."""
    stream = stream or sys.stdout
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of aligned columns under a header, laid out as Docker's; no trailing newline."""
    first, *others = columns([header, *rows])
    return "\n".join((paint(first, "bold"), *others))


def columns(
    rows: Sequence[Sequence[str]], *, width_min: int = CELL_WIDTH_MIN, padding: int = CELL_PADDING
) -> list[str]:
    """Rows of equally many cells as lines; the last cell of a line is not padded."""
    widths = [max(width_min, max(map(len, column)) + padding) for column in zip(*rows, strict=True)]
    return ["".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + row[-1] for row in rows]


def print_rows(headers: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], default: Sequence[str], fmt: str) -> None:
    """Print a list by `--format`.

    `headers` gives the column title of every field that a row has; `default` the fields of the
    plain table. `json` is one object a line, as Docker prints it; a field that is a function is for templates alone,
    which give it arguments. Raises InvalidRequest for a bad template.
    """
    if fmt in ("", "table"):
        print(table([headers[field] for field in default], [[row[field] for field in default] for row in rows]))
    elif fmt == "json":
        import json

        for row in rows:
            print(json.dumps({field: value for field, value in row.items() if not callable(value)}))
    else:
        from atoll.cli.template import Template

        text = fmt.removeprefix("table ") if fmt.startswith("table ") else fmt
        template = Template(text)
        if text is fmt:
            for row in rows:
                print(template.render(row))
        else:
            lines = [template.render(row).split("\t") for row in (headers, *rows)]
            print(table(lines[0], lines[1:]))


def print_objects(objects: Sequence[Any], fmt: str) -> None:
    """Print inspected objects by `--format`: an indented JSON array, or one line or table an object."""
    import json

    if fmt in ("", "json"):
        print(json.dumps(objects, indent=None if fmt else 4))
    elif fmt == "table":
        for each in objects:
            print(table(("FIELD", "VALUE"), list(_flat(each, ""))))
    elif fmt.startswith("table "):
        raise InvalidRequest("a table with columns of one's own is for lists", hint="--format 'TEMPLATE'")
    else:
        from atoll.cli.template import Template

        template = Template(fmt)
        for each in objects:
            print(template.render(each))


def print_steps(steps: Iterable[Mapping[str, str]]) -> None:
    """Print a dry run: each step as a person would type it, below the reason where it is a new one."""
    reason = None
    for step in steps:
        if step.get("Reason") and step["Reason"] != reason:
            reason = step["Reason"]
            print(paint(f"# {reason}", "dim"))
        print(step["Line"])


def report(error: AtollError, *, verbose: bool) -> None:
    """Print an error, its hint, and, if `verbose`, its detail to stderr."""
    print(paint("atoll:", "red", sys.stderr), error.message, file=sys.stderr)
    if error.hint:
        print(f"  try: {error.hint}", file=sys.stderr)
    if error.detail and verbose:
        for line in error.detail.splitlines():
            print(f"  detail: {line}", file=sys.stderr)


def warn(message: str) -> None:
    """Print a warning to stderr."""
    print(paint("atoll: warning:", "yellow", sys.stderr), message, file=sys.stderr)


def short_id(record_id: str, *, whole: bool = False) -> str:
    """The first 12 digits of an id, all of it if `whole`."""
    return record_id if whole else record_id[:12]


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Labels in one cell, `a=1,b=2`."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items()))


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    else:
        yield path, "" if value in ({}, [], None) else str(value)
