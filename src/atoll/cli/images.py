"""`atoll image`, `images`, `rmi` and `tag`: what containers begin with. Pulls and loads are in `transfers.py`."""

from __future__ import annotations

import argparse
import time

from atoll.cli.changes import confirm, each, filters
from atoll.cli.command import Command
from atoll.cli.http import Client, quote
from atoll.cli.inspecting import add_inspect_arguments
from atoll.cli.lifecycle import print_pruned
from atoll.cli.parser import common, formatted
from atoll.cli.render import print_rows, short_id
from atoll.cli.transfers import add_import, add_load, add_pull
from atoll.cli.units import human_age, human_size

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_HEADERS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
}
_DEFAULT = ("Repository", "Tag", "ID", "CreatedSince", "Size")
_NONE = "<none>"


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
    inspect = group.command("inspect", "Show all about images.", examples=("atoll image inspect busybox",))
    add_inspect_arguments(inspect, "IMAGE", "image")
    add_pull(group.command("pull", "Fetch an image from a registry.", examples=("atoll image pull busybox",)))
    add_load(group.command("load", "Load images of an archive.", examples=("atoll image load -i saved.tar",)))
    add_import(
        group.command("import", "Make an image of a tar of a root.", examples=("atoll image import root.tar mine:1",))
    )
    add_tag(group.command("tag", "Give an image one more name.", examples=("atoll image tag busybox mine:1",)))
    add_rmi(group.command("rm", "Remove images.", examples=("atoll image rm busybox",)))
    prune = group.command("prune", "Remove images without a name.", run=_prune, examples=("atoll image prune -a -f",))
    common(prune)
    prune.add_argument("-f", "--force", action="store_true", help="don't ask")
    prune.add_argument("-a", "--all", action="store_true", help="all that no container is of")
    prune.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE", help="label=")


def add_images(command: Command) -> None:
    """Add the arguments of `atoll images`, which is `atoll image ls`."""
    command.examples = command.examples or ("atoll images", "atoll images --digests busybox")
    formatted(command)
    add = command.add_argument
    add("-a", "--all", action="store_true", help="accepted as Docker does: there are no intermediate images")
    add("-q", "--quiet", action="store_true", help="ids only")
    add("--digests", action="store_true", help="as which digest a registry has them")
    add("--no-trunc", action="store_true", help="whole ids")
    add(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="before=, dangling=, label=, reference=, since=",
    )
    add("pattern", nargs="?", metavar="IMAGE", help="only those of this name, which may have * and ?")
    command.set_defaults(run=_ls)


def add_rmi(command: Command) -> None:
    """Add the arguments of `atoll rmi`, which is `atoll image rm`."""
    command.examples = command.examples or ("atoll rmi busybox",)
    common(command)
    command.add_argument(
        "-f", "--force", action="store_true", help="also with more names, or when containers are of it"
    )
    command.add_argument("--no-prune", action="store_true", help=argparse.SUPPRESS)
    command.add_argument("names", nargs="+", metavar="IMAGE", help="names or ids of images")
    command.set_defaults(run=_rm)


def add_tag(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = command.examples or ("atoll tag busybox mine:1",)
    common(command)
    command.add_argument("image", metavar="IMAGE", help="name or id of the image")
    command.add_argument("target", metavar="NAME[:TAG]", help="its further name")
    command.set_defaults(run=_tag)


def _bootstrap(args: argparse.Namespace, client: Client) -> int:
    print("\n".join(client.request("POST", "/atoll/images/bootstrap")["RepoTags"]))
    return 0


def _ls(args: argparse.Namespace, client: Client) -> int:
    wanted = [*args.filter, *([f"reference={args.pattern}"] if args.pattern else [])]
    rows = [row for image in client.get("/images/json", filters(wanted)) for row in _rows(image, whole=args.no_trunc)]
    if args.quiet and not args.format:
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    else:
        fields = ("Repository", "Tag", "Digest", *_DEFAULT[2:]) if args.digests else _DEFAULT
        print_rows(_HEADERS, rows, fields, args.format)
    return 0


def _rows(image: dict[str, Any], *, whole: bool) -> list[dict[str, str]]:
    digests = dict(name.partition("@")[::2] for name in image.get("RepoDigests") or ())
    named = [name.rpartition(":") for name in image.get("RepoTags") or ()]
    if not named:
        named = [(repository, ":", _NONE) for repository in digests] or [(_NONE, ":", _NONE)]
    return [
        {
            "Repository": repository,
            "Tag": tag,
            "Digest": digests.get(repository, _NONE),
            "ID": image["Id"] if whole else short_id(image["Id"].removeprefix("sha256:")),
            "CreatedSince": f"{human_age(time.time() - image['Created'])} ago",
            "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(image["Created"])),
            "Size": human_size(image["Size"]),
        }
        for repository, _, tag in named
    ]


def _rm(args: argparse.Namespace, client: Client) -> int:
    query = {"force": "1"} if args.force else {}

    def remove(name: str) -> None:
        for line in client.request("DELETE", f"/images/{quote(name)}", query=query):
            for what, image in line.items():
                print(f"{what}: {image}")

    return each(args.names, remove, verbose=args.verbose)


def _tag(args: argparse.Namespace, client: Client) -> int:
    repository, tag = split_name(args.target)
    client.request("POST", f"/images/{quote(args.image)}/tag", query={"repo": repository, "tag": tag})
    return 0


def split_name(text: str) -> tuple[str, str]:
    """Repository and tag of a name; a colon before a slash is a registry's port."""
    repository, colon, tag = text.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (text, "")


def _prune(args: argparse.Namespace, client: Client) -> int:
    which = "that no container is of" if args.all else "without a name"
    if (
        not args.force
        and not args.dry_run
        and not confirm(f"This removes all images {which}. Go on?", "atoll image prune")
    ):
        return 1
    wanted = [*args.filter, *(["dangling=false"] if args.all else [])]
    answer = client.request("POST", "/images/prune", query=filters(wanted))
    if answer:
        removed = [f"{what.lower()}: {name}" for line in answer["ImagesDeleted"] or () for what, name in line.items()]
        print_pruned("Images", removed, answer)
    return 0
