"""`atoll top` and `atoll stats`: what containers do and use."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping

from atoll.cli.command import Command
from atoll.cli.http import Client, ServerError, quote
from atoll.cli.parser import common, formatted
from atoll.cli.render import columns, print_rows, report, short_id
from atoll.cli.units import human_memory, human_size

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

INTERVAL_S = 1.0
"""Between two figures; a share of the processors is one between two."""
_TOP_WIDTH = 20
"""Source: docker top."""
_CLEAR = "\x1b[H\x1b[2J"
_HEADERS = {
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
    "Container": "CONTAINER",
}
_DEFAULT = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")


def add_top(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll top web", "atoll top web -o pid,args")
    common(command)
    command.add_argument("name", metavar="CONTAINER", help="name or id of the container")
    command.add_argument("options", nargs=argparse.REMAINDER, metavar="OPTION", help="options of ps(1)")
    command.set_defaults(run=_top)


def add_stats(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll stats", "atoll stats --no-stream --format '{{.Name}} {{.CPUPerc}}' web")
    formatted(command)
    command.add_argument("-a", "--all", action="store_true", help="also those that don't run")
    command.add_argument("--no-stream", action="store_true", help="one figure of each")
    command.add_argument("--no-trunc", action="store_true", help="whole ids")
    command.add_argument("names", nargs="*", metavar="CONTAINER", help="names or ids of containers (all that run)")
    command.set_defaults(run=_stats)


def _top(args: argparse.Namespace, client: Client) -> int:
    query = {"ps_args": " ".join(args.options)} if args.options else {}
    found = client.get(f"/containers/{quote(args.name)}/top", query)
    for line in columns([found["Titles"], *found["Processes"]], width_min=_TOP_WIDTH):
        print(line)
    return 0


def _stats(args: argparse.Namespace, client: Client) -> int:
    """Exit status: 1 when one of those that were named is not there."""
    last: dict[str, Any] = {}
    live = not args.no_stream
    while True:
        names = args.names or _all(client, ended=args.all)
        last = _figures(client, names, last)
        if any("cpu" in figure for figure in last.values()) or not last or not any(map(_runs, last.values())):
            rows = [_row(figure, whole=args.no_trunc) for figure in last.values()]
            if live and sys.stdout.isatty():
                print(_CLEAR, end="")
            print_rows(_HEADERS, rows, _DEFAULT, args.format)
            sys.stdout.flush()
            if not live:
                return int(len(last) < len(args.names))
        time.sleep(INTERVAL_S)


def _all(client: Client, *, ended: bool) -> list[str]:
    return [line["Id"] for line in client.get("/containers/json", {"all": "1"} if ended else None)]


def _figures(client: Client, names: Iterable[str], last: Mapping[str, Any]) -> dict[str, Any]:
    """A figure of each container that is there, with its share of the processors since the `last` one."""
    found: dict[str, Any] = {}
    for name in names:
        try:
            figure = client.get(f"/containers/{quote(name)}/stats", {"stream": "0", "one-shot": "1"})
        except ServerError as error:
            if name not in last and len(name) != 64:
                report(error, verbose=False)
            continue
        if name in last:
            figure["cpu"] = _cpu_percent(last[name]["cpu_stats"], figure["cpu_stats"])
        found[name] = figure
    return found


def _runs(figure: Mapping[str, Any]) -> bool:
    return bool(figure.get("pids_stats"))


def _cpu_percent(before: Mapping[str, Any], now: Mapping[str, Any]) -> float:
    """Source: calculateCPUPercentUnix in Docker's CLI, cli/command/container/stats_helpers.go."""
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    return used / passed * now.get("online_cpus", 1) * 100 if passed > 0 and used > 0 else 0.0


def _row(figure: Mapping[str, Any], *, whole: bool) -> dict[str, str]:
    memory = figure.get("memory_stats") or {}
    used, limit = _memory_used(memory), memory.get("limit") or 0
    networks = (figure.get("networks") or {}).values()
    received, sent = (sum(each[f"{way}_bytes"] for each in networks) for way in ("rx", "tx"))
    blocks = (figure.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    read, written = (sum(each["value"] for each in blocks if each["op"] == op) for op in ("read", "write"))
    shown = short_id(figure["id"], whole=whole)
    return {
        "ID": shown,
        "Name": figure["name"].removeprefix("/"),
        "CPUPerc": f"{figure.get('cpu', 0.0):.2f}%",
        "MemUsage": f"{human_memory(used)} / {human_memory(limit)}",
        "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
        "NetIO": f"{human_size(received)} / {human_size(sent)}",
        "BlockIO": f"{human_size(read)} / {human_size(written)}",
        "PIDs": str((figure.get("pids_stats") or {}).get("current", 0)),
        "Container": shown,
    }


def _memory_used(memory: Mapping[str, Any]) -> int:
    """Without the page cache that can be given up: `total_inactive_file` in cgroup v1, `inactive_file` in v2."""
    stats, usage = memory.get("stats") or {}, memory.get("usage") or 0
    for name in ("total_inactive_file", "inactive_file"):
        if name in stats:
            return int(usage - stats[name]) if stats[name] < usage else int(usage)
    return int(usage)
