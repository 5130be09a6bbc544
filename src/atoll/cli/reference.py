"""`python -m atoll.cli.reference >docs/cli.md`: every command, written from the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from atoll.cli.command import Command
from atoll.cli.parser import build_parser

_EVERYWHERE = ("help", "socket", "verbose")

_HEAD = """\
# Commands

Written by `python -m atoll.cli.reference >docs/cli.md`; a test keeps it true.

Every command takes `-h`, `--socket PATH` (default: `$ATOLL_SOCKET`, or `/run/atoll/atoll.sock`) and `--verbose`,
which adds an error's detail.
Exit status: 0 done, 1 refused (`atoll: MESSAGE` and a line `try: COMMAND` on stderr), 2 the command line can't be used.
`--dry-run` prints the steps as the lines a person would type, each below its reason, and does nothing.
`--format` is `json`, `table`, a Go template (`'{{.Name}} {{json .}}'`, with range, if, index, join, upper, lower, len,
eq, not), or `'table {{.ID}}\\t{{.Name}}'` for a table with one's own columns.
"""


def reference() -> str:
    """The page, in Markdown."""
    return "\n".join((_HEAD, *_command_lines(build_parser().filled())))


def _command_lines(command: Command) -> Iterator[str]:
    for name, inner in command.commands.items():
        if name.startswith("_"):
            continue
        inner.filled()
        if inner.commands:
            yield from (f"## {inner.prog}", "", inner.description or "", "")
        else:
            yield from _leaf(inner)
        yield from _command_lines(inner)


def _leaf(command: Command) -> Iterator[str]:
    depth = "##" if command.prog.count(" ") == 1 else "###"
    positionals = command._get_positional_actions()
    options = [action for action in command._get_optional_actions() if action.dest not in _EVERYWHERE]
    usage = [command.prog, *(["[OPTIONS]"] if options else []), *map(_usage, positionals)]
    yield from (f"{depth} {command.prog}", "", command.description or "", "", f"    {' '.join(usage)}", "")
    if positionals or options:
        yield from ("| argument | |", "|---|---|")
        yield from (f"| `{_spelling(action)}` | {_escaped(action.help)} |" for action in (*positionals, *options))
        yield ""
    yield from ("```console", *(f"$ {line}" for line in command.examples), "```", "")


def _usage(action: argparse.Action) -> str:
    name = str(action.metavar)
    match action.nargs:
        case "+":
            return f"{name}..."
        case "*" | "?":
            return f"[{name}]" if action.nargs == "?" else f"[{name}...]"
        case argparse.REMAINDER:
            return f"[{name}...]"
        case _:
            return name


def _spelling(action: argparse.Action) -> str:
    if not action.option_strings:
        return _escaped(str(action.metavar))
    value = "" if action.nargs == 0 else f" {action.metavar}"
    return _escaped(", ".join(action.option_strings) + value)


def _escaped(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
