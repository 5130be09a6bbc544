"""Docker's `-p` texts: parsed to mappings, and written back.

    [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]      HOST and CONTAINER: a port, or FIRST-LAST

HOST empty or 0 is an automatic port; a HOST range before a single CONTAINER port is a choice of one.
An IPv6 ADDRESS stands in brackets; without them the last two colons end it, as in Docker.

Source: ParsePortSpec in docker/go-connections, nat/nat.go. It expands ranges, this never does; and it takes
container port 0, on which nothing can listen.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from atoll.errors import InvalidRequest
from atoll.model.addresses import Family, IPAddress, family_of, never_local, parse_address
from atoll.model.names import shown
from atoll.model.ports import PORT_MAX, PortMapping, PortRange, Protocol, addresses_meet

_PORT = re.compile(r"[0-9]{1,5}\Z")
_PLAIN = re.compile(r"([0-9]{1,5}):([0-9]{1,5})\Z")
_PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({protocol.word: protocol for protocol in Protocol})
_HINT_MAX = 160
_FORMS = "write it as 8080:80, 127.0.0.1:8080:80/udp or [::1]:8080:80"


def parse_publish(specs: Iterable[str]) -> tuple[PortMapping, ...]:
    """Every `-p` of one request, in order.

    Raises InvalidRequest naming the text, or the host port that two of them ask for.
    """
    mappings = tuple(parse_port_spec(spec) for spec in specs)
    check_distinct(mappings)
    return mappings


def parse_port_spec(text: str) -> PortMapping:
    """One `-p`, as one mapping. Raises InvalidRequest naming the text, with the spelling that works as hint."""
    plain = _plain(text)
    if plain is not None:
        return plain
    address, host, container_part = _split(text)
    container, _, word = container_part.partition("/")
    if "/" in host:
        number, _, early = host.partition("/")
        raise invalid(
            text,
            f"the protocol {shown(early)} stands before the container port",
            f"write {number}:{container}/{word or early}",
        )
    protocol = parse_protocol(text, word)
    ports, host_ports = parse_port_pair(text, host=host, container=container)
    host_address = None if address is None else _parse_host_address(text, address, f"{host}:{container_part}")
    return PortMapping(protocol, ports, host_ports, host_address)


def _plain(text: str) -> PortMapping | None:
    """The mapping of `HOST:CONTAINER`: nearly all are of this form, and a request may have thousands."""
    found = _PLAIN.match(text)
    host, container = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (0 < host <= PORT_MAX and 0 < container <= PORT_MAX):
        return None
    return PortMapping(Protocol.TCP, PortRange(container, container), PortRange(host, host))


def parse_protocol(text: str, word: str) -> Protocol:
    """A protocol's name in any case, "" for TCP. Raises InvalidRequest naming `text`."""
    protocol = _PROTOCOLS.get((word or "tcp").lower())
    if protocol is not None:
        return protocol
    raise invalid(text, f"{shown(word)} is not a protocol whose ports can be published", "use /tcp, /udp or /sctp")


def parse_port_pair(text: str, *, host: str, container: str) -> tuple[PortRange, PortRange | None]:
    """Container ports and the host ports for them, None for automatic ones. Raises InvalidRequest naming `text`."""
    if not container:
        raise invalid(text, "no container port")
    ports = _parse_range(text, "container port", container)
    host_ports = None if host in {"", "0", "0-0"} else _parse_range(text, "host port", host)
    if host_ports is not None and len(ports) > 1 and len(host_ports) != len(ports):
        last = host_ports.first + len(ports) - 1
        fitting = f"{host_ports.first}-{last}:{ports}"
        raise invalid(
            text,
            f"{len(host_ports)} host ports for {len(ports)} container ports",
            f"write {fitting}" if last <= PORT_MAX else "give ranges of equal length",
        )
    return ports, host_ports


