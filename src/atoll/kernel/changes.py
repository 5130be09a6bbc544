"""Changing links, addresses, routes and neighbours of one namespace: many ops in one datagram.

Law: what isn't ours stays as it is. Every link is looked up first, and the requests name it by its
index; a new one gets an index of our choice, so that a request that follows in the same datagram can't
meet another's link when the creation fails.

The kernel goes on after a request that it refuses. So when one is, what was carried out after it in
the same datagram is taken back: the steps before are done, it and those after it are not.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from atoll.errors import InvalidRequest, KernelError, NotFound
from atoll.kernel import inet, links, netns
from atoll.kernel.describe import step_words
from atoll.kernel.kernel import Locate, StepFailed
from atoll.kernel.links import Joined, Link
from atoll.kernel.look import link_names, links_among
from atoll.kernel.rtnetlink import REQUESTS_MAX, Refusal, Request, RouteSocket, refused
from atoll.model.items import HOST, Address, Bridge, Interface, Item, Joint, Neighbour, Route, Veth
from atoll.model.ops import Op, Verb

INDEX_BASE = 1 << 20
"""Our links' indexes start here, far above those that the kernel gives out: it counts up from 1."""
INDEX_TRIES_MAX = 4

ADDRESSES_MAX = 14
"""Addresses that a bridge is relieved of before it is deleted. It has one a family, and what others gave it."""

_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENXIO})
"""What a removal is told about things that are not there."""

Answers = list[bytes | Refusal]

Look = Callable[[Item], Item | None]
"""What is there of an item's key."""


class Indexes:
    """Chooses indexes for new links of one namespace."""

    def __init__(self) -> None:
        self._next = INDEX_BASE

    def claim(self, socket: RouteSocket, count: int, known: Sequence[Request] = ()) -> tuple[list[int], Answers]:
        """So many free indexes, not used before by this object, with the answers to `known`. Raises KernelError."""
        asked = tuple(known)
        answers: Answers = []
        for _ in range(INDEX_TRIES_MAX if count else 0):
            chosen = list(range(self._next, self._next + count))
            self._next += count
            found = socket.ask([*asked, *(links.get_by_index(index) for index in chosen)])
            answers, asked = answers or found[: len(asked)], ()
            if all(isinstance(answer, Refusal) for answer in found[-count:]):
                return chosen, answers
            highest = max(links.decode_link(payload).index for payload in socket.dump(links.all_links()))
            self._next = max(self._next, highest + 1)
        if count:
            raise KernelError("cannot find a free interface index", errno=errno.EBUSY)
        return [], socket.ask(asked)


@dataclass(frozen=True, slots=True)
class Place:
    """Where ops of one namespace are carried out, and what they need to know."""

    socket: RouteSocket
    look: Look
    locate: Locate
    indexes: Indexes
    ipv6: bool
    """The kernel has IPv6."""


def carry_out(place: Place, ops: Sequence[Op]) -> None:
    """Do the ops in order. Raises StepFailed."""
    start = 0
    for group in _in_datagrams(ops):
        try:
            _Batch(place).carry_out(group)
        except StepFailed as stop:
            raise StepFailed(start + stop.index, stop.error) from stop.error
        start += len(group)


def _in_datagrams(ops: Sequence[Op]) -> Iterator[list[Op]]:
    """The ops in groups whose requests fit one datagram."""
    group: list[Op] = []
    requests = 0
    for op in ops:
        needed = _requests_max(op)
        if requests + needed > REQUESTS_MAX:
            yield group
            group, requests = [], 0
        group.append(op)
        requests += needed
    if group:
        yield group


def _requests_max(op: Op) -> int:
    match op.item:
        case Joint():
            return 5
        case Bridge() if op.verb is Verb.REMOVE:
            return 2 + ADDRESSES_MAX
        case Veth():
            return 3
        case Bridge():
            return 2
        case _:
            return 1


