"""`atoll inspect`: all about containers, images, networks, volumes and sandboxes, whichever has the name."""

from __future__ import annotations

import argparse

from atoll.cli.command import Command
from atoll.cli.http import Client, ServerError, quote
from atoll.cli.parser import formatted
from atoll.cli.render import print_objects, report
from atoll.errors import NotFound

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
    "sandbox": "/atoll/sandboxes/{}",
}
"""Route of each kind, in the order in which a name is looked for, as Docker's command does."""


def add_inspect(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll inspect web", "atoll inspect -f '{{.State.Status}}' web", "atoll inspect --type image x")
    command.add_argument("--type", choices=tuple(PATHS), metavar="KIND", help=", ".join(PATHS))
    add_inspect_arguments(command, "NAME")


def add_inspect_arguments(command: Command, metavar: str, kind: str | None = None) -> None:
    """The arguments of every `inspect`; `kind` is the only one of a group's."""
    formatted(command, "-f")
    command.add_argument("-s", "--size", action="store_true", help="how much a container has written")
    command.add_argument("names", nargs="+", metavar=metavar, help="names or ids")
    command.set_defaults(run=_inspect, **({"type": kind} if kind else {}))


def _inspect(args: argparse.Namespace, client: Client) -> int:
    found, status = [], 0
    for name in args.names:
        try:
            found.append(_find(client, name, [args.type] if args.type else list(PATHS), size=args.size))
        except (ServerError, NotFound) as error:
            report(error, verbose=args.verbose)
            status = 1
    if found or not args.format:
        print_objects(found, args.format)
    return status


def _find(client: Client, name: str, kinds: list[str], *, size: bool) -> Any:
    for kind in kinds:
        try:
            return client.get(PATHS[kind].format(quote(name)), {"size": "1"} if size and kind == "container" else None)
        except ServerError as error:
            if error.status != 404 or len(kinds) == 1:
                raise
    raise NotFound(f"No such object: {name}", hint="atoll ps --all")
