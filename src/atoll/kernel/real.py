"""The kernel that runs: namespaces, rtnetlink, sysctls, and the nftables table, behind one interface.

Law: joins its parts and decides nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from atoll.kernel.effects import EffectThread
from atoll.kernel.execute import ElementChanges, Executor, Flush
from atoll.kernel.kernel import Count, Locate, RuleCount
from atoll.kernel.observe import Observer
from atoll.kernel.rtnetlink import RouteSocket
from atoll.kernel.sysctl import View
from atoll.model.items import Element, Item, Key, State
from atoll.model.ops import Step


class Table(ElementChanges, Protocol):
    """Our nftables tables of the host's namespace: see `kernel/nft/`."""

    @property
    def owned(self) -> bool:
        """True when no other process can change it."""
        ...

    def ensure(self, elements: Iterable[Element] | None = None) -> bool:
        """Make it present and right; True when something had to be built, with `elements` or those that are there."""
        ...

    def delete(self) -> None:
        """Remove it."""
        ...

    def observe(self, elements: Iterable[Element]) -> State:
        """Those of the keys of `elements` that are present."""
        ...

    def survey(self) -> State:
        """Every element."""
        ...

    def counters(self) -> tuple[RuleCount, ...]:
        """Counts of every rule that has them."""
        ...

    def element_counts(self) -> Mapping[Key, Count]:
        """Counts of every element that has them."""
        ...


class RealKernel:
    """Kernel over the network namespace that the calling thread is in: the host. Used by one thread.

    `table` is the host's too; `flush` forgets tracked connections and returns how many. Making it
    changes nothing.
    """

    def __init__(self, table: Table, flush: Flush) -> None:
        self._table = table
        self._host = RouteSocket()
        self._view = View()
        self._observer = Observer(self._host, self._view)
        self._effects = EffectThread()
        self._executor = Executor(self._host, self._observer.observe, table, flush, self._effects, self._view)

    def close(self) -> None:
        """Finish what waits and let go of the host's namespace. The table is its maker's to close."""
        self._executor.close()
        self._effects.close()
        self._view.close()
        self._host.close()

    def drain(self) -> None:
        """Wait until every effect of the steps so far is done: for those that look at the effects."""
        self._effects.drain()

    def prepare(self, elements: Iterable[Element] | None = None) -> bool:
        """See Kernel."""
        return self._table.ensure(elements)

    def reap(self) -> int:
        """See Kernel."""
        return self._executor.reap()

    def purge(self) -> None:
        """See Kernel."""
        self._table.delete()

    def owned(self) -> bool:
        """See Kernel."""
        return self._table.owned

    def counters(self) -> tuple[RuleCount, ...]:
        """See Kernel."""
        return self._table.counters()

    def counts(self) -> Mapping[Key, Count]:
        """See Kernel."""
        return self._table.element_counts()

    def observe(self, items: Iterable[Item], locate: Locate) -> State:
        """See Kernel."""
        asked = list(items)
        elements = [item for item in asked if isinstance(item, Element)]
        there = self._table.observe(elements) if elements else {}
        return self._observer.observe(asked, locate) | there

    def survey(self, sandboxes: Iterable[str], locate: Locate) -> State:
        """See Kernel. Namespaces are not listed: nothing about them says that they are ours."""
        return self._observer.survey(sandboxes, locate) | self._table.survey()

    def execute(self, steps: Sequence[Step], locate: Locate) -> None:
        """See Kernel."""
        self._executor.execute(steps, locate)
