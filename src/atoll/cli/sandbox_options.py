"""The options of `sandbox create`, and the body of the request that they make. Pure but for declaring options."""

from __future__ import annotations

import argparse

from atoll.cli.changes import key_values
from atoll.cli.command import Command
from atoll.errors import InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_TEXT_KEYS = {
    "ip": "IPv4Address",
    "ip6": "IPv6Address",
    "mac": "MacAddress",
    "mac-address": "MacAddress",
    "ifname": "Ifname",
}
_KEYS = ("name", *_TEXT_KEYS, "alias", "gw-priority", "driver-opt")
_ALONE = ("host", "none")


def add_create_options(command: Command) -> None:
    """Where the namespace comes from, its networks, its ports."""
    command.add_argument(
        "--network",
        action="append",
        default=[],
        metavar="NETWORK[,KEY=VALUE]",
        help="network to connect to, several are allowed (default: bridge); keys: ip, ip6, mac, alias, ifname, "
        "gw-priority, driver-opt. Or one of: host, none, container:SANDBOX",
    )
    command.add_argument(
        "-p",
        "--publish",
        action="append",
        default=[],
        metavar="[[ADDRESS:]PORT:]PORT[/PROTO]",
        help="publish a port or a range of ports",
    )
    namespace = command.add_mutually_exclusive_group()
    namespace.add_argument("--netns", metavar="PATH", default="", help="a namespace that is mounted at PATH")
    namespace.add_argument("--pid", type=int, default=0, metavar="PID", help="the namespace of a process")
    command.add_argument("--resolve", action="store_true", help="answer names of its networks inside, at 127.0.0.11")
    command.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="label")


def create_body(args: argparse.Namespace) -> dict[str, Any]:
    """The body of POST /atoll/sandboxes/create. Raises InvalidRequest naming what can't be read."""
    import os.path

    mode = _network_mode(args.network)
    return {
        "Name": args.name,
        "Endpoints": [] if mode else [parse_endpoint(text) for text in args.network],
        "NetworkMode": mode,
        "NetnsPath": os.path.abspath(args.netns) if args.netns else "",  # noqa: PTH100
        "Pid": args.pid,
        "Publish": args.publish,
        "Resolve": args.resolve,
        "Labels": key_values("label", args.label),
    }


def parse_endpoint(text: str) -> dict[str, Any]:
    """Parse `NETWORK,ip=...` or `name=NETWORK,ip=...` to an entry of `Endpoints`. Raises InvalidRequest.

    Source: the CSV of Docker's `--network`, opts/network.go; a field with a comma stands in double quotes.
    """
    fields = [text] if "," not in text else _csv(text)
    endpoint: dict[str, Any] = {"Network": ""}
    aliases: list[str] = []
    driver_options: list[str] = []
    for index, field in enumerate(fields):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if index == 0 and not equals:
            key, value = "name", field
        elif not equals or key not in _KEYS:
            raise InvalidRequest(
                f"invalid --network {text!r}: unknown key {key!r}", hint=f"use one of {', '.join(_KEYS)}, as KEY=VALUE"
            )
        if key == "name":
            endpoint["Network"] = value.strip()
        elif key in _TEXT_KEYS:
            endpoint[_TEXT_KEYS[key]] = value.strip()
        elif key == "alias":
            aliases.append(value.strip())
        elif key == "driver-opt":
            driver_options.append(value.strip())
        else:
            endpoint["GwPriority"] = _priority(text, value)
    if not endpoint["Network"]:
        raise InvalidRequest(f"invalid --network {text!r}: it names no network", hint="write it as NETWORK,KEY=VALUE")
    if aliases:
        endpoint["Aliases"] = aliases
    if driver_options:
        endpoint["DriverOpts"] = key_values("driver option", driver_options)
    return endpoint


def _network_mode(networks: list[str]) -> str:
    """`host`, `none` or `container:REF` when that is the only network, else ""."""
    for text in networks:
        name = text.partition(",")[0].removeprefix("name=")
        if name not in _ALONE and not name.startswith("container:"):
            continue
        if len(networks) > 1:
            other = next(network for network in networks if network is not text)
            raise InvalidRequest(f"cannot use --network {text} together with --network {other}: it stands alone")
        if name != text and name != text.removeprefix("name="):
            raise InvalidRequest(f"invalid --network {text!r}: {name} takes no options")
        return name
    return ""


def _csv(text: str) -> list[str]:
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise InvalidRequest(f"invalid --network {text!r}: {error}") from None


def _priority(text: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise InvalidRequest(f"invalid --network {text!r}: gw-priority {value!r} is not a number") from None
