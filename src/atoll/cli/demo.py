"""`atoll demo`: hands over to the lab."""

from __future__ import annotations

import argparse

from atoll.cli.command import Command
from atoll.cli.http import Client


def add_demo(command: Command) -> None:
    """All arguments, `-h` too, are the demo's own."""
    command.examples = ("atoll demo", "atoll demo docker", "atoll demo -h")
    command.set_defaults(run=_demo)


def _demo(args: argparse.Namespace, client: Client) -> int:
    from atoll.lab.demo import main

    return main(args.rest)
