"""`atoll image` and `atoll images`: what containers begin with."""

from __future__ import annotations

import argparse
import time

from atoll.cli.changes import each
from atoll.cli.command import Command
from atoll.cli.http import Client, quote
from atoll.cli.parser import common, formatted
from atoll.cli.render import print_rows, short_id

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_HEADERS = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedAt": "CREATED AT", "Size": "SIZE"}


def add_image(group: Command) -> None:
    """Add the commands of the group."""
    group.examples = ("atoll image bootstrap", "atoll image ls")
    bootstrap = group.command(
        "bootstrap",
        "Make busybox:latest of this host's busybox, where there is no registry.",
        run=_bootstrap,
        examples=("atoll image bootstrap",),
    )
    common(bootstrap)
    add_images(group.command("ls", "List images.", examples=("atoll image ls",)))
    rm = group.command("rm", "Remove images.", run=_rm, examples=("atoll image rm busybox",))
    common(rm)
    rm.add_argument("-f", "--force", action="store_true", help="also those that containers are of, or with more names")
    rm.add_argument("names", nargs="+", metavar="IMAGE", help="names or ids of images")


def add_images(command: Command) -> None:
    """Add the arguments of `atoll images`, which is `atoll image ls`."""
    command.examples = command.examples or ("atoll images",)
    formatted(command)
    command.add_argument("-q", "--quiet", action="store_true", help="ids only")
    command.set_defaults(run=_ls)


def _bootstrap(args: argparse.Namespace, client: Client) -> int:
    print("\n".join(client.request("POST", "/atoll/images/bootstrap")["RepoTags"]))
    return 0


def _ls(args: argparse.Namespace, client: Client) -> int:
    rows = [row for image in client.get("/images/json") for row in _rows(image)]
    if args.quiet:
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    else:
        print_rows(_HEADERS, rows, tuple(_HEADERS), args.format)
    return 0


def _rows(image: dict[str, Any]) -> list[dict[str, str]]:
    names = [name.rpartition(":") for name in image["RepoTags"]] or [("<none>", ":", "<none>")]
    return [
        {
            "Repository": repository,
            "Tag": tag,
            "ID": short_id(image["Id"].removeprefix("sha256:")),
            "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(image["Created"])),
            "Size": f"{image['Size'] / 1e6:.3g}MB",
        }
        for repository, _, tag in names
    ]


def _rm(args: argparse.Namespace, client: Client) -> int:
    def remove(name: str) -> None:
        query = {"force": "1"} if args.force else {}
        for line in client.request("DELETE", f"/images/{quote(name)}", query=query):
            print(": ".join(*line.items()))

    return each(args.names, remove, verbose=args.verbose)
