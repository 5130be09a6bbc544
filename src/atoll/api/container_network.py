"""Docker's JSON for a new container's network, parsed to what the engine calls a sandbox. Pure."""

import re
from collections.abc import Callable
from dataclasses import replace

from atoll.api import container_body as body
from atoll.api.docker_endpoints import parse_endpoint
from atoll.errors import InvalidRequest
from atoll.model.addresses import parse_mac
from atoll.model.image import Image
from atoll.model.names import shown
from atoll.model.network import DEFAULT_BRIDGE_NETWORK
from atoll.model.portmap import merge_mappings, parse_port_map
from atoll.model.ports import PortMapping
from atoll.model.portspec import check_distinct, parse_port_pair, parse_protocol
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
    # A key without bindings is no wish, to Docker's create.
    wishes = {
        text: [{"HostIp": each.host_ip, "HostPort": str(each.host_port)} for each in wanted]
        for text, wanted in asked.host_config.port_bindings.items()
        if wanted
    }
    found = list(parse_port_map(wishes))
    if asked.host_config.publish_all_ports:
        published = {(mapping.protocol, mapping.container) for mapping in found}
        exposed = dict.fromkeys((*asked.exposed_ports, *image.config.exposed_ports))
        found += [each for each in map(_exposed, exposed) if (each.protocol, each.container) not in published]
    mappings = merge_mappings(found)
    check_distinct(mappings)
    return mappings


def _exposed(text: str) -> PortMapping:
    match = _EXPOSED.match(text.lower())
    if match is None:
        raise InvalidRequest(f"invalid exposed port {shown(text)}", hint="write it as 80/tcp")
    container, _ = parse_port_pair(text, host="", container=match[1])
    return PortMapping(parse_protocol(text, match[2] or ""), container)
