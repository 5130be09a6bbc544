"""Reading kernel state as items: what is there of some keys, or everything of ours.

Law: changes nothing. A namespace is read by a thread that is inside it, except for the ends of cables:
the host's namespace can see those.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from atoll.errors import InvalidRequest, NotFound
from atoll.kernel import inet, links, netns
from atoll.kernel.kernel import Locate
from atoll.kernel.links import Link
from atoll.kernel.look import (
    LinkNames,
    bridge_item,
    find_links,
    interface_item,
    is_joint,
    joint_item,
    look_at,
    names_in,
    our_links,
    ours_on,
    veth_item,
)
from atoll.kernel.rtnetlink import RouteSocket
from atoll.kernel.sysctl import View
from atoll.model.items import HOST, Bridge, Element, Item, Joint, Netns, State, Veth, state_of


class Observer:
    """Reads the namespace of `host`, and through it those of sandboxes. Elements are not its business."""

    def __init__(self, host: RouteSocket, view: View) -> None:
        self._host = host
        self._view = view

    def observe(self, items: Iterable[Item], locate: Locate) -> State:
        """As Kernel.observe, of everything but elements."""
        by_netns: dict[str, list[Item]] = defaultdict(list)
        found: list[Item] = []
        for item in items:
            match item:
                case Netns():
                    if netns.exists(item.path):
                        found.append(item)
                case Bridge() | Veth() | Joint():
                    by_netns[HOST].append(item)
                case Element():
                    pass
                case _:
                    by_netns[item.netns].append(item)
        for place, asked in by_netns.items():
            found += self._on_host(asked, locate) if place == HOST else _inside(place, locate, asked, self._view)
        return state_of(*found)

    def survey(self, sandboxes: Iterable[str], locate: Locate) -> State:
        """As Kernel.survey, of everything but elements."""
        ours = our_links(self._host)
        cables = [link for link in ours if link.kind == "veth"]
        bridges = [link for link in ours if link.kind != "veth"]
        peers = self._peers(cables)
        numbers = self._nsids(sandboxes, locate)
        places: dict[int | None, str] = {number: place for place, number in numbers.items()}
        names = LinkNames(self._host, ours)
        items: list[Item] = [bridge_item(link, link.mtu_bytes) for link in bridges]
        inner: dict[str, list[Link]] = defaultdict(list)
        for link in cables:
            peer, place = peers.get(link.index), places.get(link.peer_nsid, HOST)
            if is_joint(link, peer):
                items.append(_joint(link, peer, names, link.mtu_bytes))
                continue
            items.append(veth_item(link, names.of(link.master), peer, place, link.mtu_bytes))
            if peer is not None and place != HOST:
                inner[place].append(peer)
        items += ours_on(self._host, HOST, bridges)
        for place, ends in inner.items():
            items += [interface_item(place, link, link.mtu_bytes) for link in ends]
            items += _ours_inside(place, locate, ends)
        return state_of(*items)

    def _on_host(self, asked: Sequence[Item], locate: Locate) -> Iterator[Item]:
        cables = [item for item in asked if isinstance(item, Veth)]
        joints = [item for item in asked if isinstance(item, Joint)]
        found = find_links(self._host, names_in(asked))
        bridges = {item.bridge for item in cables if item.ifname in found}
        bridges |= {name for item in joints for name in (item.bridge, item.far_bridge)}
        found |= find_links(self._host, bridges - found.keys())
        for item in asked:
            if isinstance(item, Bridge) and item.ifname in found:
                link = found[item.ifname]
                yield bridge_item(link, link.mtu_bytes if item.mtu_bytes else 0)
        yield from self._cables([item for item in cables if item.ifname in found], found, locate)
        yield from self._joints([item for item in joints if item.ifname in found], found)
        yield from look_at(self._host, asked, found, self._view)

    def _cables(self, asked: Sequence[Veth], found: Mapping[str, Link], locate: Locate) -> Iterator[Item]:
        names = LinkNames(self._host, found.values())
        peers = self._peers([found[item.ifname] for item in asked])
        numbers = self._nsids({item.netns for item in asked}, locate)
        for item in asked:
            link = found[item.ifname]
            there = link.peer_nsid is not None and link.peer_nsid == numbers.get(item.netns)
            mtu_bytes = link.mtu_bytes if item.mtu_bytes else 0
            place = item.netns if there else HOST
            yield veth_item(link, names.of(link.master), peers.get(link.index), place, mtu_bytes)

    def _joints(self, asked: Sequence[Joint], found: Mapping[str, Link]) -> Iterator[Item]:
        names = LinkNames(self._host, found.values())
        peers = self._peers([found[item.ifname] for item in asked])
        for item in asked:
            link = found[item.ifname]
            yield _joint(link, peers.get(link.index), names, link.mtu_bytes if item.mtu_bytes else 0)

    def _peers(self, ours: Sequence[Link]) -> dict[int, Link]:
        """The other ends of veths by the index of the host's end, seen from here."""
        linked = [link for link in ours if link.peer_index]
        answers = self._host.ask([links.get_by_index(link.peer_index, nsid=link.peer_nsid) for link in linked])
        pairs = zip(linked, answers, strict=True)
        return {link.index: links.decode_link(answer) for link, answer in pairs if isinstance(answer, bytes)}

    def _nsids(self, sandboxes: Iterable[str], locate: Locate) -> dict[str, int]:
        """By which number the host's namespace knows each sandbox's; those gone, or never linked, are left out."""
        numbers: dict[str, int] = {}
        for place in sandboxes:
            try:
                with netns.opened(locate(place).path) as descriptor:
                    answer = self._host.ask([inet.get_nsid(descriptor)])[0]
            except (InvalidRequest, NotFound):
                continue
            number = inet.decode_nsid(answer) if isinstance(answer, bytes) else None
            if number is not None:
                numbers[place] = number
        return numbers


def _joint(link: Link, peer: Link | None, names: LinkNames, mtu_bytes: int) -> Joint:
    return joint_item(link, names.of(link.master), peer, names.of(peer.master) if peer else "", mtu_bytes)


def _inside(place: str, locate: Locate, asked: Sequence[Item], view: View) -> list[Item]:
    def look() -> list[Item]:
        with RouteSocket() as socket:
            return list(look_at(socket, asked, find_links(socket, names_in(asked)), view))

    try:
        return netns.visit(locate(place), look)
    except (InvalidRequest, NotFound):
        return []


def _ours_inside(place: str, locate: Locate, ends: Sequence[Link]) -> list[Item]:
    def look() -> list[Item]:
        with RouteSocket() as socket:
            return list(ours_on(socket, place, ends))

    try:
        return netns.visit(locate(place), look)
    except (InvalidRequest, NotFound):
        return []
