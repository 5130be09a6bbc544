"""`atoll network`: Docker's verbs with Docker's flags, and allow and disallow."""

from __future__ import annotations

import argparse

from atoll.cli.changes import change, confirm, each, filters
from atoll.cli.command import Command
from atoll.cli.http import Client, ServerError, quote
from atoll.cli.network_options import add_create_options, create_body
from atoll.cli.parser import changing, confirmed, formatted
from atoll.cli.render import labels_text, print_objects, print_rows, short_id

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_HEADERS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def add_network(group: Command) -> None:
    """Add the commands of the group."""
    group.examples = ("atoll network ls", "atoll network create front", "atoll network connect front web")
    _add_showing(group)
    _add_life(group)
    _add_links(group)


def _add_showing(group: Command) -> None:
    ls = group.command(
        "ls",
        "List networks.",
        run=_ls,
        examples=(
            "atoll network ls",
            "atoll network ls -f driver=bridge -q",
            "atoll network ls --format 'table {{.Name}}\\t{{.Driver}}'",
        ),
    )
    formatted(ls)
    ls.add_argument("-f", "--filter", action="append", default=[], metavar="KEY=VALUE", help=_FILTER_HELP)
    ls.add_argument("-q", "--quiet", action="store_true", help="ids only")
    ls.add_argument("--no-trunc", action="store_true", help="whole ids")
    inspect = group.command(
        "inspect",
        "Show all about networks, with the interface names at both ends of every cable.",
        run=_inspect,
        examples=(
            "atoll network inspect bridge",
            "atoll network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}' bridge",
        ),
    )
    formatted(inspect, "-f")
    inspect.add_argument("names", nargs="+", metavar="NETWORK", help="name, id, or the first digits of an id")


def _add_life(group: Command) -> None:
    create = group.command(
        "create",
        "Make a network and print its id.",
        run=_create,
        examples=(
            "atoll network create front",
            "atoll network create --subnet 10.5.0.0/16 --gateway 10.5.0.1 --ipv6 front",
            "atoll network create --internal --dry-run back",
        ),
    )
    changing(create)
    create.add_argument("name", metavar="NAME", help="letters, digits, _ . -")
    add_create_options(create)
    rm = group.command(
        "rm",
        "Remove networks that no sandbox is on.",
        run=_rm,
        examples=("atoll network rm front", "atoll network rm -f front back"),
    )
    changing(rm)
    rm.add_argument("-f", "--force", action="store_true", help="no error when a network is not there")
    rm.add_argument("names", nargs="+", metavar="NETWORK", help="name, id, or the first digits of an id")
    prune = group.command(
        "prune",
        "Remove all networks that no sandbox is on, but for the default ones.",
        run=_prune,
        examples=("atoll network prune", "atoll network prune -f --filter until=24h"),
    )
    confirmed(prune)
    prune.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE", help="until=TIME or label=KEY")


def _add_links(group: Command) -> None:
    connect = group.command(
        "connect",
        "Connect a sandbox to a network.",
        run=_connect,
        examples=("atoll network connect front web", "atoll network connect --ip 10.5.0.9 --alias db front web"),
    )
    _link_arguments(connect)
    connect.add_argument("--ip", metavar="ADDRESS", default="", help="IPv4 address")
    connect.add_argument("--ip6", metavar="ADDRESS", default="", help="IPv6 address")
    connect.add_argument("--alias", action="append", default=[], metavar="NAME", help="another name on this network")
    connect.add_argument("--mac-address", metavar="MAC", default="", help="MAC address of the interface inside")
    connect.add_argument("--ifname", metavar="NAME", default="", help="name of the interface inside (default: ethN)")
    connect.add_argument(
        "--gw-priority", type=int, default=0, metavar="N", help="the highest has the default route (default: 0)"
    )
    connect.add_argument("--driver-opt", action="append", default=[], metavar="KEY=VALUE", help="driver option")
    disconnect = group.command(
        "disconnect",
        "Disconnect a sandbox from a network.",
        run=_disconnect,
        examples=("atoll network disconnect front web",),
    )
    _link_arguments(disconnect)
    disconnect.add_argument("-f", "--force", action="store_true", help="even when the sandbox's namespace is gone")
    for name, summary in (
        ("allow", "Let the sandboxes of two networks reach each other."),
        ("disallow", "Take back what `allow` allowed."),
    ):
        pair = group.command(
            name,
            summary,
            run=_allow,
            examples=(f"atoll network {name} front back", f"atoll network {name} --one-way front back"),
        )
        changing(pair)
        pair.set_defaults(verb=name)
        pair.add_argument("--one-way", action="store_true", help="only connections opened from the first network")
        pair.add_argument("network", metavar="NETWORK", help="the first network")
        pair.add_argument("target", metavar="NETWORK", help="the second network")


