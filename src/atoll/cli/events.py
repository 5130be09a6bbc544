"""`atoll events`: what happens, as it happens, in Docker's layout."""

from __future__ import annotations

import argparse
import time

from atoll.cli.changes import filters
from atoll.cli.command import Command
from atoll.cli.http import Client
from atoll.cli.parser import formatted

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any


def add_events(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = (
        "atoll events",
        "atoll events --since 10m --until 0s",
        "atoll events --filter type=network --format '{{.Action}} {{.Actor.Attributes.name}}'",
    )
    formatted(command)
    command.add_argument(
        "-f", "--filter", action="append", default=[], metavar="KEY=VALUE", help="type=, event=, network=, container="
    )
    command.add_argument(
        "--since", metavar="TIME", default="", help="also what happened since (10m, RFC 3339, Unix time)"
    )
    command.add_argument("--until", metavar="TIME", default="", help="stop at this time")
    command.set_defaults(run=_events)


def _events(args: argparse.Namespace, client: Client) -> int:
    query = filters(args.filter)
    for key in ("since", "until"):
        text = getattr(args, key)
        if text:
            from atoll.cli.timestamps import timestamp

            query[key] = timestamp(text, time.time())
    line = _line_of(args.format)
    for event in client.stream("/events", query):
        print(line(event), flush=True)
    return 0


def _line_of(fmt: str) -> Any:
    """The function from an event to its line."""
    if fmt in ("", "table"):
        return event_line
    if fmt == "json":
        import json

        return json.dumps
    from atoll.cli.template import Template

    return Template(fmt).render


def event_line(event: dict[str, Any]) -> str:
    """An event as `docker events` prints it, in local time."""
    nanoseconds: int = event["timeNano"]
    local = time.localtime(nanoseconds // 10**9)
    zone = time.strftime("%z", local)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", local) + f".{nanoseconds % 10**9:09d}{zone[:3]}:{zone[3:]}"
    actor = event.get("Actor") or {}
    attributes = ", ".join(f"{key}={value}" for key, value in sorted((actor.get("Attributes") or {}).items()))
    line = f"{stamp} {event['Type']} {event['Action']} {actor.get('ID', '')}"
    return f"{line} ({attributes})" if attributes else line
