"""`atoll rules`: what serves each network in the firewall, beside what the older tools would have shown."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from atoll.cli.command import Command
from atoll.cli.http import Client
from atoll.cli.parser import formatted
from atoll.cli.render import columns, paint, print_objects
from atoll.errors import NotFound

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any


def add_rules(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll rules", "atoll rules --counters bridge")
    formatted(command)
    command.add_argument("--counters", action="store_true", help="packets and bytes of elements and rules too")
    command.add_argument("networks", nargs="*", metavar="NETWORK", help="only these networks (default: all)")
    command.set_defaults(run=_rules)


def _rules(args: argparse.Namespace, client: Client) -> int:
    rules = client.get("/atoll/rules", {"counters": "1"} if args.counters else None)
    for name in args.networks:
        if name not in (network["Name"] for network in rules["Networks"]):
            raise NotFound(f"no bridge network {name}", hint="atoll network ls -f driver=bridge")
    if args.networks:
        rules["Networks"] = [network for network in rules["Networks"] if network["Name"] in args.networks]
    if args.format and args.format != "table":
        print_objects([rules], args.format)
    else:
        print("\n".join(_text(rules)))
    return 0


def _text(rules: dict[str, Any]) -> Iterator[str]:
    owned = "nobody else can change them" if rules.get("Owned") else "repaired when somebody changes them"
    yield f"tables {' and '.join(rules['Tables'])}: the same rules for every network; {owned}"
    yield from (paint(f"  nft list table {table}", "dim") for table in rules["Tables"])
    for network in rules["Networks"]:
        yield ""
        yield from _network(network)
    if rules.get("Counters"):
        yield ""
        yield paint("counters of the rules", "bold")
        rows = [
            (each["Table"], each["Chain"], str(each["Packets"]), str(each["Bytes"]), each["Rule"])
            for each in rules["Counters"]
        ]
        yield from _aligned(("TABLE", "CHAIN", "PACKETS", "BYTES", "RULE"), rows)


def _network(network: dict[str, Any]) -> Iterator[str]:
    yield paint(f"network {network['Name']}: bridge {network['Bridge']}", "bold")
    elements = network.get("Elements") or []
    if elements:
        yield paint("  elements (nft list set|map TABLE SET)", "cyan")
        counts = ("Packets", "Bytes") if any("Packets" in each for each in elements) else ()
        rows = [
            (
                each["Table"],
                each["Set"],
                each["Text"],
                *(str(each.get(count, "-")) for count in counts),
                each["Meaning"],
            )
            for each in elements
        ]
        yield from _aligned(("TABLE", "SET", "ELEMENT", *map(str.upper, counts), "MEANING"), rows)
    yield from _old_tools(network)


def _old_tools(network: dict[str, Any]) -> Iterator[str]:
    lines = network.get("Iptables") or []
    if lines:
        yield paint("  with iptables it would have been (iptables -t nat -vnL)", "cyan")
        yield from (f"    {line}" for line in lines)
    yield paint("  the bridge (brctl show)", "cyan")
    rows: list[Sequence[str]] = [("bridge name", "bridge id", "STP enabled", "interfaces")]
    for bridge in (network, *(network.get("Segments") or [])):
        first, *others = bridge.get("Ports") or [""]
        rows += [
            (bridge["Bridge"], bridge.get("BridgeId") or "", "no", first),
            *(("", "", "", port) for port in others),
        ]
    yield from _aligned(rows[0], rows[1:])


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for line in columns([header, *rows], width_min=0, padding=2):
        yield f"    {line}".rstrip()
