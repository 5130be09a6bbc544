"""`atoll sandbox`: network namespaces with places on networks."""

from __future__ import annotations

import argparse

from atoll.cli.changes import change, each, filters
from atoll.cli.command import Command
from atoll.cli.http import Client, ServerError, quote
from atoll.cli.parser import changing, common, formatted
from atoll.cli.ports import add_port_arguments, binding_text
from atoll.cli.render import labels_text, print_objects, print_rows, short_id
from atoll.cli.sandbox_options import add_create_options, create_body

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_HEADERS = {
    "ID": "ID",
    "Name": "NAME",
    "Kind": "KIND",
    "Networks": "NETWORKS",
    "Ports": "PORTS",
    "Cables": "CABLES",
    "Netns": "NETNS",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def add_sandbox(group: Command) -> None:
    """Add the commands of the group."""
    group.examples = ("atoll sandbox create web -p 8080:80", "atoll sandbox ls", "atoll sandbox exec web ip address")
    _add_showing(group)
    _add_life(group)
    run = group.command(
        "exec",
        "Run a command in the network namespace of a sandbox; everything else stays as it is here.",
        run=_exec,
        examples=("atoll sandbox exec web ip address", "atoll sandbox exec web busybox httpd -f -p 80"),
    )
    common(run)
    run.add_argument("name", metavar="SANDBOX", help="name or id of the sandbox")
    run.add_argument("command", metavar="COMMAND", help="the command to run")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="its arguments")
    port = group.command(
        "port",
        "Show the published ports of a sandbox.",
        examples=("atoll sandbox port web", "atoll sandbox port web 80/tcp"),
    )
    add_port_arguments(port)


def _add_showing(group: Command) -> None:
    ls = group.command(
        "ls",
        "List sandboxes, with their addresses, ports and the interface names at both ends of their cables.",
        run=_ls,
        examples=("atoll sandbox ls", "atoll sandbox ls --format '{{.Name}} {{.Networks}}'"),
    )
    formatted(ls)
    ls.add_argument(
        "-f", "--filter", action="append", default=[], metavar="KEY=VALUE", help="name=, id=, kind=, label=, network="
    )
    ls.add_argument("-q", "--quiet", action="store_true", help="ids only")
    ls.add_argument("--no-trunc", action="store_true", help="whole ids")
    inspect = group.command(
        "inspect",
        "Show all about sandboxes.",
        run=_inspect,
        examples=(
            "atoll sandbox inspect web",
            "atoll sandbox inspect -f '{{range $name, $at := .Networks}}{{$name}} {{$at.IPAddress}}{{end}}' web",
        ),
    )
    formatted(inspect, "-f")
    inspect.add_argument("names", nargs="+", metavar="SANDBOX", help="name, id, or the first digits of an id")


def _add_life(group: Command) -> None:
    create = group.command(
        "create",
        "Make a sandbox, or take a namespace that is there, connect it, publish ports, and print its id.",
        run=_create,
        examples=(
            "atoll sandbox create web -p 8080:80",
            "atoll sandbox create db --network front,ip=10.5.0.9,alias=database --network back",
            "atoll sandbox create side --network container:web",
            "atoll sandbox create guest --pid 4711",
        ),
    )
    changing(create)
    create.add_argument("name", metavar="NAME", help="letters, digits, _ . -")
    add_create_options(create)
    rm = group.command(
        "rm",
        "Remove sandboxes: their cables, addresses, ports, and the namespaces that atoll made.",
        run=_rm,
        examples=("atoll sandbox rm web", "atoll sandbox rm -f web db"),
    )
    changing(rm)
    rm.add_argument(
        "-f", "--force", action="store_true", help="with those that are joined to it; no error when it is not there"
    )
    rm.add_argument("names", nargs="+", metavar="SANDBOX", help="name, id, or the first digits of an id")


def _ls(args: argparse.Namespace, client: Client) -> int:
    sandboxes = client.get("/atoll/sandboxes", filters(args.filter))
    rows = [_row(sandbox, whole=args.no_trunc) for sandbox in sandboxes]
    if args.quiet and not args.format:
        for row in rows:
            print(row["ID"])
    else:
        print_rows(_HEADERS, rows, ("ID", "Name", "Kind", "Networks", "Ports", "Cables"), args.format)
    return 0


def _row(sandbox: dict[str, Any], *, whole: bool) -> dict[str, str]:
    networks = sandbox.get("Networks") or {}
    kind = sandbox["Kind"]
    return {
        "ID": short_id(sandbox["Id"], whole=whole),
        "Name": sandbox["Name"],
        "Kind": f"{kind}:{sandbox['Owner']}" if sandbox.get("Owner") else kind,
        "Networks": ", ".join(_network_text(name, at) for name, at in networks.items()),
        "Ports": ", ".join(map(binding_text, sandbox.get("Bindings") or ())),
        "Cables": ", ".join(
            f"{at['HostIfname']} <-> {at['Ifname']}" for at in networks.values() if at.get("HostIfname")
        ),
        "Netns": sandbox.get("NetnsPath", ""),
        "Labels": labels_text(sandbox.get("Labels")),
        "CreatedAt": sandbox.get("Created", ""),
    }


def _network_text(name: str, at: dict[str, Any]) -> str:
    addresses = [at[key] for key in ("IPAddress", "GlobalIPv6Address") if at.get(key)]
    return f"{name}({' '.join(addresses)})" if addresses else name


def _inspect(args: argparse.Namespace, client: Client) -> int:
    found: list[Any] = []
    status = each(
        args.names, lambda name: found.append(client.get(f"/atoll/sandboxes/{quote(name)}")), verbose=args.verbose
    )
    print_objects(found, args.format)
    return status


def _create(args: argparse.Namespace, client: Client) -> int:
    answer = change(client, args, "POST", "/atoll/sandboxes/create", create_body(args))
    if answer is not None:
        print(answer["Id"])
    return 0


def _rm(args: argparse.Namespace, client: Client) -> int:
    def remove(name: str) -> None:
        query = {"force": "1"} if args.force else None
        try:
            answer = change(client, args, "DELETE", f"/atoll/sandboxes/{quote(name)}", query=query)
        except ServerError as error:
            if args.force and error.status == 404:
                return
            raise
        if answer is not None:
            print(name)

    return each(args.names, remove, verbose=args.verbose)


def _exec(args: argparse.Namespace, client: Client) -> int:
    from atoll.cli.enter import run_inside

    return run_inside(client, args.name, [args.command, *args.arguments])