def _link_arguments(command: Command) -> None:
    changing(command)
    command.add_argument("network", metavar="NETWORK", help="name or id of the network")
    command.add_argument("sandbox", metavar="SANDBOX", help="name or id of the sandbox")


def _ls(args: argparse.Namespace, client: Client) -> int:
    networks = client.get("/networks", filters(args.filter))
    rows = [_row(network, whole=args.no_trunc) for network in sorted(networks, key=lambda n: _natural(n["Name"]))]
    if args.quiet and not args.format:
        for row in rows:
            print(row["ID"])
    else:
        print_rows(_HEADERS, rows, ("ID", "Name", "Driver", "Scope"), args.format)
    return 0


def _row(network: dict[str, Any], *, whole: bool) -> dict[str, str]:
    return {
        "ID": short_id(network["Id"], whole=whole),
        "Name": network["Name"],
        "Driver": network["Driver"],
        "Scope": network["Scope"],
        # EnableIPv4 came with API 1.48; before it every network had IPv4.
        "IPv4": str(network.get("EnableIPv4", True)).lower(),
        "IPv6": str(network.get("EnableIPv6", False)).lower(),
        "Internal": str(network.get("Internal", False)).lower(),
        "Labels": labels_text(network.get("Labels")),
        "CreatedAt": network.get("Created", ""),
    }


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key: net2 before net10, as Docker sorts."""
    import re

    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"([0-9]+)", name)]


def _inspect(args: argparse.Namespace, client: Client) -> int:
    found: list[Any] = []
    status = each(args.names, lambda name: found.append(client.get(f"/networks/{quote(name)}")), verbose=args.verbose)
    peopled = [network for network in found if network.get("Containers")]
    if peopled:
        on_them = filters(f"network={network['Id']}" for network in peopled)
        sandboxes = {sandbox["Id"]: sandbox for sandbox in client.get("/atoll/sandboxes", on_them)}
        for network in peopled:
            _name_cables(network, sandboxes)
    print_objects(found, args.format)
    return status


def _name_cables(network: dict[str, Any], sandboxes: dict[str, Any]) -> None:
    """Add to each of the network's Containers what Docker has no word for: the names at both ends of its veth."""
    for sandbox_id, container in network["Containers"].items():
        at = sandboxes.get(sandbox_id, {}).get("Networks", {}).get(network["Name"], {})
        container["HostIfname"] = at.get("HostIfname", "")
        container["Ifname"] = at.get("Ifname", "")


def _create(args: argparse.Namespace, client: Client) -> int:
    answer = change(client, args, "POST", "/networks/create", create_body(args))
    if answer is not None:
        print(answer["Id"])
    return 0


def _rm(args: argparse.Namespace, client: Client) -> int:
    def remove(name: str) -> None:
        try:
            answer = change(client, args, "DELETE", f"/networks/{quote(name)}")
        except ServerError as error:
            if args.force and error.status == 404:
                return
            raise
        if answer is not None:
            print(name)

    return each(args.names, remove, verbose=args.verbose)


def _prune(args: argparse.Namespace, client: Client) -> int:
    question = "This removes all networks, but for the default ones, that no sandbox is on. Go on?"
    if not args.force and not args.dry_run and not confirm(question, "atoll network prune"):
        return 1
    answer = change(client, args, "POST", "/networks/prune", query=filters(args.filter))
    if answer is not None and answer.get("NetworksDeleted"):
        print("Deleted Networks:")
        print("\n".join(answer["NetworksDeleted"]))
    return 0


def _connect(args: argparse.Namespace, client: Client) -> int:
    from atoll.cli.changes import key_values

    options = key_values("driver option", args.driver_opt)
    if args.ifname:
        options["com.docker.network.endpoint.ifname"] = args.ifname
    endpoint = {
        "IPAMConfig": {"IPv4Address": args.ip, "IPv6Address": args.ip6},
        "Aliases": args.alias,
        "MacAddress": args.mac_address,
        "GwPriority": args.gw_priority,
        "DriverOpts": options,
    }
    body = {"Container": args.sandbox, "EndpointConfig": endpoint}
    change(client, args, "POST", f"/networks/{quote(args.network)}/connect", body)
    return 0


def _disconnect(args: argparse.Namespace, client: Client) -> int:
    body = {"Container": args.sandbox, "Force": args.force}
    change(client, args, "POST", f"/networks/{quote(args.network)}/disconnect", body)
    return 0


def _allow(args: argparse.Namespace, client: Client) -> int:
    body = {"Target": args.target, "OneWay": args.one_way}
    change(client, args, "POST", f"/atoll/networks/{quote(args.network)}/{args.verb}", body)
    return 0


_FILTER_HELP = "driver=, id=, label=, name=, scope=, type=builtin|custom, dangling=true|false; several are allowed"
