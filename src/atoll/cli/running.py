"""`atoll run` and `atoll exec`: processes in containers, with their streams joined to ours."""

from __future__ import annotations

import argparse
import json
import sys

from atoll.cli.changes import key_values
from atoll.cli.command import Command
from atoll.cli.http import Client, ServerError, quote
from atoll.cli.parser import common
from atoll.cli.streams import join
from atoll.errors import InvalidRequest, NotFound

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_REFUSED, _NOT_EXECUTABLE, _NOT_FOUND = 125, 126, 127
"""Exit statuses of `docker run` when nothing ran."""


def add_run(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = (
        "atoll run --rm busybox echo hi",
        "atoll run -d --name web -p 8080:80 busybox httpd -f -h /www",
        "atoll run -i -t --network front busybox sh",
    )
    common(command)
    _add_streams(command)
    add = command.add_argument
    add("-d", "--detach", action="store_true", help="print the container's id and leave it running")
    add("--rm", action="store_true", help="remove the container when it ends")
    add("--name", metavar="NAME", default="", help="the container's name")
    add("--network", metavar="NETWORK", default="default", help="a network, host, none or container:NAME")
    add("--hostname", metavar="NAME", default="", help="the host name inside")
    add("--entrypoint", metavar="PROGRAM", help="in place of the image's")
    add("--label", action="append", default=[], metavar="KEY=VALUE", help="a label")
    add("-p", "--publish", action="append", default=[], metavar="PORTS", help="[[ADDRESS:]HOST:]CONTAINER[/PROTO]")
    add("-v", "--volume", action="append", default=[], metavar="SOURCE:TARGET", help="a directory or a volume")
    add("image", metavar="IMAGE", help="name or id of the image")
    add("argv", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command to run, by default the image's")
    command.set_defaults(run=_run)


def add_exec(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll exec web ip address", "atoll exec -i -t web sh")
    common(command)
    _add_streams(command)
    command.add_argument("name", metavar="CONTAINER", help="name or id of the container")
    command.add_argument("program", metavar="COMMAND", help="the command to run")
    command.add_argument("argv", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="its arguments")
    command.set_defaults(run=_exec)


def _add_streams(command: Command) -> None:
    command.add_argument("-i", "--interactive", action="store_true", help="join our input to the process's")
    command.add_argument("-t", "--tty", action="store_true", help="give it a terminal")
    command.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE", help="environment")
    command.add_argument("-w", "--workdir", metavar="DIR", default="", help="its directory")
    command.add_argument("-u", "--user", metavar="USER", default="", help="name or id, with :GROUP")


def _run(args: argparse.Namespace, client: Client) -> int:
    """Exit status: the process's; 125 refused, 126 and 127 as a shell's."""
    if args.tty and not args.detach and not sys.stdin.isatty():
        raise InvalidRequest("the input device is not a TTY", hint="leave out --tty")
    try:
        made: str = _create(args, client)["Id"]
        return _detached(made, client) if args.detach else _attached(made, args, client)
    except ServerError as error:
        from atoll.cli.render import report

        report(error, verbose=args.verbose)
        return next((code for word, code in _CODES.items() if word in error.message), _REFUSED)


_CODES = {
    "executable file not found": _NOT_FOUND,
    "no such file": _NOT_FOUND,
    "permission denied": _NOT_EXECUTABLE,
    "is a directory": _NOT_EXECUTABLE,
}


def _create(args: argparse.Namespace, client: Client) -> Any:
    query = {"name": args.name} if args.name else {}
    try:
        return client.request("POST", "/containers/create", create_body(args), query)
    except ServerError as error:
        if "No such image" not in error.message:
            raise
    _pull(args.image, client)
    return client.request("POST", "/containers/create", create_body(args), query)


def _pull(image: str, client: Client) -> None:
    print(f"atoll: pulling {image}", file=sys.stderr)
    for part in client.begin("POST", "/images/create", {"fromImage": image}):
        for line in part.splitlines():
            error = json.loads(line).get("error") if line.strip() else None
            if error:
                raise NotFound(error)


def create_body(args: argparse.Namespace) -> dict[str, Any]:
    """The body of POST /containers/create. Raises InvalidRequest."""
    attached = not args.detach
    bindings: dict[str, list[dict[str, str]]] = {}
    for text in args.publish:
        port, binding = _published(text)
        bindings.setdefault(port, []).append(binding)
    body = {
        "Image": args.image,
        "Cmd": args.argv,
        "Env": args.env,
        "Hostname": args.hostname,
        "User": args.user,
        "WorkingDir": args.workdir,
        "Labels": key_values("label", args.label),
        "Tty": args.tty,
        "OpenStdin": args.interactive,
        "StdinOnce": args.interactive and attached,
        "AttachStdin": args.interactive and attached,
        "AttachStdout": attached,
        "AttachStderr": attached,
        "HostConfig": {
            "NetworkMode": args.network,
            "AutoRemove": args.rm,
            "Binds": args.volume,
            "PortBindings": bindings,
        },
    }
    return body if args.entrypoint is None else {**body, "Entrypoint": [args.entrypoint]}


def _published(text: str) -> tuple[str, dict[str, str]]:
    """Container ports with protocol, and the host's side; the daemon knows what is wrong with them."""
    left, _, protocol = text.partition("/")
    outside, _, container = left.rpartition(":")
    address, _, host = outside.rpartition(":")
    return f"{container}/{protocol or 'tcp'}", {"HostIp": address.strip("[]"), "HostPort": host}


def _detached(container: str, client: Client) -> int:
    client.request("POST", f"/containers/{container}/start")
    print(container)
    return 0


def _attached(container: str, args: argparse.Namespace, client: Client) -> int:
    path = f"/containers/{container}"
    query = {"stream": "1", "stdout": "1", "stderr": "1", **({"stdin": "1"} if args.interactive else {})}
    with client.hijack(f"{path}/attach", query=query) as connection:
        condition = "removed" if args.rm else "next-exit"
        ended = client.begin("POST", f"{path}/wait", {"condition": condition})
        client.request("POST", f"{path}/start")
        try:
            join(connection, tty=args.tty, stdin=args.interactive, resize=_resizing(client, path))
        except KeyboardInterrupt:
            client.request("POST", f"{path}/kill", query={"signal": "SIGINT"})
    status: int = json.loads(b"".join(ended))["StatusCode"]
    return status


def _exec(args: argparse.Namespace, client: Client) -> int:
    """Exit status: the process's."""
    body = {
        "Cmd": [args.program, *args.argv],
        "Env": args.env,
        "User": args.user,
        "WorkingDir": args.workdir,
        "Tty": args.tty,
        "AttachStdin": args.interactive,
        "AttachStdout": True,
        "AttachStderr": True,
    }
    made = client.request("POST", f"/containers/{quote(args.name)}/exec", body)["Id"]
    path = f"/exec/{made}"
    with client.hijack(f"{path}/start", {"Detach": False, "Tty": args.tty}) as connection:
        join(connection, tty=args.tty, stdin=args.interactive, resize=_resizing(client, path))
    status: int = client.get(f"{path}/json")["ExitCode"]
    return status


def _resizing(client: Client, path: str) -> Any:
    def resize(height: int, width: int) -> None:
        # A process that has not begun, or has ended, has no terminal.
        try:
            client.request("POST", f"{path}/resize", query={"h": str(height), "w": str(width)})
        except ServerError:
            return

    return resize
