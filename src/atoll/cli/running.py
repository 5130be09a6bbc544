"""`atoll run`, `create`, `start`, `attach` and `exec`: processes in containers, with their streams joined to ours."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator

from atoll.cli.changes import change, each
from atoll.cli.command import Command
from atoll.cli.container_body import create_body
from atoll.cli.container_options import add_container_options
from atoll.cli.container_values import environment
from atoll.cli.http import Client, ServerError, quote
from atoll.cli.parser import changing, common
from atoll.cli.render import report
from atoll.cli.streams import Keys, forwarded_signals, join
from atoll.errors import AtollError, Conflict, InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_STREAMS = ("stdin", "stdout", "stderr")
_REFUSED, _NOT_EXECUTABLE, _NOT_FOUND = 125, 126, 127
"""Exit statuses of `docker run` when nothing ran."""
_CODES = {
    "executable file not found": _NOT_FOUND,
    "no such file": _NOT_FOUND,
    "permission denied": _NOT_EXECUTABLE,
    "is a directory": _NOT_EXECUTABLE,
}


def add_run(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = (
        "atoll run --rm busybox echo hi",
        "atoll run -d --name web -p 8080:80 busybox httpd -f -h /www",
        "atoll run -it --network front busybox sh",
        "atoll run -it --join web busybox sh",
        "atoll run --dry-run -p 8080:80 busybox httpd -f",
    )
    command.usage_status = _REFUSED
    changing(command)
    add_container_options(command)
    command.add_argument("-d", "--detach", action="store_true", help="print the container's id and leave it running")
    _add_keys(command)
    command.set_defaults(run=_run)


def add_create(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll create --name web busybox httpd -f", "atoll create --join web busybox sh")
    changing(command)
    add_container_options(command)
    command.set_defaults(run=_create)


def add_start(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll start web", "atoll start -a -i client")
    changing(command)
    command.add_argument("-a", "--attach", action="store_true", help="join its output to ours, and forward signals")
    command.add_argument("-i", "--interactive", action="store_true", help="join our input to it, too")
    _add_keys(command)
    command.add_argument("names", nargs="+", metavar="CONTAINER", help="names or ids of containers")
    command.set_defaults(run=_start)


def add_attach(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll attach client", "atoll attach --detach-keys ctrl-a,d client")
    common(command)
    command.add_argument("--no-stdin", action="store_true", help="don't join our input")
    _add_keys(command)
    command.add_argument("name", metavar="CONTAINER", help="name or id of the container")
    command.set_defaults(run=_attach)


def add_exec(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll exec web ip address", "atoll exec -it web sh")
    common(command)
    add = command.add_argument
    add("-i", "--interactive", action="store_true", help="join our input to it")
    add("-t", "--tty", action="store_true", help="give it a terminal")
    add("-d", "--detach", action="store_true", help="leave it running")
    add("-e", "--env", action="append", default=[], metavar="NAME=VALUE", help="environment")
    add("--env-file", action="append", default=[], metavar="FILE", help="environment, a line each")
    add("-w", "--workdir", metavar="DIR", default="", help="directory that it begins in")
    add("-u", "--user", metavar="USER", default="", help="name or id, with :GROUP")
    add("--privileged", action="store_true", help="with all capabilities")
    add("--detach-keys", metavar="KEYS", default="", help=_KEYS_HELP)
    add("name", metavar="CONTAINER", help="name or id of the container")
    add("program", metavar="COMMAND", help="the command to run")
    add("argv", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="its arguments")
    command.set_defaults(run=_exec)


_KEYS_HELP = "keys that leave the terminal and the process running (ctrl-p,ctrl-q)"


def _add_keys(command: Command) -> None:
    command.add_argument("--detach-keys", metavar="KEYS", default="", help=_KEYS_HELP)
    command.add_argument(
        "--sig-proxy", action=argparse.BooleanOptionalAction, default=True, help="forward signals to it"
    )


def _run(args: argparse.Namespace, client: Client) -> int:
    """Exit status: the process's; 125 refused, 126 and 127 as a shell's."""
    try:
        if args.dry_run:
            change(client, args, "POST", "/containers/create", create_body(args, ()), {**_named(args), "start": "1"})
            return 0
        attached = () if args.detach else _wanted(args)
        _check_terminal(args.tty, "stdin" in attached)
        made = _made(args, client, attached)
        if attached:
            return _joined(made, args, client, attached, tty=args.tty, condition="removed" if args.rm else "next-exit")
        client.request("POST", f"/containers/{made}/start")
        print(made)
        return 0
    except AtollError as error:
        report(error, verbose=args.verbose)
        return next((code for word, code in _CODES.items() if word in error.message), _REFUSED)


def _create(args: argparse.Namespace, client: Client) -> int:
    if args.dry_run:
        change(client, args, "POST", "/containers/create", create_body(args, ()), _named(args))
    else:
        print(_made(args, client, _wanted(args)))
    return 0


def _wanted(args: argparse.Namespace) -> tuple[str, ...]:
    """Which streams are to be joined."""
    return tuple(name for name in args.attach or _STREAMS if name != "stdin" or args.interactive)


def _named(args: argparse.Namespace) -> dict[str, str]:
    query = {"name": args.name} if args.name else {}
    return query | ({"platform": args.platform} if args.platform else {})


def _made(args: argparse.Namespace, client: Client, attached: tuple[str, ...]) -> str:
    """The id of the new container; its image is pulled when `--pull` wants it."""
    body = create_body(args, attached)
    if args.cidfile and os.access(args.cidfile, os.F_OK):
        raise Conflict(f"container ID file found: {args.cidfile}", hint=f"rm {args.cidfile}")
    if args.pull == "always":
        _pull(args, client)
    try:
        answer = client.request("POST", "/containers/create", body, _named(args))
    except ServerError as error:
        if error.status != 404 or "No such image" not in error.message or args.pull != "missing":
            raise
        print(f"atoll: {args.image} is not here, pulling it", file=sys.stderr)
        _pull(args, client)
        answer = client.request("POST", "/containers/create", body, _named(args))
    made: str = answer["Id"]
    if args.cidfile:
        with open(args.cidfile, "w", encoding="ascii") as file:
            file.write(made)
    return made


def _pull(args: argparse.Namespace, client: Client) -> None:
    from atoll.cli.transfers import pull

    pull(client, args.image, platform=args.platform, quiet=args.quiet, stream=sys.stderr)


def _start(args: argparse.Namespace, client: Client) -> int:
    """Exit status: with --attach the process's."""
    if args.attach or args.interactive:
        if len(args.names) > 1:
            raise InvalidRequest("cannot attach to several containers at once", hint="atoll start NAME NAME")
        (name,) = args.names
        config = client.get(f"/containers/{quote(name)}/json")["Config"]
        attached = _STREAMS if args.interactive and config["OpenStdin"] else _STREAMS[1:]
        _check_terminal(config["Tty"], "stdin" in attached)
        return _joined(quote(name), args, client, attached, tty=config["Tty"], condition="next-exit")

    def start(name: str) -> None:
        if change(client, args, "POST", f"/containers/{quote(name)}/start") is not None:
            print(name)

    return each(args.names, start, verbose=args.verbose)


