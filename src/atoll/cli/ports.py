"""`atoll port`: the published ports of a sandbox, as `docker port` shows them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from atoll.cli.command import Command
from atoll.cli.http import Client, quote
from atoll.cli.parser import common
from atoll.errors import NotFound

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_EVERYWHERE = ("0.0.0.0", "::")


def add_port(command: Command) -> None:
    """`atoll port` is `atoll sandbox port`."""
    command.examples = ("atoll port web", "atoll port web 80/tcp")
    add_port_arguments(command)


def add_port_arguments(command: Command) -> None:
    """The arguments of both."""
    common(command)
    command.add_argument("name", metavar="SANDBOX", help="name or id of the sandbox")
    command.add_argument("port", nargs="?", metavar="PORT[/PROTO]", help="only where this port inside is published")
    command.set_defaults(run=_port)


def binding_text(binding: dict[str, Any]) -> str:
    """A binding in one word, `*:8080->80/tcp`."""
    address = _bracketed(binding.get("HostAddress") or "*")
    return f"{address}:{binding['HostPorts']}->{binding['ContainerPorts']}/{binding['Protocol'].lower()}"


def _port(args: argparse.Namespace, client: Client) -> int:
    bindings = client.get(f"/atoll/sandboxes/{quote(args.name)}").get("Bindings") or []
    if args.port is None:
        for binding in bindings:
            inside = f"{binding['ContainerPorts']}/{binding['Protocol'].lower()}"
            for address in _addresses(binding):
                print(f"{inside} -> {address}:{binding['HostPorts']}")
        return 0
    number, _, protocol = args.port.partition("/")
    lines = [line for binding in bindings for line in _lines(binding, number, protocol.lower() or "tcp")]
    if not lines:
        raise NotFound(
            f"port {number}/{protocol or 'tcp'} of {args.name} is not published", hint=f"atoll port {args.name}"
        )
    print("\n".join(lines))
    return 0


def _lines(binding: dict[str, Any], number: str, protocol: str) -> Iterator[str]:
    first, _, last = binding["ContainerPorts"].partition("-")
    if binding["Protocol"].lower() != protocol or not number.isdigit():
        return
    if int(first) <= int(number) <= int(last or first):
        host = int(binding["HostPorts"].partition("-")[0]) + int(number) - int(first)
        yield from (f"{address}:{host}" for address in _addresses(binding))


def _addresses(binding: dict[str, Any]) -> list[str]:
    return [
        _bracketed(address) for address in ([binding["HostAddress"]] if binding.get("HostAddress") else _EVERYWHERE)
    ]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
