"""The argument parser: argparse with Docker's habits, filled only when its command is the one typed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence

TYPE_CHECKING = False  # importing typing would cost a tenth of the whole process
if TYPE_CHECKING:
    from typing import Any, NoReturn

_BOOLEANS = {"=true": True, "=1": True, "=false": False, "=0": False}


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal, at most 110 columns."""

    def __init__(self, prog: str) -> None:
        # argparse would import shutil for the width, with it bz2 and lzma, even when no help is asked.
        super().__init__(prog, max_help_position=32, width=min(_terminal_columns() - 2, 110))


class Command(argparse.ArgumentParser):
    """A command or a group of commands. One without a summary is not shown.

    `fill` adds arguments and subcommands the first time they are needed, so that a command line
    pays for its own command only. Options may stand before and after names, and flags take
    `=true` and `=false`, as Docker's do. With `rest` everything after the command,
    `-h` too, is handed on as `args.rest`.
    """

    def __init__(
        self,
        *,
        prog: str,
        summary: str = "",
        examples: Sequence[str] = (),
        fill: Callable[[Command], None] | None = None,
        rest: bool = False,
    ) -> None:
        super().__init__(
            prog=prog,
            description=summary,
            formatter_class=Formatter,
            allow_abbrev=False,
            add_help=not rest,
            # An option of the command's own goes before the help's -h: `docker run -h NAME`.
            conflict_handler="resolve",
        )
        self.usage_status = 2
        """Exit status when the command line can't be used."""
        self.examples = tuple(examples)
        self.commands: dict[str, Command] = {}
        self._fill = fill
        self._rest = rest
        self._interleaving = False
        self._group: argparse._SubParsersAction[Command] | None = None

    def filled(self) -> Command:
        """This command with its arguments and subcommands."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        return self

    def command(
        self,
        name: str,
        summary: str,
        *,
        run: Callable[..., int] | None = None,
        examples: Sequence[str] = (),
        fill: Callable[[Command], None] | None = None,
        rest: bool = False,
    ) -> Command:
        """Add a subcommand. `run` gets the parsed arguments and a Client, and returns the exit status."""
        if self._group is None:
            self._group = self.add_subparsers(metavar="COMMAND", title="commands", parser_class=Command)
            self.set_defaults(run=lambda args, client: self._no_command())
        shown: dict[str, Any] = {"help": summary.removesuffix(".")} if summary else {}
        made = self._group.add_parser(name, **shown, summary=summary, examples=examples, fill=fill, rest=rest)
        self.commands[name] = made
        if run is not None:
            made.set_defaults(run=run)
        return made

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, with the habits above."""
        given = list(sys.argv[1:] if args is None else args)
        self.filled()
        if given == ["-h"]:
            # Also where -h is an option of its own that wants a value.
            given = ["--help"]
        if self._rest:
            namespace = argparse.Namespace() if namespace is None else namespace
            namespace.rest = given
            namespace.run = self.get_default("run")
            return namespace, []
        positionals = self._get_positional_actions()
        hands_on = any(action.nargs in (argparse.REMAINDER, argparse.PARSER) for action in positionals)
        if self._interleaving:
            return super().parse_known_args(given, namespace)
        if hands_on:
            namespace, unknown = super().parse_known_args(list(self._leading_flags(given)), namespace)
            return self._all_known(namespace, unknown)
        self._interleaving = True
        try:
            flags = [flag for word in given if (flag := self._flag(word)) is not None]
            namespace, unknown = self.parse_known_intermixed_args(flags, namespace)
        finally:
            self._interleaving = False
        return self._all_known(namespace, unknown)

    def _all_known(self, namespace: Any, unknown: list[str]) -> Any:
        if unknown:
            self.error(f"unknown argument {' '.join(unknown)}")
        return namespace, []

    def format_help(self) -> str:
        """The help, with the examples below it."""
        if self.examples:
            self.epilog = "\n".join(("examples:", *(f"  {line}" for line in self.examples)))
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line and exit."""
        self.exit(self.usage_status, f"atoll: {message}\n  try: {self.prog} -h\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action is self._group and value not in self.commands:
            raise argparse.ArgumentError(None, f"unknown command {value!r}")
        super()._check_value(action, value)

    def _flag(self, word: str) -> str | None:
        """A flag without the value that it was written with; None for one that is off, and is so anyway."""
        for suffix, value in _BOOLEANS.items():
            name = word.removesuffix(suffix)
            action = self._option_string_actions.get(name)
            if name != word and action is not None and action.nargs == 0:
                off = f"--no-{name[2:]}"
                return name if value else off if off in self._option_string_actions else None
        return word

    def _leading_flags(self, words: list[str]) -> Iterator[str]:
        """The words with the flags before the first name as argparse wants them: what follows is another program's."""
        given = iter(words)
        for word in given:
            if word == "--" or not word.startswith("-") or word == "-":
                yield word
                break
            flag = self._flag(word)
            if flag is not None:
                yield flag
            if self._takes_next(word):
                yield from (value for _, value in zip((0,), given, strict=False))
        yield from given

    def _takes_next(self, word: str) -> bool:
        """Whether the word after this option is its value."""
        action = self._option_string_actions.get(word)
        if action is not None or word.startswith("--"):
            return action is not None and action.nargs != 0
        # Several flags in one word, `-it`: the first that wants a value has the rest of the word, or the next one.
        for at, letter in enumerate(word[1:], 2):
            action = self._option_string_actions.get(f"-{letter}")
            if action is None or action.nargs != 0:
                return action is not None and at == len(word)
        return False

    def _no_command(self) -> int:
        self.print_help(sys.stderr)
        return 2


def _terminal_columns() -> int:
    try:
        return int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size(1).columns or 80
    except (ValueError, OSError):
        return 80
