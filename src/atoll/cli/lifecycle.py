"""`atoll stop`, `restart`, `kill`, `rm`, `pause`, `unpause`, `wait`, `rename`, `update` and `container prune`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from atoll.cli.changes import change, confirm, each, filters
from atoll.cli.command import Command
from atoll.cli.container_body import limits
from atoll.cli.container_values import restart_policy
from atoll.cli.http import Client, ServerError, quote
from atoll.cli.parser import changing, common, confirmed
from atoll.cli.units import human_size, parse_integer

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_LIMITS = (
    ("-m --memory", "BYTES", "memory limit, 64m"),
    ("--memory-reservation", "BYTES", "memory that it keeps when memory is short"),
    ("--memory-swap", "BYTES", "memory and swap together, -1 for no limit of swap"),
    ("--cpus", "NUMBER", "processors' worth of time, 1.5"),
    ("-c --cpu-shares", "N", "share of processors that are busy"),
    ("--cpu-period", "US", "period of the scheduler"),
    ("--cpu-quota", "US", "time in a period"),
    ("--cpuset-cpus", "LIST", "processors, 0-2,4"),
    ("--cpuset-mems", "LIST", "memory nodes"),
    ("--pids-limit", "N", "processes, -1 for no limit"),
    ("--restart", "POLICY", "no, always, unless-stopped or on-failure[:N]"),
)


def add_stop(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll stop web", "atoll stop --timeout 1 web db")
    _add_ending(command)
    _several(command, _stopping("stop"))


def add_restart(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll restart web", "atoll restart -t 0 web")
    _add_ending(command)
    _several(command, _stopping("restart"))


def add_kill(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll kill web", "atoll kill -s HUP web")
    command.add_argument("-s", "--signal", metavar="SIGNAL", default="", help="another signal (KILL)")
    _several(command, _kill)


def add_rm(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll rm web", "atoll rm --force web db")
    command.add_argument("-f", "--force", action="store_true", help="also what runs")
    command.add_argument("-v", "--volumes", action="store_true", help="with their volumes that have no name")
    command.add_argument("-l", "--link", action="store_true", help=argparse.SUPPRESS)
    _several(command, _rm)


def add_pause(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll pause web",)
    _several(command, _plain("pause"))


def add_unpause(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll unpause web",)
    _several(command, _plain("unpause"))


def add_wait(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll wait job",)
    common(command)
    command.add_argument("names", nargs="+", metavar="CONTAINER", help="names or ids of containers")
    command.set_defaults(run=_wait)


def add_rename(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll rename web site",)
    changing(command)
    command.add_argument("name", metavar="CONTAINER", help="name or id of the container")
    command.add_argument("new_name", metavar="NAME", help="its new name")
    command.set_defaults(run=_rename)


def add_update(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll update --memory 128m --restart always web",)
    for spelled, metavar, text in _LIMITS:
        command.add_argument(*spelled.split(), metavar=metavar, default="", help=text)
    _several(command, _update)


def add_prune(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll container prune", "atoll container prune -f --filter label=job")
    confirmed(command)
    command.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE", help="label= or label!=")
    command.set_defaults(run=_prune)


def _add_ending(command: Command) -> None:
    command.add_argument("-t", "--timeout", "--time", metavar="SECONDS", default="", help="until it is killed (10)")
    command.add_argument(
        "-s", "--signal", metavar="SIGNAL", default="", help="what asks it to end, in place of its own"
    )


def _several(command: Command, act: Callable[[argparse.Namespace, Client, str], Any]) -> None:
    """A command that does the same to several containers, and prints the name of each that it was done to."""
    changing(command)
    command.add_argument("names", nargs="+", metavar="CONTAINER", help="names or ids of containers")

    def run(args: argparse.Namespace, client: Client) -> int:
        def told(name: str) -> None:
            if act(args, client, name) is not None:
                print(name)

        return each(args.names, told, verbose=args.verbose)

    command.set_defaults(run=run)


def _plain(verb: str) -> Callable[[argparse.Namespace, Client, str], Any]:
    return lambda args, client, name: change(client, args, "POST", f"/containers/{quote(name)}/{verb}")


def _stopping(verb: str) -> Callable[[argparse.Namespace, Client, str], Any]:
    def act(args: argparse.Namespace, client: Client, name: str) -> Any:
        query = {"t": str(parse_integer("--timeout", args.timeout))} if args.timeout else {}
        query |= {"signal": args.signal} if args.signal else {}
        return change(client, args, "POST", f"/containers/{quote(name)}/{verb}", query=query, timeout_s=None)

    return act


def _kill(args: argparse.Namespace, client: Client, name: str) -> Any:
    query = {"signal": args.signal} if args.signal else {}
    return change(client, args, "POST", f"/containers/{quote(name)}/kill", query=query)


def _rm(args: argparse.Namespace, client: Client, name: str) -> Any:
    query = {word: "1" for word, wanted in (("force", args.force), ("v", args.volumes)) if wanted}
    try:
        return change(client, args, "DELETE", f"/containers/{quote(name)}", query=query)
    except ServerError as error:
        # As with Docker: with --force what isn't there is told, and no failure.
        if not args.force or error.status != 404:
            raise
        print(f"atoll: {error.message}", file=sys.stderr)
        return None


def _wait(args: argparse.Namespace, client: Client) -> int:
    def wait(name: str) -> None:
        print(json.loads(b"".join(client.begin("POST", f"/containers/{quote(name)}/wait")))["StatusCode"])

    return each(args.names, wait, verbose=args.verbose)


def _rename(args: argparse.Namespace, client: Client) -> int:
    change(client, args, "POST", f"/containers/{quote(args.name)}/rename", query={"name": args.new_name})
    return 0


def _update(args: argparse.Namespace, client: Client, name: str) -> Any:
    body = limits(args)
    body |= {
        field: text for field, text in (("CpusetCpus", args.cpuset_cpus), ("CpusetMems", args.cpuset_mems)) if text
    }
    if args.restart:
        body["RestartPolicy"] = restart_policy(args.restart)
    return change(client, args, "POST", f"/containers/{quote(name)}/update", body)


def _prune(args: argparse.Namespace, client: Client) -> int:
    question = "This removes all containers that don't run. Go on?"
    if not args.force and not args.dry_run and not confirm(question, "atoll container prune"):
        return 1
    answer = change(client, args, "POST", "/containers/prune", query=filters(args.filter))
    if answer is not None:
        print_pruned("Containers", answer.get("ContainersDeleted"), answer)
    return 0


def print_pruned(what: str, removed: list[str] | None, answer: dict[str, Any]) -> None:
    """What a prune has removed, as Docker's command prints it."""
    if removed:
        print(f"Deleted {what}:", *removed, "", sep="\n")
    print(f"Total reclaimed space: {human_size(answer.get('SpaceReclaimed') or 0, digits=4)}")
