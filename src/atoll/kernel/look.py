"""One look into one namespace: its links and what is on them, as items.

Law: changes nothing, and knows of no other namespace.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from atoll.kernel import inet, links, sysctl
from atoll.kernel.links import Link
from atoll.kernel.rtnetlink import Refusal, RouteSocket
from atoll.model.addresses import Family, family_of
from atoll.model.items import (
    FAR,
    OURS,
    ROUTE_PROTOCOL,
    Address,
    Bridge,
    Interface,
    Item,
    Joint,
    Neighbour,
    Route,
    Sysctl,
    Veth,
)

_Item = TypeVar("_Item")


class LinkNames:
    """Names of links by index, asking for those that are not known yet."""

    def __init__(self, socket: RouteSocket, known: Iterable[Link] = ()) -> None:
        self._socket = socket
        self._names = {link.index: link.ifname for link in known}

    def of(self, index: int) -> str:
        """The link's name; "" for 0, or when it is gone."""
        if index and index not in self._names:
            answer = self._socket.ask([links.get_by_index(index)])[0]
            self._names[index] = links.decode_link(answer).ifname if isinstance(answer, bytes) else ""
        return self._names.get(index, "")


def find_links(socket: RouteSocket, names: Iterable[str]) -> dict[str, Link]:
    """The links of these names that exist, by name."""
    wanted = link_names(names)
    return links_among(wanted, socket.ask([links.get_by_name(name) for name in wanted]))


def link_names(names: Iterable[str]) -> list[str]:
    """What there is to ask for."""
    return sorted(name for name in set(names) if name)


def links_among(names: Sequence[str], answers: Sequence[bytes | Refusal]) -> dict[str, Link]:
    """The links that exist, by name, from the answers for each name."""
    found = zip(names, answers, strict=True)
    return {name: links.decode_link(answer) for name, answer in found if isinstance(answer, bytes)}


def our_links(socket: RouteSocket) -> list[Link]:
    """Links with an alias of ours, less those that wait to be deleted, and less joints' far ends."""
    everything = (links.decode_link(payload) for payload in socket.dump(links.all_links()))
    ours = (link for link in everything if link.alias.startswith(OURS) and link.alias != links.GONE_ALIAS)
    return [link for link in ours if not link.alias.endswith(FAR)]


def bridge_item(link: Link, mtu_bytes: int) -> Bridge:
    """A link as a bridge. One that is down, or no bridge, has no MAC, as there is no field to say so."""
    right = link.up and link.kind == "bridge"
    return Bridge(link.ifname, link.alias, link.mac if right else "", mtu_bytes)


def veth_item(link: Link, bridge: str, peer: Link | None, netns: str, mtu_bytes: int) -> Veth:
    """A link as a veth. One that is down is on no bridge, as there is no field to say so."""
    return Veth(
        link.ifname,
        link.alias,
        bridge if link.up else "",
        netns,
        peer.ifname if peer else "",
        peer.mac if peer else "",
        mtu_bytes,
        isolated=link.isolated,
        hairpin=link.hairpin,
    )


def is_joint(link: Link, peer: Link | None) -> bool:
    """True when the two are the ends of a joint, the near one first."""
    return peer is not None and link.peer_nsid is None and peer.alias == f"{link.alias}{FAR}"


def joint_item(link: Link, bridge: str, peer: Link | None, far_bridge: str, mtu_bytes: int) -> Joint:
    """A link as a joint, whose far end is `peer` when that is one. An end with a wrong flag or MTU is on no bridge."""
    far = peer if is_joint(link, peer) else None
    return Joint(
        link.ifname,
        link.alias,
        bridge if link.up and not link.hairpin else "",
        far.ifname if far else "",
        far_bridge if far and _is_plain_port(far) and far.mtu_bytes == link.mtu_bytes else "",
        mtu_bytes,
        isolated=link.isolated,
    )


def _is_plain_port(link: Link) -> bool:
    return link.up and not link.hairpin and not link.isolated


def interface_item(netns: str, link: Link, mtu_bytes: int) -> Interface:
    """A link as the inner end of a pair. One that is down has no MAC."""
    return Interface(netns, link.ifname, link.mac if link.up else "", mtu_bytes)