def check_distinct(mappings: Iterable[PortMapping]) -> None:
    """Raise InvalidRequest, naming port and mappings, when two mappings ask for the same host port."""
    exact = [(each.host, each) for each in mappings if each.host is not None and len(each.host) == len(each.container)]
    exact.sort(key=lambda pair: (pair[1].protocol, pair[0].first, pair[0].last))
    reaching: list[tuple[PortRange, PortMapping]] = []
    for ports, mapping in exact:
        reaching = [
            (earlier, other)
            for earlier, other in reaching
            if other.protocol is mapping.protocol and earlier.last >= ports.first
        ]
        for _, other in reaching:
            if addresses_meet(other.host_address, mapping.host_address):
                raise InvalidRequest(
                    f"host port {ports.first}/{mapping.protocol.word} is asked for twice: "
                    f"by {spec_text(other)} and by {spec_text(mapping)}",
                    hint="leave one of them out, or give it another host port",
                    subject=spec_text(mapping),
                )
        reaching.append((ports, mapping))


def spec_text(mapping: PortMapping) -> str:
    """The shortest `-p` text that parses to `mapping`."""
    text = str(mapping.container)
    if mapping.host is not None or mapping.host_address is not None:
        text = f"{'' if mapping.host is None else mapping.host}:{text}"
    if mapping.host_address is not None:
        text = f"{_in_brackets(mapping.host_address)}:{text}"
    return text if mapping.protocol is Protocol.TCP else f"{text}/{mapping.protocol.word}"


def check_host_address(text: str, address: IPAddress) -> None:
    """Raise InvalidRequest, naming `text`, for an address that no host can have."""
    reason = never_local(address)
    if reason:
        raise invalid(
            text, f"{address} is {reason}, and no host's own", "give an address of this host, or leave it out"
        )


def invalid(text: str, reason: str, hint: str = _FORMS) -> InvalidRequest:
    """The error for a port mapping; long texts are shown cut."""
    return InvalidRequest(
        f"invalid port mapping {shown(text)}: {reason}", hint=hint if len(hint) < _HINT_MAX else _FORMS
    )


def _split(text: str) -> tuple[str | None, str, str]:
    """Address (None when there is none), host ports, container ports with the protocol."""
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        parts = rest.split(":")
        if not bracket or len(parts) != 3 or parts[0]:
            raise invalid(
                text,
                "a host port, which may be empty, and a container port follow an address in brackets",
                f"write [{address}]:8080:80 or [{address}]::80",
            )
        return address, parts[1], parts[2]
    *address_parts, host, container = ["", *text.split(":")]
    return ":".join(address_parts[1:]) or None, host, container


def _parse_host_address(text: str, address: str, ports: str) -> IPAddress:
    try:
        parsed = parse_address("host address", address)
    except InvalidRequest:
        if ":" in address:
            hint = "write an IPv6 address in brackets, without a zone: [::1]:8080:80"
        elif address == "localhost":
            hint = f"write 127.0.0.1:{ports}"
        else:
            hint = f"give an address of this host, or leave it out: {ports.removeprefix(':')}"
        raise invalid(text, f"{shown(address)} is not an IPv4 or IPv6 address", hint) from None
    check_host_address(text, parsed)
    return parsed


def _parse_range(text: str, what: str, ports: str) -> PortRange:
    words = ports.split("-")
    if len(words) > 2 or not all(_PORT.match(word) for word in words):
        hint = f"write {ports}::80 or {ports}:8080:80" if ports.count(".") == 3 else _FORMS
        raise invalid(text, f"{what} {shown(ports)} is neither a number nor FIRST-LAST", hint)
    numbers = [int(word) for word in words]
    for number in numbers:
        if not 0 < number <= PORT_MAX:
            raise invalid(text, f"{what} {number} is not between 1 and {PORT_MAX}")
    if numbers[0] > numbers[-1]:
        raise invalid(text, f"{what}s {ports} run backwards", f"write {numbers[-1]}-{numbers[0]}")
    return PortRange(numbers[0], numbers[-1])


def _in_brackets(address: IPAddress) -> str:
    return f"[{address}]" if family_of(address) is Family.V6 else str(address)
