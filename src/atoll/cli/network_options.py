"""The options of `network create`, and the body of the request that they make. Pure but for declaring options."""

from __future__ import annotations

import argparse

from atoll.cli.changes import key_values
from atoll.cli.command import Command
from atoll.errors import InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_MTU = "com.docker.network.driver.mtu"
_BRIDGE_NAME = "com.docker.network.bridge.name"
_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"


def add_create_options(command: Command) -> None:
    """Docker's flags, and three short ones for common options."""
    for flag, metavar, text in (
        ("--subnet", "CIDR", "subnet, one a family (default: the first free one)"),
        ("--gateway", "ADDRESS", "the host's address in a subnet (default: the first)"),
        ("--ip-range", "CIDR", "part of a subnet to take addresses from"),
        ("--aux-address", "NAME=ADDRESS", "address that somebody else has"),
        ("--label", "KEY=VALUE", "label"),
    ):
        command.add_argument(flag, action="append", default=[], metavar=metavar, help=text)
    command.add_argument("-o", "--opt", action="append", default=[], metavar="KEY=VALUE", help="driver option")
    command.add_argument("-d", "--driver", default="bridge", metavar="DRIVER", help="driver (default: bridge)")
    command.add_argument("--scope", default="", metavar="SCOPE", help="local (default) or global")
    for family, default in (("ipv4", "on"), ("ipv6", "off")):
        command.add_argument(
            f"--{family}",
            action=argparse.BooleanOptionalAction,
            help=f"addresses of {family.replace('ip', 'IP')}, or none (default: {default})",
        )
    command.add_argument("--internal", action="store_true", help="no way out, and none in")
    command.add_argument(
        "--attachable", action="store_true", help="accepted as Docker does; sandboxes can always attach"
    )
    command.add_argument("--mtu", metavar="BYTES", help=f"short for -o {_MTU}=BYTES")
    command.add_argument("--bridge-name", metavar="IFNAME", help=f"short for -o {_BRIDGE_NAME}=IFNAME")
    command.add_argument("--no-masquerade", action="store_true", help=f"short for -o {_MASQUERADE}=false")


def create_body(args: argparse.Namespace) -> dict[str, Any]:
    """The body of POST /networks/create. Raises InvalidRequest where options don't fit each other."""
    options = key_values("option", args.opt)
    if args.mtu is not None:
        options[_MTU] = args.mtu
    if args.bridge_name is not None:
        options[_BRIDGE_NAME] = args.bridge_name
    if args.no_masquerade:
        options[_MASQUERADE] = "false"
    body = {
        "Name": args.name,
        "Driver": args.driver,
        "Scope": args.scope,
        "EnableIPv6": bool(args.ipv6),
        "IPAM": {"Driver": "default", "Options": {}, "Config": ipam_config(args)},
        "Internal": args.internal,
        "Attachable": args.attachable,
        "Options": options,
        "Labels": key_values("label", args.label),
    }
    if args.ipv4 is not None:
        body["EnableIPv4"] = args.ipv4
    return body


def ipam_config(args: argparse.Namespace) -> list[dict[str, Any]]:
    """One entry a subnet; ranges, gateways and auxiliary addresses go to the subnet that contains them.

    Raises InvalidRequest naming a value that is in no subnet, or the second one where one is allowed.
    """
    auxiliary = key_values("auxiliary address", args.aux_address)
    if not (args.subnet or args.ip_range or args.gateway or auxiliary):
        return []
    configs: list[dict[str, Any]] = [{"Subnet": subnet} for subnet in args.subnet]
    for key, what, values in (("IPRange", "IP range", args.ip_range), ("Gateway", "gateway", args.gateway)):
        for value in values:
            config = _containing(configs, what, value)
            if key in config:
                raise InvalidRequest(
                    f"cannot use {what} {value}: the subnet {config['Subnet']} has {what} {config[key]} already"
                )
            config[key] = value
    for name, address in auxiliary.items():
        _containing(configs, f"auxiliary address {name}", address).setdefault("AuxiliaryAddresses", {})[name] = address
    return configs


def _containing(configs: list[dict[str, Any]], what: str, value: str) -> dict[str, Any]:
    if not configs:
        raise InvalidRequest(f"cannot use {what} {value}: no subnet is given", hint="add --subnet CIDR")
    # Only with several subnets there is a choice; what is not an address at all is the daemon's to explain.
    if len(configs) == 1:
        return configs[0]
    from ipaddress import ip_interface, ip_network

    for config in configs:
        try:
            if ip_interface(value).ip in ip_network(config["Subnet"], strict=False):
                return config
        except ValueError as error:
            raise InvalidRequest(f"invalid {what} {value!r}: {error}") from None
    subnets = ", ".join(config["Subnet"] for config in configs)
    raise InvalidRequest(f"cannot use {what} {value}: it is in none of the subnets {subnets}")
