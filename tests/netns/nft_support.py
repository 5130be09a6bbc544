"""The table of a test's own host, as nft sees it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from typing import Any

from atoll.kernel.kernel import Count
from atoll.kernel.nft.firewall import Firewall
from atoll.model.firewall import SETS, PartType, SetType
from atoll.model.items import Element, Key, Part, Span
from atoll.model.ops import Op, Verb
from atoll.model.ports import Protocol
from tests.netns.namespaces import inside, run


@contextmanager
def firewall_of(host: str) -> Iterator[Firewall]:
    """A firewall whose sockets are in the namespace `host`, closed with the block."""
    made = inside(host, Firewall)
    try:
        yield made
    finally:
        made.close()


def adds(*elements: Element) -> list[Op]:
    return [Op(Verb.ADD, element) for element in elements]


def removes(*elements: Element) -> list[Op]:
    return [Op(Verb.REMOVE, element) for element in elements]


def listed(host: str, name: str) -> set[Element]:
    """The elements of a set as the nft command lists them: an independent reading of the kernel."""
    return {element for element, _count in _listing(host, SETS[name])}


def counted(host: str, name: str) -> dict[Key, Count | None]:
    """The counts of a set's elements as the nft command lists them; None for one without a counter."""
    return {element.key: count for element, count in _listing(host, SETS[name])}


def _listing(host: str, kind: SetType) -> list[tuple[Element, Count | None]]:
    answer = json.loads(run(host, f"nft -j list {'map' if kind.data else 'set'} {kind.family.table} {kind.name}"))
    (found,) = (entry.get("set") or entry.get("map") for entry in answer["nftables"] if "metainfo" not in entry)
    return [_element(kind, entry) for entry in found.get("elem", [])]


def _element(kind: SetType, entry: Any) -> tuple[Element, Count | None]:
    key, value = entry if kind.data else (entry, None)
    count = None
    if isinstance(key, dict) and "elem" in key:
        counter = key["elem"]["counter"]
        key, count = key["elem"]["val"], Count(counter["packets"], counter["bytes"])
    data = tuple(map(_part, kind.data, _parts(value))) if kind.data else ()
    return Element(kind.name, tuple(map(_part, kind.parts, _parts(key))), data), count


def _parts(value: Any) -> list[Any]:
    return value["concat"] if isinstance(value, dict) and "concat" in value else [value]


def _part(kind: PartType, value: Any) -> Part:
    match value:
        case {"prefix": {"addr": address, "len": length}}:
            network = ip_network(f"{address}/{length}")
            return Span(network.network_address, network.broadcast_address)
        case {"range": [first, last]}:
            return Span(_part(kind, first), _part(kind, last))  # type: ignore[arg-type]
    match kind:
        case PartType.IPV4 | PartType.IPV6:
            return ip_address(value)
        case PartType.TARGET:
            return ip_address(int(value, 0))
        case PartType.PROTOCOL:
            return Protocol[value.upper()].value if isinstance(value, str) else int(value)
        case PartType.NFPROTO:
            return {"ipv4": 2, "ipv6": 10}[value]
        case PartType.SERVICE:
            return int(value)
        case PartType.IFNAME | PartType.ETHER:
            return str(value)
