"""`atoll ps` and `logs`, and the group `atoll container`: what there is, and what it has said."""

from __future__ import annotations

import argparse
import time

from atoll.cli.changes import filters
from atoll.cli.command import Command
from atoll.cli.http import Client, quote
from atoll.cli.parser import common, formatted
from atoll.cli.render import labels_text, print_rows, short_id
from atoll.cli.streams import Frames, show
from atoll.cli.units import human_age, human_size

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_HEADERS: dict[str, Any] = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "State": "STATE",
    "Labels": "LABELS",
    "Label": lambda key: key.rpartition(".")[2].replace("-", " ").replace("_", " "),
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
}
_DEFAULT = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_COMMAND_WIDTH, _MOUNT_WIDTH = 20, 15


def add_ps(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = command.examples or (
        "atoll ps",
        "atoll ps --all --filter network=front",
        "atoll ps --format '{{.Names}} {{.Status}}'",
    )
    formatted(command)
    add = command.add_argument
    add("-a", "--all", action="store_true", help="also those that don't run")
    add("-q", "--quiet", action="store_true", help="ids only")
    add("-s", "--size", action="store_true", help="how much they have written")
    add("-n", "--last", type=int, default=-1, metavar="N", help="the last N that were made, whatever they do")
    add("-l", "--latest", action="store_true", help="the last that was made")
    add("--no-trunc", action="store_true", help="whole ids and commands")
    add("-f", "--filter", action="append", default=[], metavar="KEY=VALUE", help=_FILTER_HELP)
    command.set_defaults(run=_ps)


_FILTER_HELP = (
    "ancestor=, before=, exited=, expose=, health=, id=, label=, name=, network=, publish=, since=, status=, volume="
)


def add_logs(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll logs web", "atoll logs --follow --tail 10 web", "atoll logs --since 10m -t web")
    common(command)
    add = command.add_argument
    add("-f", "--follow", action="store_true", help="go on as long as the container runs")
    add("-t", "--timestamps", action="store_true", help="each line's time before it")
    add("-n", "--tail", metavar="N", default="all", help="only the last lines")
    add("--since", metavar="TIME", default="", help="only what came since (10m, RFC 3339, Unix time)")
    add("--until", metavar="TIME", default="", help="only what came before")
    add("--details", action="store_true", help="accepted: no driver here adds any")
    add("name", metavar="CONTAINER", help="name or id of the container")
    command.set_defaults(run=_logs)


def _ps(args: argparse.Namespace, client: Client) -> int:
    limit = 1 if args.latest else args.last
    query = filters(args.filter)
    # Counting takes long, so it is done for who looks at it.
    sized = args.size or ".Size" in (args.format or "")
    query |= {word: "1" for word, wanted in (("all", args.all), ("size", sized)) if wanted}
    query |= {"limit": str(limit)} if limit > 0 else {}
    rows = [_row(line, whole=args.no_trunc) for line in client.get("/containers/json", query)]
    if args.quiet and not args.format:
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    else:
        print_rows(_HEADERS, rows, (*_DEFAULT, "Size") if args.size else _DEFAULT, args.format)
    return 0


def _row(line: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    labels = line.get("Labels") or {}
    mounts = [mount.get("Name") or mount.get("Source", "") for mount in line.get("Mounts") or ()]
    written, root = line.get("SizeRw") or 0, line.get("SizeRootFs") or 0
    return {
        "ID": short_id(line["Id"], whole=whole),
        "Image": line["Image"] or "<no image>",
        "Command": f'"{_cut(line["Command"], _COMMAND_WIDTH, whole)}"',
        "RunningFor": f"{human_age(time.time() - line['Created'])} ago",
        "Status": line["Status"],
        "Ports": ports_text(line["Ports"]),
        "Names": ",".join(name.removeprefix("/") for name in line["Names"]),
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(line["Created"])),
        "Size": human_size(written) + (f" (virtual {human_size(root)})" if root else ""),
        "State": line["State"],
        "Labels": labels_text(labels),
        "Label": lambda key: labels.get(key, ""),
        "Mounts": ",".join(_cut(name, _MOUNT_WIDTH, whole) for name in mounts),
        "LocalVolumes": str(sum(1 for mount in line.get("Mounts") or () if mount.get("Driver") == "local")),
        "Networks": ",".join(line["NetworkSettings"]["Networks"]),
    }


def _cut(text: str, width: int, whole: bool) -> str:
    return text if whole or len(text) <= width else f"{text[: width - 1]}…"


def ports_text(ports: list[dict[str, Any]]) -> str:
    """Ports in one cell; those that follow each other and keep their number on the host as one range.

    Source: DisplayablePorts in Docker's CLI, cli/command/formatter/container.go, the order too.
    """
    runs: dict[tuple[str, str], list[int]] = {}
    done, moved = [], []
    keyed = [(p["PrivatePort"], p.get("IP", ""), p.get("PublicPort", 0), p["Type"]) for p in ports]
    for inside, address, outside, protocol in sorted(keyed):
        if address and inside != outside:
            moved.append(f"{_bracketed(address)}:{outside}->{inside}/{protocol}")
            continue
        run = runs.setdefault((address, protocol), [inside, inside])
        if inside > run[1] + 1:
            done.append(_run_text(address, protocol, *run))
            run[0] = inside
        run[1] = inside
    return ", ".join([*done, *(_run_text(*key, *run) for key, run in runs.items()), *moved])


def _run_text(address: str, protocol: str, first: int, last: int) -> str:
    numbers = str(first) if first == last else f"{first}-{last}"
    return f"{_bracketed(address)}:{numbers}->{numbers}/{protocol}" if address else f"{numbers}/{protocol}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _logs(args: argparse.Namespace, client: Client) -> int:
    path = f"/containers/{quote(args.name)}"
    tty = client.get(f"{path}/json")["Config"]["Tty"]
    query = {"stdout": "1", "stderr": "1", "tail": args.tail}
    query |= {word: "1" for word in ("follow", "timestamps") if getattr(args, word)}
    for word in ("since", "until"):
        text = getattr(args, word)
        if text:
            from atoll.cli.timestamps import timestamp

            query[word] = timestamp(text, time.time())
    frames = Frames()
    for content in client.begin("GET", f"{path}/logs", query):
        for number, part in ((1, content),) if tty else frames.take(content):
            show(number, part)
    return 0
