"""Docker's PortBindings, the API's shape of published ports, read as mappings.

    {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "53/udp": null}

A client has expanded a range into one key a port; ports that follow each other on both sides become one
range again. Source: Docker Engine API, HostConfig.PortBindings; go-connections, nat.PortMap.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

from atoll.model.addresses import parse_address
from atoll.model.ports import PortMapping, PortRange, Protocol
from atoll.model.portspec import check_distinct, check_host_address, invalid, parse_port_pair, parse_protocol

PortMap = Mapping[str, Sequence[Mapping[str, str]] | None]


def parse_port_map(bindings: PortMap) -> tuple[PortMapping, ...]:
    """The mappings of one request, ordered by protocol and container port.

    A port without bindings gets an automatic host port, as in Docker. Raises InvalidRequest naming the
    key and the binding, or the host port that two of them ask for.
    """
    mappings: list[PortMapping] = []
    for key, wanted in bindings.items():
        mappings += [_parse_binding(key, binding) for binding in wanted or ({},)]
    merged = merge_mappings(mappings)
    check_distinct(merged)
    return merged


def merge_mappings(mappings: Sequence[PortMapping]) -> tuple[PortMapping, ...]:
    """The same ports in the fewest mappings, ordered by protocol and first container port.

    Choices of one host port out of several stay as they are.
    """
    merged: list[PortMapping] = []
    for _, group in groupby(sorted(mappings, key=_order), key=lambda mapping: _order(mapping)[:3]):
        run: list[PortMapping] = []
        for mapping in group:
            if run and _continues(run[-1], mapping):
                run[-1] = _joined(run[-1], mapping)
            else:
                run.append(mapping)
        merged += run
    return tuple(sorted(merged, key=lambda mapping: (mapping.protocol, mapping.container)))


def _parse_binding(key: str, binding: Mapping[str, str]) -> PortMapping:
    container, _, word = key.partition("/")
    address, host = binding.get("HostIp") or "", binding.get("HostPort") or ""
    shown = f"{address}:{host}:{key}" if address else f"{host}:{key}" if host else key
    if not isinstance(address, str) or not isinstance(host, str):
        raise invalid(shown, "HostIp and HostPort are strings", 'write "HostPort": "8080"')
    protocol = parse_protocol(shown, word)
    ports, host_ports = parse_port_pair(shown, host=host, container=container)
    host_address = parse_address("HostIp", address) if address else None
    if host_address is not None:
        check_host_address(shown, host_address)
    return PortMapping(protocol, ports, host_ports, host_address)


def _order(mapping: PortMapping) -> tuple[Protocol, str, int, PortRange]:
    """Mappings that may be joined share the first three parts; the third is how far host is from container."""
    if mapping.host is None:
        return mapping.protocol, f"automatic {mapping.host_address}", 0, mapping.container
    shift = mapping.host.first - mapping.container.first
    kind = "choice" if _is_choice(mapping) else "exact"
    return mapping.protocol, f"{kind} {mapping.host_address}", shift, mapping.container


def _is_choice(mapping: PortMapping) -> bool:
    return mapping.host is not None and len(mapping.host) != len(mapping.container)


def _continues(earlier: PortMapping, later: PortMapping) -> bool:
    return not _is_choice(earlier) and earlier.container.last + 1 == later.container.first


def _joined(earlier: PortMapping, later: PortMapping) -> PortMapping:
    host = None
    if earlier.host is not None and later.host is not None:
        host = PortRange(earlier.host.first, later.host.last)
    container = PortRange(earlier.container.first, later.container.last)
    return PortMapping(earlier.protocol, container, host, earlier.host_address)
