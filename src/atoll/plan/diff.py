"""The difference of two states as operations, in an order that works.

Removals come first and highest rank first: what lets packets in goes before the cable it leads
to, and names are free before they are taken again. Then additions and changes, lowest rank first.
"""

from collections.abc import Callable, Iterable, Iterator

from atoll.model.items import (
    FENCES,
    HOST,
    OURS,
    Address,
    Bridge,
    Element,
    Interface,
    Item,
    Joint,
    Key,
    Neighbour,
    Netns,
    Route,
    State,
    Sysctl,
    Veth,
)
from atoll.model.ops import Op, Verb

Reason = Callable[[Item], str]


def diff(desired: State, observed: State, reason: Reason = lambda item: "") -> tuple[Op, ...]:
    """What turns `observed` into `desired`. Every key of `observed` must be ours to remove.

    What disappears by itself with a link or a namespace is not removed one by one, and what was on
    a link that has to be replaced counts as absent. Shared sysctls are never taken back.
    """
    replaced = _links_to_replace(desired, observed)
    gone = _Gone(replaced.values())
    readdressed = _readdressed(desired, observed)
    left = {
        key: item
        for key, item in observed.items()
        if key not in replaced and not gone.takes(item) and not _forgotten(item, readdressed)
    }
    removals: list[Item] = [*replaced.values()]
    removals += [item for key, item in left.items() if key not in desired and not isinstance(item, Sysctl)]
    gone = _Gone(removals)
    removals = [item for item in removals if not gone.takes(item)]
    ops = [Op(Verb.REMOVE, item, None, reason(item)) for item in sorted(removals, key=_rank, reverse=True)]
    for key, item in _in_order(desired):
        there = left.get(key)
        if there is None:
            ops.append(Op(Verb.ADD, item, None, reason(item)))
        elif there != item:
            ops.append(Op(Verb.CHANGE, item, there, reason(item)))
    return tuple(ops)


def _in_order(state: State) -> Iterator[tuple[Key, Item]]:
    """By rank. Elements are not sorted, as there may be thousands: those that are no fence come last."""
    last: list[tuple[Key, Item]] = []
    early: list[tuple[Key, Item]] = []
    for keyed in state.items():
        item = keyed[1]
        (last if isinstance(item, Element) and item.set not in FENCES else early).append(keyed)
    early.sort(key=lambda keyed: keyed[1].rank)
    yield from early
    yield from last


def _rank(item: Item) -> int:
    return item.rank


def _links_to_replace(desired: State, observed: State) -> dict[Key, Bridge | Veth | Joint]:
    # A pair whose inner end is elsewhere, gone or of another MAC can't be mended: it is made anew. So is what another
    # object of ours left under the name.
    replaced: dict[Key, Bridge | Veth | Joint] = {}
    for key, there in observed.items():
        wanted = desired.get(key)
        if isinstance(there, Bridge | Veth | Joint) and there.alias.startswith(OURS) and _is_anothers(there, wanted):
            replaced[key] = there
        if isinstance(there, Joint) and isinstance(wanted, Joint) and there.far_ifname != wanted.far_ifname:
            replaced[key] = there
        if not isinstance(there, Veth) or not isinstance(wanted, Veth):
            continue
        inner = Interface(wanted.netns, wanted.peer_ifname, wanted.peer_mac, wanted.mtu_bytes).key
        moved = (there.netns, there.peer_ifname) != (wanted.netns, wanted.peer_ifname)
        if moved or (inner in desired and inner not in observed):
            replaced[key] = there
    return replaced


def _is_anothers(there: Bridge | Veth | Joint, wanted: Item | None) -> bool:
    return isinstance(wanted, Bridge | Veth | Joint) and there.alias != wanted.alias


def _readdressed(desired: State, observed: State) -> frozenset[str]:
    """Bridges whose MAC is to change: the kernel forgets the neighbours on them, permanent ones too."""
    return frozenset(
        item.ifname
        for key, item in desired.items()
        if isinstance(item, Bridge) and isinstance(there := observed.get(key), Bridge) and there.mac != item.mac
    )


def _forgotten(item: Item, readdressed: frozenset[str]) -> bool:
    return isinstance(item, Neighbour) and item.netns == HOST and item.ifname in readdressed


class _Gone:
    """What disappears with these carriers: the inside of a namespace, what lives on a link's end."""

    def __init__(self, carriers: Iterable[Item]) -> None:
        self.namespaces: set[str] = set()
        self.ends: set[tuple[str, str]] = set()
        for carrier in carriers:
            match carrier:
                case Netns():
                    self.namespaces.add(carrier.id)
                case Veth():
                    self.ends.add((carrier.netns, carrier.peer_ifname))
                case Bridge():
                    self.ends.add((HOST, carrier.ifname))

    def takes(self, item: Item) -> bool:
        """True when `item` needs no removal of its own."""
        match item:
            case Interface() | Address() | Route() | Neighbour():
                return item.netns in self.namespaces or (item.netns, item.ifname) in self.ends
            case Sysctl():
                return item.netns in self.namespaces or (item.netns, _ifname_of(item)) in self.ends
            case _:
                return False


def _ifname_of(sysctl: Sysctl) -> str:
    # net/FAMILY/conf/IFNAME/NAME
    parts = sysctl.path.split("/")
    return parts[3] if len(parts) == 5 and parts[2] == "conf" else ""