class _Batch:
    """The requests of some ops, prepared one by one and sent at once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._links: dict[str, Link] = {}
        """Links by name, as they will be when the ops prepared so far are carried out."""
        self._indexes: Iterator[int] = iter(())
        self._prepared: list[tuple[Op, tuple[Request, ...]]] = []
        self._descriptors = ExitStack()

    def carry_out(self, ops: Sequence[Op]) -> None:
        socket = self._place.socket
        names = link_names(name for op in ops for name in _names_in(op))
        asked = [links.get_by_name(name) for name in names]
        indexes, answers = self._place.indexes.claim(socket, sum(map(_new_links, ops)), asked)
        self._links, self._indexes = links_among(names, answers), iter(indexes)
        unready: KernelError | None = None
        with self._descriptors:
            for op in ops:
                try:
                    self._prepared.append((op, self._requests(op)))
                except KernelError as error:
                    unready = error
                    break
            refusals = socket.change([request for _, requests in self._prepared for request in requests])
        self._judge(refusals)
        if unready is not None:
            raise StepFailed(len(self._prepared), unready)

    def _judge(self, refusals: dict[int, Refusal]) -> None:
        """Raise StepFailed for the first op that was refused, having taken back what came after."""
        failed: tuple[int, KernelError] | None = None
        later: list[Op] = []
        first = 0
        for index, (op, requests) in enumerate(self._prepared):
            mine = [refusals.get(first + place) for place in range(len(requests))]
            first += len(requests)
            if failed is None:
                error = self._error(op, [refusal for refusal in mine if refusal is not None])
                failed = None if error is None else (index, error)
            # The op itself too, where the kernel did half of it.
            if failed is not None and None in mine:
                later.append(op)
        if failed is not None:
            index, error = failed
            left = [step_words(op) for op in reversed(later) if not self._taken_back(op)]
            if left:
                error.detail += "; done out of order: " + ", ".join(left)
            raise StepFailed(index, error)

    def _error(self, op: Op, refusals: Sequence[Refusal]) -> KernelError | None:
        """What is wrong with an op that was refused; None when it is as it should be all the same."""
        for refusal in refusals:
            if op.verb is Verb.REMOVE and refusal.errno in _GONE:
                continue
            if op.verb is Verb.ADD and refusal.errno == errno.EEXIST and self._place.look(op.item) == op.item:
                continue
            return _refused(op, refusal)
        return None

    def _taken_back(self, op: Op) -> bool:
        inverse = op.inverse
        if inverse is None:
            return False
        try:
            _Batch(self._place).carry_out((inverse,))
        except StepFailed:
            return False
        return True

    def _requests(self, op: Op) -> tuple[Request, ...]:
        """What to send for an op; nothing when it is done already. Raises KernelError when it can't be done."""
        match op.item:
            case Bridge() | Veth() | Joint():
                return self._link_requests(op, op.item)
            case Interface() | Address() | Route() | Neighbour() as item:
                link = self._links.get(item.ifname)
                if link is not None:
                    return _requests_on(op, item, link)
                if op.verb is Verb.REMOVE:
                    return ()
                raise _missing(op, f"no interface {item.ifname}")
            case _:
                raise AssertionError(op)

    def _link_requests(self, op: Op, item: Bridge | Veth | Joint) -> tuple[Request, ...]:
        link = self._links.get(item.ifname)
        match op.verb:
            case Verb.ADD if link is None:
                index = next(self._indexes)
                requests = self._make(op, item, index)
                self._links[item.ifname] = Link(index, item.ifname, alias=item.alias)
                return requests
            case Verb.ADD:
                if self._place.look(item) == item:
                    return ()
                raise _taken(op, item, link)
            case Verb.CHANGE:
                if link is None:
                    raise _missing(op, f"no interface {item.ifname}")
                if link.alias != item.alias:
                    raise _taken(op, item, link)
                return self._mend(op, item, link)
            case Verb.REMOVE:
                if link is None or link.alias != item.alias:
                    return ()
                del self._links[item.ifname]
                return self._detach(item, link)

    def _detach(self, item: Bridge | Veth | Joint, link: Link) -> tuple[Request, ...]:
        """Out of service at once, and deleted later: that waits for the kernel."""
        if isinstance(item, Bridge):
            # A host has an address even while the interface that it is on is down.
            payloads = self._place.socket.dump(inet.addresses_of(link.index))
            there = [entry for entry in map(inet.decode_address, payloads) if entry is not None]
            addresses = (Address(HOST, item.ifname, entry.address) for entry in there[:ADDRESSES_MAX])
            gone = (inet.delete_address(address, link.index) for address in addresses)
            return (*gone, *links.detach_bridge(link.index))
        far = self._links.pop(item.far_ifname, None) if isinstance(item, Joint) else None
        if isinstance(item, Joint) and far is not None and far.alias == item.far_alias:
            return (*links.detach(link.index), *links.detach(far.index))
        return links.detach(link.index)

    def _make(self, op: Op, item: Bridge | Veth | Joint, index: int) -> tuple[Request, ...]:
        if isinstance(item, Bridge):
            return links.add_bridge(item, index)
        if isinstance(item, Joint):
            far = next(self._indexes)
            requests = links.add_joint(item, Joined(index, far), self._joined(op, item), ipv6=self._place.ipv6)
            self._links[item.far_ifname] = Link(far, item.far_ifname, alias=item.far_alias)
            return requests
        bridge = self._bridge_of(op, item.bridge)
        try:
            known = self._place.locate(item.netns)
            descriptor = self._descriptors.enter_context(netns.opened_as(known))
        except (InvalidRequest, NotFound) as error:
            raise _missing(op, error.message) from error
        return links.add_veth(item, index, bridge=bridge, netns=descriptor, ipv6=self._place.ipv6)

    def _mend(self, op: Op, item: Bridge | Veth | Joint, link: Link) -> tuple[Request, ...]:
        if isinstance(item, Bridge):
            return links.change_bridge(item, link)
        if isinstance(item, Veth):
            bridge = self._bridge_of(op, item.bridge)
            return links.change_veth(item, link.index, bridge=bridge, ipv6=self._place.ipv6)
        far = self._links.get(item.far_ifname)
        if far is None or far.alias != item.far_alias:
            raise _missing(op, f"no far end {item.far_ifname}")
        indexes = Joined(link.index, far.index)
        return links.change_joint(item, indexes, self._joined(op, item), ipv6=self._place.ipv6)

    def _joined(self, op: Op, item: Joint) -> Joined:
        return Joined(self._bridge_of(op, item.bridge), self._bridge_of(op, item.far_bridge))

    def _bridge_of(self, op: Op, ifname: str) -> int:
        bridge = self._links.get(ifname)
        if bridge is None:
            raise _missing(op, f"no bridge {ifname}")
        return bridge.index


