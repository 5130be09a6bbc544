"""A kernel without a kernel: the same ops over a state in memory, refused for the same reasons.

Law: no I/O. A contract suite holds it to the running kernel, for everything that the engine relies on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from atoll.errors import KernelError, NotFound
from atoll.kernel.fake_rules import drop_with, require_room, settle
from atoll.kernel.kernel import Count, Locate, RuleCount, StepFailed
from atoll.model.firewall import SETS
from atoll.model.items import (
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
from atoll.model.ops import Announce, FlushConntrack, Op, Step, Verb

_MTU_BYTES = 1500
"""Of a link whose item leaves it to the kernel: ETH_DATA_LEN, linux/if_ether.h."""


class FakeKernel:
    """A host with nothing on it but the namespaces at `namespaces`, which are somebody else's.

    `effects` are the flushes and announcements that were carried out, in order.
    """

    def __init__(self, *, namespaces: Iterable[str] = ()) -> None:
        self.effects: list[FlushConntrack | Announce] = []
        self._state: State = {}
        self._paths = set(namespaces)
        self._table = False
        self._detached = 0
        self._bridges = 0

    def appear(self, *items: Item) -> None:
        """Somebody else makes these, in the place of what has their keys."""
        self._state.update({item.key: item for item in items})

    def vanish(self, *keys: Key) -> None:
        """Somebody else removes these, and what is on them goes along; a namespace with its Netns."""
        for key in keys:
            self._remove(self._state[key])

    def add_namespace(self, path: str) -> None:
        """Somebody else makes a namespace."""
        self._paths.add(path)

    def lose_namespace(self, path: str, sandbox: str) -> None:
        """The namespace at `path` dies, with all that `sandbox` has in it."""
        self._remove(Netns(sandbox, path))

    def prepare(self, elements: Iterable[Element] | None = None) -> bool:
        """See Kernel."""
        built, self._table = not self._table, True
        if built and elements is not None:
            self._state.update({element.key: element for element in elements})
        return built

    def reap(self) -> int:
        """See Kernel."""
        if self._detached:
            count, self._detached = self._detached, 0
            return count
        count = min(self._bridges, 1)
        self._bridges -= count
        return count

    def purge(self) -> None:
        """See Kernel."""
        self._state = {key: item for key, item in self._state.items() if not isinstance(item, Element)}
        self._table = False

    def owned(self) -> bool:
        """See Kernel."""
        return self._table

    def counters(self) -> tuple[RuleCount, ...]:
        """See Kernel: this one has no rules."""
        return ()

    def counts(self) -> Mapping[Key, Count]:
        """See Kernel: this one has no packets."""
        counted = (item for item in self._state.values() if isinstance(item, Element) and SETS[item.set].counted)
        return {item.key: Count() for item in counted}

    def observe(self, items: Iterable[Item], locate: Locate) -> State:
        """See Kernel."""
        found: State = {}
        for asked in items:
            there = self._state.get(asked.key)
            if isinstance(asked, Netns):
                if asked.path in self._paths:
                    found[asked.key] = asked
            elif there is not None and self._reaches(_netns_of(asked), locate):
                found[asked.key] = _with_mtu(there, asked)
        return found

    def survey(self, sandboxes: Iterable[str], locate: Locate) -> State:
        """See Kernel. Neither namespaces nor sysctls say whose they are."""
        places = {place for place in sandboxes if self._reaches(place, locate)}
        seen = (_seen(item, places) for item in self._state.values())
        return {item.key: item for item in seen if item is not None}

    def execute(self, steps: Sequence[Step], locate: Locate) -> None:
        """See Kernel."""
        for index, step in enumerate(steps):
            try:
                if isinstance(step, Op):
                    self._change(step, locate)
                else:
                    self.effects.append(step)
            except KernelError as error:
                raise StepFailed(index, error) from error

    def _change(self, op: Op, locate: Locate) -> None:
        item = op.item
        there = self._state.get(item.key)
        if op.verb is Verb.REMOVE:
            if there is not None and getattr(there, "alias", "") == getattr(item, "alias", ""):
                self._remove(there)
            return
        if op.verb is Verb.ADD and there == item:
            return
        netns = _netns_of(item)
        wanted = item.netns if isinstance(item, Veth) else netns
        reachable = self._reaches(netns, locate) and self._reaches(wanted, locate)
        require_room(self._state, op, there, reachable=reachable)
        if isinstance(item, Netns):
            self._paths.add(item.path)
        if isinstance(item, Veth) and isinstance(there, Veth) and _end(there) != _end(item):
            self._remove(there)
        settle(self._state, item)

    def _remove(self, item: Item) -> None:
        match item:
            case Sysctl():
                return
            case Netns():
                self._paths.discard(item.path)
            case Veth() | Joint():
                self._detached += 1
            case Bridge():
                self._bridges += 1
        drop_with(self._state, item)

    def _reaches(self, netns: str, locate: Locate) -> bool:
        """True when the namespace is there: the host's always is."""
        if netns == HOST:
            return True
        try:
            return locate(netns).path in self._paths
        except NotFound:
            return False


def _netns_of(item: Item) -> str:
    """The namespace in which an item is looked for."""
    return HOST if isinstance(item, Netns | Bridge | Veth | Joint | Element) else item.netns


def _seen(item: Item, places: set[str]) -> Item | None:
    """The item as a survey of these sandboxes and the host tells it; None when it doesn't."""
    match item:
        case Netns() | Sysctl():
            return None
        case Bridge() | Veth() | Joint() if not item.alias.startswith(OURS):
            return None
        case Veth() if item.netns not in places:
            return _with_mtu(replace(item, netns=HOST), None)
        case Interface() | Address() | Route() | Neighbour() if item.netns != HOST and item.netns not in places:
            return None
        case _:
            return _with_mtu(item, None)


def _end(item: Veth) -> tuple[str, str]:
    return item.netns, item.peer_ifname


def _with_mtu(item: Item, asked: Item | None) -> Item:
    """The item with its MTU as the kernel tells it: nothing where `asked` leaves it open."""
    if not isinstance(item, Bridge | Veth | Joint | Interface):
        return item
    if isinstance(asked, Bridge | Veth | Joint | Interface) and asked.mtu_bytes == 0:
        return replace(item, mtu_bytes=0)
    return replace(item, mtu_bytes=item.mtu_bytes or _MTU_BYTES)
