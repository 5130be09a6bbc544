"""`atoll version`: of the command, and of the daemon when one answers."""

from __future__ import annotations

import argparse

from atoll import __version__
from atoll.cli.command import Command
from atoll.cli.http import Client
from atoll.cli.parser import formatted
from atoll.cli.render import columns, print_objects
from atoll.errors import Unavailable

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any


def add_version(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll version", "atoll version --format '{{.Server.Version}}'")
    formatted(command)
    command.set_defaults(run=_version)


def _version(args: argparse.Namespace, client: Client) -> int:
    versions: dict[str, Any] = {"Client": {"Version": __version__}, "Server": None}
    try:
        versions["Server"] = client.get("/version")
    except Unavailable:
        if args.format and args.format != "json":
            raise
    if args.format:
        print_objects([versions], args.format)
        return 0
    server = versions["Server"]
    rows = [("client", __version__, ""), ("daemon", "not running" if server is None else server["Version"], "")]
    if server is not None:
        rows.append(("docker api", f"{server['ApiVersion']} (oldest {server['MinAPIVersion']})", ""))
    print("\n".join(line.rstrip() for line in columns(rows)))
    return 0
