"""Carrying out steps in order, each run of like steps the cheapest way.

    elements            one nft transaction
    namespaces          made and deleted one by one, by a throw-away thread each
    what is on links    one datagram a run; in a sandbox, by one thread that is inside
    effects             handed to a thread that nobody waits for

Law: after a failure the steps before are done, and it and those after it are not.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from functools import partial
from itertools import groupby
from typing import Protocol, TypeVar

from atoll.errors import AtollError, InvalidRequest, KernelError, NotFound
from atoll.kernel import links, netns, sysctl
from atoll.kernel.announce import announce
from atoll.kernel.changes import Indexes, Place, carry_out
from atoll.kernel.describe import step_words
from atoll.kernel.effects import EffectThread
from atoll.kernel.kernel import Locate, StepFailed
from atoll.kernel.rtnetlink import RouteSocket, refused
from atoll.kernel.spares import Spare, Spares
from atoll.model.items import HOST, Bridge, Element, Item, Joint, Netns, State, Sysctl, Veth
from atoll.model.ops import Announce, FlushConntrack, Op, Step, Verb

_Step = TypeVar("_Step", bound=Step)

_End = tuple[str, str]
"""The inner end of a cable: sandbox, interface name."""


class ElementChanges(Protocol):
    """Changes elements of the nftables table."""

    def apply(self, ops: Sequence[Op]) -> None:
        """Make all changes in one transaction, or none. Raises KernelError."""
        ...


class Flush(Protocol):
    """Forgets tracked connections."""

    def __call__(self, *requests: FlushConntrack) -> int:
        """Forget those that match one of the requests; returns how many. Raises KernelError."""
        ...


class _Lane(Enum):
    ELEMENTS = auto()
    NAMESPACES = auto()
    LINKS = auto()
    EFFECTS = auto()


_ELEMENTS, _EFFECTS = (_Lane.ELEMENTS, HOST), (_Lane.EFFECTS, HOST)


class Executor:
    """Changes the namespace of `host`, and through it those of sandboxes. Used by one thread."""

    def __init__(
        self,
        host: RouteSocket,
        observe: Callable[[Iterable[Item], Locate], State],
        elements: ElementChanges,
        flush: Flush,
        effects: EffectThread,
        view: sysctl.View,
    ) -> None:
        self._host = host
        self._observe = observe
        self._elements = elements
        self._flush = flush
        self._effects = effects
        self._view = view
        self._indexes = Indexes()
        self._spares = Spares()
        self._fresh: dict[str, Spare] = {}
        """What namespaces made by the steps under way were made of, by sandbox."""
        self._ipv6 = os.path.exists("/proc/sys/net/ipv6")  # noqa: PTH110
        self._detached: list[_End] | None = None
        """Inner ends of cables that wait to be deleted; None until what an earlier process left is gone."""
        self._bridges: list[int] | None = None
        """Indexes of bridges that wait to be deleted; None when they have to be looked for."""

    def execute(self, steps: Sequence[Step], locate: Locate) -> None:
        """As Kernel.execute."""
        try:
            for indexes, run in _runs(_unfolded(steps)):
                try:
                    self._run(run, locate)
                except StepFailed as stop:
                    raise StepFailed(indexes[stop.index], stop.error) from stop.error
        finally:
            while self._fresh:
                self._fresh.popitem()[1].close()

    def close(self) -> None:
        """End what was made in advance."""
        self._spares.close()

    def reap(self) -> int:
        """As Kernel.reap: all cables at once, and otherwise a bridge, as each makes everybody wait by itself."""
        return self._reap_cables() or self._reap_bridge()

    def _reap_cables(self) -> int:
        if self._detached is None:
            count = sum(link.group == links.GONE_GROUP for link in self._all_links())
        else:
            count = len(self._detached)
        if count:
            refusal = self._host.change([links.delete_gone()]).get(0)
            if refusal is not None and refusal.errno != errno.ENODEV:
                raise refused("cannot delete detached interfaces", refusal)
        self._detached = []
        return count

    def _reap_bridge(self) -> int:
        if self._bridges is None:
            gone = (link for link in self._all_links() if link.alias == links.GONE_ALIAS and link.kind == "bridge")
            self._bridges = [link.index for link in gone]
        if not self._bridges:
            return 0
        refusal = self._host.change(links.delete_link(self._bridges.pop())).get(0)
        if refusal is not None and refusal.errno != errno.ENODEV:
            raise refused("cannot delete a detached bridge", refusal)
        return 1

    def _all_links(self) -> Iterator[links.Link]:
        return (links.decode_link(payload) for payload in self._host.dump(links.all_links()))

    def _run(self, run: Sequence[Step], locate: Locate) -> None:
        lane, place = _lane(run[0])
        match lane:
            case _Lane.ELEMENTS:
                self._change_elements(_ops(run))
            case _Lane.NAMESPACES:
                _one_by_one(_ops(run), self._change_namespace)
            case _Lane.LINKS if place == HOST:
                self._change_host(_ops(run), locate)
            case _Lane.LINKS:
                self._change_sandbox(place, _ops(run), locate)
            case _Lane.EFFECTS:
                self._do_effects(run, locate)

    def _change_elements(self, ops: Sequence[Op]) -> None:
        try:
            self._elements.apply(ops)
        except AtollError as error:
            if len(ops) == 1:
                raise StepFailed(0, error) from error
            # A refused transaction has done nothing: the steps before the wrong one have to be.
            _one_by_one(ops, lambda op: self._elements.apply((op,)))

    def _change_host(self, ops: Sequence[Op], locate: Locate) -> None:
        """Links of the host, and what is on them.

        A cable that waits to be deleted still has its inner end's name: it is deleted before that is taken again.
        """
        start = 0
        for index, op in enumerate(ops):
            if op.verb is Verb.REMOVE:
                self._note_detached(op.item)
            if not isinstance(op.item, Veth) or op.verb is not Verb.ADD:
                continue
            end = op.item.netns, op.item.peer_ifname
            if self._detached is None or end in self._detached:
                self._change_links(self._host, ops[start:index], locate, start)
                self._reap_cables()
                start = index
        self._change_links(self._host, ops[start:], locate, start)

    def _note_detached(self, item: Item) -> None:
        match item:
            case Bridge():
                self._bridges = None
            case Veth() if self._detached is not None:
                self._detached.append((item.netns, item.peer_ifname))
            case Joint() if self._detached is not None:
                self._detached.append((HOST, item.far_ifname))

    def _change_namespace(self, op: Op) -> None:
        assert isinstance(op.item, Netns), op
        if op.verb is Verb.REMOVE:
            netns.delete(op.item.path)
            return
        if op.verb is Verb.CHANGE and isinstance(op.before, Netns):
            netns.delete(op.before.path)
        spare = self._spares.take()
        if spare is None:
            netns.make(op.item.path, self._view, ipv6=op.item.ipv6)
        elif spare.mount(op.item.path, ipv6=op.item.ipv6):
            self._fresh[op.item.id] = spare
        else:
            spare.close()

    def _change_sandbox(self, place: str, ops: Sequence[Op], locate: Locate) -> None:
        fresh = self._fresh.get(place)
        if fresh is not None:
            self._change_fresh(fresh, ops, locate)
            return

        def inside() -> None:
            with RouteSocket() as socket:
                self._change_links(socket, ops, locate)

        try:
            netns.visit(locate(place), inside)
        except (InvalidRequest, NotFound) as error:
            for index, op in enumerate(ops):
                if op.verb is not Verb.REMOVE:
                    gone = KernelError(f"cannot {step_words(op)}: {error.message}", errno=errno.ENOENT, subject=place)
                    raise StepFailed(index, gone) from error

    def _change_fresh(self, fresh: Spare, ops: Sequence[Op], locate: Locate) -> None:
        """As `_change_sandbox`. Only sysctls need a thread inside: they are of the namespace of who opens them."""
        change = partial(self._change_links, fresh.socket, ops, locate)
        if any(isinstance(op.item, Sysctl) for op in ops):
            netns.run_at(fresh.descriptor, change)
        else:
            change()

    def _change_links(self, socket: RouteSocket, ops: Sequence[Op], locate: Locate, start: int = 0) -> None:
        """Ops of the namespace of `socket`, which the calling thread is in. `start` is added to a failure's index."""
        place = Place(
            socket, lambda item: self._observe((item,), locate).get(item.key), locate, self._indexes, self._ipv6
        )
        for is_sysctl, group in groupby(ops, lambda op: isinstance(op.item, Sysctl)):
            run = list(group)
            try:
                if is_sysctl:
                    _one_by_one(run, lambda op: _set_sysctl(op, self._view))
                else:
                    carry_out(place, run)
            except StepFailed as stop:
                raise StepFailed(start + stop.index, stop.error) from stop.error
            start += len(run)

    def _do_effects(self, run: Sequence[Step], locate: Locate) -> None:
        """As few as possible: each walks the table of connections, or makes a packet socket, whose closing waits."""
        flushes = [step for step in run if isinstance(step, FlushConntrack)]
        if flushes:
            self._effects.do(_words(flushes), partial(self._flush, *flushes))
        by_link: dict[tuple[str, str, str], list[Announce]] = {}
        for step in run:
            if isinstance(step, Announce):
                by_link.setdefault((step.netns, step.ifname, step.mac), []).append(step)
        for announces in by_link.values():
            self._effects.do(_words(announces), partial(_announce, announces, locate))


