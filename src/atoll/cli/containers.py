"""`atoll ps`, `logs`, `start`, `stop` and `rm`: containers, in Docker's words."""

from __future__ import annotations

import argparse
import time

from atoll.cli.changes import each, filters
from atoll.cli.command import Command
from atoll.cli.http import Client, quote
from atoll.cli.parser import common, formatted
from atoll.cli.render import print_rows, short_id
from atoll.cli.streams import Frames, show

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_HEADERS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
    "State": "STATE",
    "Networks": "NETWORKS",
}
_COMMAND_WIDTH = 20


def add_ps(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = (
        "atoll ps",
        "atoll ps --all --filter network=front",
        "atoll ps --format '{{.Names}} {{.Status}}'",
    )
    formatted(command)
    command.add_argument("-a", "--all", action="store_true", help="also those that don't run")
    command.add_argument("-q", "--quiet", action="store_true", help="ids only")
    command.add_argument("--no-trunc", action="store_true", help="whole ids and commands")
    command.add_argument(
        "-f", "--filter", action="append", default=[], metavar="KEY=VALUE", help="name=, status=, network=, label=..."
    )
    command.set_defaults(run=_ps)


def add_logs(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll logs web", "atoll logs --follow --tail 10 web")
    common(command)
    command.add_argument("-f", "--follow", action="store_true", help="go on as long as the container runs")
    command.add_argument("-t", "--timestamps", action="store_true", help="each line's time before it")
    command.add_argument("-n", "--tail", metavar="N", default="all", help="only the last lines")
    command.add_argument("name", metavar="CONTAINER", help="name or id of the container")
    command.set_defaults(run=_logs)


def add_start(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll start web",)
    _several(command)
    command.set_defaults(run=_start)


def add_stop(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll stop web", "atoll stop --time 1 web db")
    command.add_argument("-t", "--time", metavar="SECONDS", default="", help="until it is killed (10)")
    _several(command)
    command.set_defaults(run=_stop)


def add_rm(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll rm web", "atoll rm --force web db")
    command.add_argument("-f", "--force", action="store_true", help="also what runs")
    command.add_argument("-v", "--volumes", action="store_true", help="with their volumes that have no name")
    _several(command)
    command.set_defaults(run=_rm)


def _several(command: Command) -> None:
    common(command)
    command.add_argument("names", nargs="+", metavar="CONTAINER", help="names or ids of containers")


def _ps(args: argparse.Namespace, client: Client) -> int:
    query = {**filters(args.filter), **({"all": "1"} if args.all else {})}
    rows = [_row(line, whole=args.no_trunc) for line in client.get("/containers/json", query)]
    if args.quiet:
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    else:
        print_rows(_HEADERS, rows, ("ID", "Image", "Command", "CreatedAt", "Status", "Ports", "Names"), args.format)
    return 0


def _row(line: dict[str, Any], *, whole: bool) -> dict[str, str]:
    command = line["Command"]
    if not whole and len(command) > _COMMAND_WIDTH:
        command = f"{command[: _COMMAND_WIDTH - 1]}…"
    return {
        "ID": short_id(line["Id"], whole=whole),
        "Image": line["Image"],
        "Command": f'"{command}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["Created"])),
        "Status": line["Status"],
        "Ports": ports_text(line["Ports"]),
        "Names": ",".join(name.removeprefix("/") for name in line["Names"]),
        "State": line["State"],
        "Networks": ",".join(line["NetworkSettings"]["Networks"]),
    }


def ports_text(ports: list[dict[str, Any]]) -> str:
    """Ports in one cell; those that follow each other on both sides as one range, as Docker's command shows them."""
    runs: list[list[Any]] = []
    keyed = [(p["Type"], p.get("IP", ""), p["PrivatePort"], p.get("PublicPort", 0)) for p in ports]
    for protocol, address, inside, outside in sorted(keyed, key=lambda port: (port[0], port[1], port[2])):
        last = runs[-1] if runs else None
        if last and last[:2] == [protocol, address] and last[3] == inside - 1 and last[5] == (outside and outside - 1):
            last[3], last[5] = inside, outside
        else:
            runs.append([protocol, address, inside, inside, outside, outside])
    return ", ".join(_run_text(*run) for run in runs)


def _run_text(protocol: str, address: str, inside: int, inside_end: int, outside: int, outside_end: int) -> str:
    private = f"{_range(inside, inside_end)}/{protocol}"
    shown = f"[{address}]" if ":" in address else address
    return f"{shown}:{_range(outside, outside_end)}->{private}" if outside else private


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _logs(args: argparse.Namespace, client: Client) -> int:
    path = f"/containers/{quote(args.name)}"
    tty = client.get(f"{path}/json")["Config"]["Tty"]
    query = {"stdout": "1", "stderr": "1", "tail": args.tail}
    query |= {word: "1" for word in ("follow", "timestamps") if getattr(args, word)}
    frames = Frames()
    for content in client.begin("GET", f"{path}/logs", query):
        for number, part in ((1, content),) if tty else frames.take(content):
            show(number, part)
    return 0


def _start(args: argparse.Namespace, client: Client) -> int:
    return _each(args, lambda name: client.request("POST", f"/containers/{quote(name)}/start"))


def _stop(args: argparse.Namespace, client: Client) -> int:
    query = {"t": args.time} if args.time else {}
    return _each(args, lambda name: client.request("POST", f"/containers/{quote(name)}/stop", query=query))


def _rm(args: argparse.Namespace, client: Client) -> int:
    query = {"force": "1"} if args.force else {}
    query |= {"v": "1"} if args.volumes else {}
    return _each(args, lambda name: client.request("DELETE", f"/containers/{quote(name)}", query=query))


def _each(args: argparse.Namespace, act: Any) -> int:
    def told(name: str) -> None:
        act(name)
        print(name)

    return each(args.names, told, verbose=args.verbose)
