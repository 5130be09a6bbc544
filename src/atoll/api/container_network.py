"""Docker's JSON for a new container's network, parsed to what the engine calls a sandbox. Pure."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from atoll.api import container_body as body
from atoll.api.docker_endpoints import parse_endpoint
from atoll.errors import InvalidRequest
from atoll.model.addresses import IPAddress, parse_address, parse_mac
from atoll.model.image import Image
from atoll.model.names import shown
from atoll.model.network import DEFAULT_BRIDGE_NETWORK
from atoll.model.ports import PortMapping, PortRange
from atoll.model.portspec import check_distinct, check_host_address, parse_port_pair, parse_protocol
from atoll.model.sandbox import EndpointRequest, SandboxRequest

_JOIN = "container:"
_DEFAULTS = ("", "default", DEFAULT_BRIDGE_NETWORK)
"""Names of the default bridge's network, in a mode and as a key."""
_EXPOSED = re.compile(r"([0-9]{1,5}(?:-[0-9]{1,5})?)(?:/([a-z]+))?\Z")


def parse_network(asked: body.Create, image: Image, namespace: Callable[[str], str]) -> tuple[SandboxRequest, str]:
    """What a container asks of a sandbox, which has no name yet, and the mode as it is shown.

    Raises InvalidRequest, Unsupported, NotFound (who is to be joined).
    """
    mode = asked.host_config.network_mode or "default"
    mappings = parse_ports(asked, image)
    if mode.startswith(_JOIN):
        if mappings:
            raise InvalidRequest("conflicting options: port publishing and the container type network mode")
        owner = namespace(mode.removeprefix(_JOIN))
        return SandboxRequest("", join=owner), f"{_JOIN}{owner}"
    if mode == "host":
        # Docker too: what is published is there already.
        return SandboxRequest("", host=True), mode
    return SandboxRequest("", endpoints=_endpoints(asked, mode), mappings=mappings), mode


def _endpoints(asked: body.Create, mode: str) -> tuple[EndpointRequest, ...]:
    """The network of the mode first, then the others."""
    main = DEFAULT_BRIDGE_NETWORK if mode in _DEFAULTS else mode
    configs = {
        DEFAULT_BRIDGE_NETWORK if name in _DEFAULTS else name: config
        for name, config in asked.networking_config.endpoints_config.items()
    }
    found = {main: parse_endpoint(main, configs.pop(main, {}))}
    found |= {name: parse_endpoint(name, config) for name, config in configs.items()}
    if asked.mac_address and not found[main].mac:
        found[main] = replace(found[main], mac=parse_mac(asked.mac_address))
    return tuple(found.values())


def parse_ports(asked: body.Create, image: Image) -> tuple[PortMapping, ...]:
    """What is to be published. Ports that follow each other become ranges. Raises InvalidRequest."""
    found: list[PortMapping] = []
    for text, wanted in asked.host_config.port_bindings.items():
        port, _, word = text.partition("/")
        protocol = parse_protocol(text, word)
        for each in wanted:
            container, host = parse_port_pair(text, host=str(each.host_port), container=port)
            found.append(PortMapping(protocol, container, host, _host_address(text, each.host_ip)))
    if asked.host_config.publish_all_ports:
        published = {(mapping.protocol, mapping.container) for mapping in found}
        exposed = dict.fromkeys((*asked.exposed_ports, *image.config.exposed_ports))
        found += [each for each in map(_exposed, exposed) if (each.protocol, each.container) not in published]
    mappings = tuple(merged(found))
    check_distinct(mappings)
    return mappings


def merged(mappings: Iterable[PortMapping]) -> list[PortMapping]:
    """The same, with ports of one address that follow each other on both sides as one range.

    Docker's clients send a range port by port.
    """
    order = sorted(
        mappings, key=lambda each: (each.protocol, str(each.host_address), each.host is None, each.container.first)
    )
    found: list[PortMapping] = []
    for each in order:
        last = found[-1] if found else None
        if last is not None and last.host is not None and each.host is not None and _follows(last, each):
            container = PortRange(last.container.first, each.container.last)
            found[-1] = replace(last, container=container, host=PortRange(last.host.first, each.host.last))
        else:
            found.append(each)
    return found


def _follows(one: PortMapping, other: PortMapping) -> bool:
    assert one.host is not None and other.host is not None
    even = len(one.host) == len(one.container) and len(other.host) == len(other.container)
    same = (one.protocol, one.host_address) == (other.protocol, other.host_address)
    return even and same and other.container.first == one.container.last + 1 and other.host.first == one.host.last + 1


def _exposed(text: str) -> PortMapping:
    match = _EXPOSED.match(text.lower())
    if match is None:
        raise InvalidRequest(f"invalid exposed port {shown(text)}", hint="write it as 80/tcp")
    container, _ = parse_port_pair(text, host="", container=match[1])
    return PortMapping(parse_protocol(text, match[2] or ""), container)


def _host_address(text: str, address: str) -> IPAddress | None:
    if not address:
        return None
    parsed = parse_address("host address", address.strip("[]"))
    check_host_address(text, parsed)
    return parsed