def _announce(steps: Sequence[Announce], locate: Locate) -> None:
    """Steps of one interface."""
    first = steps[0]
    with netns.opened_as(locate(first.netns)) as descriptor:
        announce(descriptor, first.ifname, [step.address for step in steps], first.mac)


def _words(steps: Sequence[Step]) -> str:
    return "; ".join(step_words(step) for step in steps[:3]) + ("; ..." if len(steps) > 3 else "")


def _unfolded(steps: Iterable[Step]) -> Iterator[tuple[int, Step]]:
    """Steps with their index; a cable that has to be made anew is removed and added."""
    for index, step in enumerate(steps):
        if isinstance(step, Op) and step.verb is Verb.CHANGE and _moves(step.item, step.before):
            assert step.before is not None
            yield index, Op(Verb.REMOVE, step.before, reason=step.reason)
            yield index, Op(Verb.ADD, step.item, reason=step.reason)
        else:
            yield index, step


def _moves(item: Item, before: Item | None) -> bool:
    match item, before:
        case Veth(), Veth():
            moved = (item.netns, item.peer_ifname) != (before.netns, before.peer_ifname)
        case Joint(), Joint():
            moved = item.far_ifname != before.far_ifname
        case _:
            return False
    return moved and item.alias == before.alias


def _runs(steps: Iterable[tuple[int, Step]]) -> Iterator[tuple[list[int], list[Step]]]:
    """Steps next to each other that are carried out together, with their indexes."""
    place: tuple[_Lane, str] | None = None
    indexes: list[int] = []
    run: list[Step] = []
    for index, step in steps:
        its = _lane(step)
        if its is not place and its != place:
            if run:
                yield indexes, run
            place, indexes, run = its, [], []
        indexes.append(index)
        run.append(step)
    if run:
        yield indexes, run