def _attach(args: argparse.Namespace, client: Client) -> int:
    """Exit status: the process's; 0 when it was left by keys."""
    found = client.get(f"/containers/{quote(args.name)}/json")
    if not found["State"]["Running"]:
        raise InvalidRequest(
            "You cannot attach to a stopped container, start it first", hint=f"atoll start {args.name}"
        )
    if found["State"]["Paused"]:
        raise InvalidRequest("You cannot attach to a paused container, unpause it first")
    tty, stdin = found["Config"]["Tty"], found["Config"]["OpenStdin"] and not args.no_stdin
    _check_terminal(tty, stdin)
    attached = _STREAMS if stdin else _STREAMS[1:]
    return _joined(found["Id"], args, client, attached, tty=tty, condition="not-running", start=False)


def _joined(
    container: str,
    args: argparse.Namespace,
    client: Client,
    attached: tuple[str, ...],
    *,
    tty: bool,
    condition: str,
    start: bool = True,
) -> int:
    """Attach, and start unless it runs; the exit status."""
    Keys(args.detach_keys)
    path, stdin = f"/containers/{container}", "stdin" in attached
    query = {"stream": "1", **dict.fromkeys(attached, "1")}
    if args.detach_keys:
        query["detachKeys"] = args.detach_keys
    with client.hijack(f"{path}/attach", query=query) as connection:
        ended = client.begin("POST", f"{path}/wait", {"condition": condition})
        if start:
            client.request("POST", f"{path}/start")
        with forwarded_signals(lambda name: _kill(client, path, name) if args.sig_proxy else sys.exit(130)):
            resize = _resizing(client, path)
            if not join(connection, tty=tty, stdin=stdin, resize=resize, detach_keys=args.detach_keys):
                return 0
            return _status(ended)


def _status(ended: Iterator[bytes]) -> int:
    answer = json.loads(b"".join(ended))
    if answer.get("Error"):
        print(f"atoll: {answer['Error'].get('Message', '')}", file=sys.stderr)
    status: int = answer["StatusCode"]
    return status


def _kill(client: Client, path: str, name: str) -> None:
    try:
        client.request("POST", f"{path}/kill", query={"signal": name})
    except ServerError:
        # It has ended, or not begun.
        return


def _exec(args: argparse.Namespace, client: Client) -> int:
    """Exit status: the process's; 126 and 127 as a shell's."""
    stdin = args.interactive and not args.detach
    _check_terminal(args.tty, stdin)
    body = {
        "Cmd": [args.program, *args.argv],
        "Env": environment(args),
        "User": args.user,
        "WorkingDir": args.workdir,
        "Privileged": args.privileged,
        "Tty": args.tty,
        "AttachStdin": stdin,
        "AttachStdout": not args.detach,
        "AttachStderr": not args.detach,
        "DetachKeys": args.detach_keys,
    }
    made = client.request("POST", f"/containers/{quote(args.name)}/exec", body)["Id"]
    path = f"/exec/{made}"
    begin = {"Detach": args.detach, "Tty": args.tty}
    if args.detach:
        client.request("POST", f"{path}/start", begin)
        return 0
    with client.hijack(f"{path}/start", begin) as connection:
        resize = _resizing(client, path)
        if not join(connection, tty=args.tty, stdin=stdin, resize=resize, detach_keys=args.detach_keys):
            return 0
    status: int = client.get(f"{path}/json")["ExitCode"]
    return status


def _check_terminal(tty: bool, stdin: bool) -> None:
    if tty and stdin and not sys.stdin.isatty():
        raise InvalidRequest("the input device is not a TTY", hint="leave out --tty")


def _resizing(client: Client, path: str) -> Any:
    def resize(height: int, width: int) -> None:
        # A process that has not begun, or has ended, has no terminal.
        try:
            client.request("POST", f"{path}/resize", query={"h": str(height), "w": str(width)})
        except ServerError:
            return

    return resize
