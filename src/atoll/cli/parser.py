"""The tree of commands, and the options that many of them share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from atoll import __version__
from atoll.cli.command import Command

RUN_DIRECTORY = "/run/atoll"
"""Where the daemon keeps its socket and log unless told otherwise."""

_COMMANDS = (
    ("network", "networks", "Networks: list, make, remove, connect."),
    ("sandbox", "sandboxes", "Sandboxes: network namespaces with places on networks."),
    ("run", "running", "Run a command in a new container."),
    ("create", "running", "Make a container that is started later."),
    ("start", "running", "Start containers."),
    ("stop", "lifecycle", "Stop containers: ask them to end, and kill them after a while."),
    ("restart", "lifecycle", "Stop containers and start them again."),
    ("kill", "lifecycle", "Send a signal to containers."),
    ("pause", "lifecycle", "Freeze containers."),
    ("unpause", "lifecycle", "Let frozen containers go on."),
    ("rm", "lifecycle", "Remove containers."),
    ("ps", "containers", "List containers."),
    ("exec", "running", "Run a command in a container that runs."),
    ("attach", "running", "Join our streams to those of a container that runs."),
    ("logs", "containers", "Show what a container has written."),
    ("inspect", "inspecting", "Show all about containers, images, networks, volumes and sandboxes."),
    ("cp", "copying", "Copy files between a container and this host."),
    ("stats", "watching", "Show what containers use, as it changes."),
    ("top", "watching", "Show the processes of a container."),
    ("wait", "lifecycle", "Wait until containers end, and print their exit statuses."),
    ("rename", "lifecycle", "Give a container another name."),
    ("update", "lifecycle", "Change limits and restart policies of containers."),
    ("container", "grouped", "Containers: the commands above, in Docker's longer words, and prune."),
    ("images", "images", "List images."),
    ("pull", "transfers", "Fetch an image from a registry."),
    ("load", "transfers", "Load images of an archive, as `docker save` makes it."),
    ("import", "transfers", "Make an image of a tar of a root."),
    ("rmi", "images", "Remove images."),
    ("tag", "images", "Give an image one more name."),
    ("image", "images", "Images: the commands above, prune, and one where there is no registry."),
    ("volume", "volumes", "Volumes: list, make, remove."),
    ("port", "ports", "Show the published ports of a container or sandbox."),
    ("rules", "rules", "Show which firewall rules and elements serve each network."),
    ("doctor", "doctor", "Say what stands in the way of networks here. Exit status: 1 warnings, 2 errors."),
    ("events", "events", "Show what happens, as it happens."),
    ("up", "daemon", "Start the daemon in the background."),
    ("down", "daemon", "Stop the daemon; networks, sandboxes and containers stay."),
    ("purge", "daemon", "Remove everything that atoll ever made, and stop the daemon."),
    ("daemon", "daemon", "Run the daemon in the foreground."),
    ("demo", "demo", "Show container networking on hosts made of namespaces."),
    ("completion", "completion", "Print the completion script of a shell."),
    ("version", "version", "Show the versions of the command and of the daemon."),
)
"""Command, the module of `atoll.cli` that has it as the function `add_COMMAND`, summary."""


def build_parser() -> Command:
    """The parser of the whole command line; commands are filled when they are parsed."""
    parser = Command(
        prog="atoll",
        summary="Container networks for Linux: Docker's network API on constant firewall rules.",
        examples=("atoll up", "atoll sandbox create web -p 8080:80", "atoll network ls"),
    )
    parser.add_argument("--version", action="version", version=f"atoll {__version__}")
    parser.add_argument("--socket", metavar="PATH", help=_SOCKET_HELP)
    parser.add_argument("--verbose", action="store_true", help=_VERBOSE_HELP)
    for name, module, summary in _COMMANDS:
        parser.command(name, summary, fill=_filler(module, name), rest=name == "demo")
    parser.command("__complete", "", fill=_filler("completion", "candidates"), rest=True)
    return parser


def socket_path(args: argparse.Namespace) -> str:
    """The daemon's socket: `--socket`, else ATOLL_SOCKET, else atoll.sock in the run directory."""
    run: str = getattr(args, "run_directory", None) or RUN_DIRECTORY
    return args.socket or os.environ.get("ATOLL_SOCKET") or f"{run}/atoll.sock"


def common(command: Command) -> None:
    """Let the options of `atoll` stand after the command's name as well."""
    command.add_argument("--socket", metavar="PATH", default=argparse.SUPPRESS, help=_SOCKET_HELP)
    command.add_argument("--verbose", action="store_true", default=argparse.SUPPRESS, help=_VERBOSE_HELP)


def changing(command: Command) -> None:
    """Options of a command that changes something."""
    common(command)
    command.add_argument("--dry-run", action="store_true", help="print the steps as commands, with reasons; do nothing")


def formatted(command: Command, *short: str) -> None:
    """Options of a command that shows something; `short` are further spellings of `--format`."""
    common(command)
    text = "json, table, a Go template, or 'table TEMPLATE'"
    command.add_argument(*short, "--format", metavar="FORMAT", default="", help=text)


def confirmed(command: Command) -> None:
    """Options of a command that asks before it removes."""
    changing(command)
    command.add_argument("-f", "--force", action="store_true", help="don't ask")


_SOCKET_HELP = f"the daemon's socket (default: $ATOLL_SOCKET, or {RUN_DIRECTORY}/atoll.sock)"
_VERBOSE_HELP = "on an error print its detail too"


def _filler(module: str, name: str) -> Callable[[Command], None]:
    def fill(command: Command) -> None:
        from importlib import import_module

        getattr(import_module(f"atoll.cli.{module}"), f"add_{name}")(command)

    return fill