def _lane(step: Step) -> tuple[_Lane, str]:
    """Where a step is carried out. The text is the namespace of links."""
    if not isinstance(step, Op):
        return _EFFECTS
    match step.item:
        case Element():
            return _ELEMENTS
        case Netns():
            return _Lane.NAMESPACES, HOST
        case Bridge() | Veth() | Joint():
            return _Lane.LINKS, HOST
        case _ as item:
            return _Lane.LINKS, item.netns


def _ops(steps: Iterable[Step]) -> list[Op]:
    return [step for step in steps if isinstance(step, Op)]


def _one_by_one(steps: Sequence[_Step], act: Callable[[_Step], None]) -> None:
    for index, step in enumerate(steps):
        try:
            act(step)
        except AtollError as error:
            raise StepFailed(index, error) from error


def _set_sysctl(op: Op, view: sysctl.View) -> None:
    assert isinstance(op.item, Sysctl), op
    if op.verb is Verb.REMOVE:
        return
    try:
        sysctl.write(op.item.path, op.item.value, view)
    except OSError as error:
        code = error.errno or 0
        raise KernelError(
            f"cannot {step_words(op)}: {os.strerror(code).lower()}",
            errno=code,
            hint=f"cat {sysctl.ROOT}{op.item.path}",
            detail=errno.errorcode.get(code, str(code)),
        ) from error