def _requests_on(op: Op, item: Interface | Address | Route | Neighbour, link: Link) -> tuple[Request, ...]:
    removed = op.verb is Verb.REMOVE
    match item:
        case Interface():
            return links.set_down(link.index) if removed else links.set_interface(item, link)
        case Address():
            return ((inet.delete_address if removed else inet.add_address)(item, link.index),)
        case Neighbour():
            return ((inet.delete_neighbour if removed else inet.add_neighbour)(item, link.index),)
        case Route():
            if removed:
                return (inet.delete_route(item, link.index),)
            return ((inet.add_route if op.verb is Verb.ADD else inet.change_route)(item, link.index),)


def _names_in(op: Op) -> Iterator[str]:
    assert isinstance(op.item, Bridge | Veth | Joint | Interface | Address | Route | Neighbour), op
    yield op.item.ifname
    if isinstance(op.item, Veth | Joint) and op.verb is not Verb.REMOVE:
        yield op.item.bridge
    if isinstance(op.item, Joint):
        yield op.item.far_ifname
        if op.verb is not Verb.REMOVE:
            yield op.item.far_bridge


def _new_links(op: Op) -> int:
    match op.item:
        case Bridge() | Veth() if op.verb is Verb.ADD:
            return 1
        case Joint() if op.verb is Verb.ADD:
            return 2
        case _:
            return 0


def _refused(op: Op, refusal: Refusal) -> KernelError:
    note = ""
    if refusal.errno == errno.EEXIST and isinstance(op.item, Veth):
        note = f"{op.item.peer_ifname} is in the namespace already"
    if refusal.errno == errno.EEXIST and isinstance(op.item, Joint):
        note = f"{op.item.far_ifname} exists already"
    if refusal.errno == errno.EEXIST and isinstance(op.item, Route):
        note = "another route of the same metric is there"
    return refused(f"cannot {step_words(op)}", refusal, note)


def _missing(op: Op, reason: str) -> KernelError:
    return KernelError(f"cannot {step_words(op)}: {reason}", errno=errno.ENODEV, detail="ENODEV")


def _taken(op: Op, item: Bridge | Veth | Joint, link: Link | None) -> KernelError:
    owner = link.alias if link and link.alias else "somebody else"
    what = "differs" if owner == item.alias else f"belongs to {owner}"
    return KernelError(
        f"cannot {step_words(op)}: the interface exists and {what}",
        errno=errno.EEXIST,
        hint=f"ip -d link show {item.ifname}",
        subject=item.ifname,
        detail="EEXIST",
    )
