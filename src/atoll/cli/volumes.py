"""`atoll volume`: what containers keep."""

from __future__ import annotations

import argparse

from atoll.cli.changes import change, confirm, each, filters, key_values
from atoll.cli.command import Command
from atoll.cli.http import Client, quote
from atoll.cli.inspecting import add_inspect_arguments
from atoll.cli.lifecycle import print_pruned
from atoll.cli.parser import changing, confirmed, formatted
from atoll.cli.render import labels_text, print_rows

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_HEADERS: dict[str, Any] = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Labels": "LABELS",
    "Label": lambda key: key,
    "Mountpoint": "MOUNTPOINT",
    "Scope": "SCOPE",
}


def add_volume(group: Command) -> None:
    """Add the commands of the group."""
    group.examples = ("atoll volume ls", "atoll volume create kept", "atoll run -v kept:/data busybox ls /data")
    ls = group.command(
        "ls", "List volumes.", run=_ls, examples=("atoll volume ls", "atoll volume ls -q -f dangling=true")
    )
    formatted(ls)
    ls.add_argument("-q", "--quiet", action="store_true", help="names only")
    ls.add_argument(
        "-f", "--filter", action="append", default=[], metavar="KEY=VALUE", help="dangling=, driver=, label=, name="
    )
    create = group.command(
        "create", "Make a volume and print its name.", run=_create, examples=("atoll volume create kept",)
    )
    changing(create)
    create.add_argument("-d", "--driver", metavar="DRIVER", default="local", help="local")
    create.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="label")
    create.add_argument("name", nargs="?", metavar="NAME", default="", help="by default one that nobody else has")
    inspect = group.command("inspect", "Show all about volumes.", examples=("atoll volume inspect kept",))
    add_inspect_arguments(inspect, "VOLUME", "volume")
    rm = group.command("rm", "Remove volumes that no container mounts.", run=_rm, examples=("atoll volume rm kept",))
    changing(rm)
    rm.add_argument("-f", "--force", action="store_true", help="no error when a volume is not there")
    rm.add_argument("names", nargs="+", metavar="VOLUME", help="names of volumes")
    prune = group.command(
        "prune",
        "Remove volumes that no container mounts and that have no name.",
        run=_prune,
        examples=("atoll volume prune", "atoll volume prune --all --force"),
    )
    confirmed(prune)
    prune.add_argument("-a", "--all", action="store_true", help="those with a name, too")
    prune.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE", help="label= or label!=")


def _ls(args: argparse.Namespace, client: Client) -> int:
    rows = [_row(volume) for volume in client.get("/volumes", filters(args.filter))["Volumes"]]
    if args.quiet and not args.format:
        print("".join(f"{row['Name']}\n" for row in rows), end="")
    else:
        print_rows(_HEADERS, rows, ("Driver", "Name"), args.format)
    return 0


def _row(volume: dict[str, Any]) -> dict[str, Any]:
    labels = volume.get("Labels") or {}
    named = {field: volume[field] for field in ("Driver", "Name", "Mountpoint", "Scope")}
    return {**named, "Labels": labels_text(labels), "Label": lambda key: labels.get(key, "")}


def _create(args: argparse.Namespace, client: Client) -> int:
    body = {"Name": args.name, "Driver": args.driver, "Labels": key_values("label", args.label)}
    answer = change(client, args, "POST", "/volumes/create", body)
    if answer is not None:
        print(answer["Name"])
    return 0


def _rm(args: argparse.Namespace, client: Client) -> int:
    query = {"force": "1"} if args.force else {}

    def remove(name: str) -> None:
        if change(client, args, "DELETE", f"/volumes/{quote(name)}", query=query) is not None:
            print(name)

    return each(args.names, remove, verbose=args.verbose)


def _prune(args: argparse.Namespace, client: Client) -> int:
    which = "that no container mounts" if args.all else "that no container mounts and that have no name"
    if (
        not args.force
        and not args.dry_run
        and not confirm(f"This removes all volumes {which}. Go on?", "atoll volume prune")
    ):
        return 1
    wanted = [*args.filter, *(["all=true"] if args.all else [])]
    answer = change(client, args, "POST", "/volumes/prune", query=filters(wanted))
    if answer is not None:
        print_pruned("Volumes", answer.get("VolumesDeleted"), answer)
    return 0