def look_at(socket: RouteSocket, asked: Sequence[Item], found: Mapping[str, Link], view: sysctl.View) -> Iterator[Item]:
    """What is there of the keys of `asked`, bridges, veths and joints apart. `found` are the links of their names."""
    names = LinkNames(socket, found.values())
    for interface in _of(asked, Interface):
        if interface.ifname in found:
            link = found[interface.ifname]
            yield interface_item(interface.netns, link, link.mtu_bytes if interface.mtu_bytes else 0)
    yield from _look_at_addresses(socket, _of(asked, Address), found)
    yield from _look_at_routes(socket, _of(asked, Route), names)
    yield from _look_at_neighbours(socket, _of(asked, Neighbour), found)
    for each in _of(asked, Sysctl):
        value = sysctl.read(each.path, view)
        if value is not None:
            yield Sysctl(each.netns, each.path, value)


def names_in(asked: Iterable[Item]) -> set[str]:
    """Names of the links that these items are, or are on."""
    kinds = (Bridge, Veth, Joint, Interface, Address, Route, Neighbour)
    return {item.ifname for item in asked if isinstance(item, kinds)}


def _of(asked: Iterable[Item], kind: type[_Item]) -> list[_Item]:
    return [item for item in asked if isinstance(item, kind)]


def _look_at_addresses(socket: RouteSocket, asked: list[Address], found: Mapping[str, Link]) -> Iterator[Item]:
    by_link: dict[str, list[Address]] = defaultdict(list)
    for item in asked:
        by_link[item.ifname].append(item)
    for ifname, items in by_link.items():
        if ifname in found:
            there = {entry.address for entry in _addresses(socket, found[ifname].index)}
            yield from (item for item in items if item.address in there)


def _look_at_routes(socket: RouteSocket, asked: list[Route], names: LinkNames) -> Iterator[Item]:
    for family in {family_of(item.destination) for item in asked}:
        # Local routes to one address stand side by side, one an interface; others stand in each other's place.
        wanted = {
            (item.destination, inet.wire_metric(item), item.ifname if item.local else None): item for item in asked
        }
        for entry in _our_routes(socket, family):
            there = names.of(entry.index)
            item = wanted.get((entry.destination, entry.metric, there if entry.local else None))
            if item is not None:
                yield Route(item.netns, entry.destination, there, entry.gateway, item.metric, entry.local)


def _look_at_neighbours(socket: RouteSocket, asked: list[Neighbour], found: Mapping[str, Link]) -> Iterator[Item]:
    there = [item for item in asked if item.ifname in found]
    answers = socket.ask([inet.get_neighbour(item.address, found[item.ifname].index) for item in there])
    for item, answer in zip(there, answers, strict=True):
        entry = inet.decode_neighbour(answer) if isinstance(answer, bytes) else None
        if entry is not None and entry.permanent:
            yield Neighbour(item.netns, item.ifname, item.address, entry.mac)


def ours_on(socket: RouteSocket, netns: str, carriers: Iterable[Link]) -> Iterator[Item]:
    """Addresses, routes and permanent neighbours that we made, on these links."""
    on = {link.index: link.ifname for link in carriers}
    for address in _addresses(socket, 0):
        if address.ours and address.index in on:
            yield Address(netns, on[address.index], address.address)
    names = LinkNames(socket, carriers)
    for family in Family:
        for route in _our_routes(socket, family):
            metric = inet.model_metric(family, route.metric)
            yield Route(netns, route.destination, names.of(route.index), route.gateway, metric, route.local)
        for payload in socket.dump(inet.neighbours(family)):
            entry = inet.decode_neighbour(payload)
            if entry is not None and entry.ours and entry.permanent and entry.index in on:
                yield Neighbour(netns, on[entry.index], entry.address, entry.mac)


def _addresses(socket: RouteSocket, index: int) -> Iterator[inet.AddressEntry]:
    for payload in socket.dump(inet.addresses_of(index)):
        entry = inet.decode_address(payload)
        if entry is not None:
            yield entry


def _our_routes(socket: RouteSocket, family: Family) -> Iterator[inet.RouteEntry]:
    for payload in socket.dump(inet.routes(family, protocol=ROUTE_PROTOCOL)):
        entry = inet.decode_route(payload)
        # Before Linux 4.20 the kernel does not filter.
        if entry is not None and entry.protocol == ROUTE_PROTOCOL and (entry.main or entry.local):
            yield entry
