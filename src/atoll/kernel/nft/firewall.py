"""The firewall as the kernel room uses it: elements go in and out, the rules stay.

Law: every change is one transaction, made whole or not at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from atoll.kernel.kernel import Count, RuleCount
from atoll.kernel.nft.elements import Elements
from atoll.kernel.nft.library import Library
from atoll.kernel.nft.netlink import NetfilterSocket
from atoll.kernel.nft.rules import build_script, load_rules
from atoll.kernel.nft.table import Content, Table
from atoll.model.firewall import SETS, element_text
from atoll.model.items import Element, Key, State
from atoll.model.ops import Op, Verb


class Firewall:
    """The table `inet atoll` of the calling thread's network namespace. Used by one thread.

    Making it changes nothing; `ensure` does. Raises Unsupported without libnftables.
    """

    def __init__(self) -> None:
        self._library = Library()
        self._netlink = NetfilterSocket(self._library.fd)
        self._table = Table(self._netlink)
        self._elements = Elements(self._netlink)
        self._rules = load_rules()

    def close(self) -> None:
        """Let go of the table: an owned one stays as it is, for the next to adopt."""
        self._netlink.close()
        self._library.close()

    @property
    def port_id(self) -> int:
        """The netlink address from which every change of the table comes; 0 before the first message."""
        return self._netlink.port_id

    @property
    def owned(self) -> bool:
        """True when the table is ours alone, so that no other process's flush reaches it."""
        return self._table.owned

    def ensure(self) -> bool:
        """Make table and rules present, ours and right; True when something had to be built.

        What is right stays untouched, and elements stay across a rebuild, though their counts begin again. Raises
        Unavailable when another process owns the table, KernelError.
        """
        made = self._table.claim()
        if not made:
            content = self._table.content()
            if content.mark == self._mark(content):
                return False
        self._build(() if made else self._kept())
        return True

    def refill(self, elements: Iterable[Element]) -> None:
        """Make the table hold the rules and exactly these elements, in one transaction. Raises as `ensure`."""
        self._table.claim()
        self._build(elements)

    def delete(self) -> None:
        """Remove the table; no error when there is none. Raises Unavailable, KernelError."""
        self._table.delete()

    def observe(self, elements: Iterable[Element]) -> State:
        """Those of the keys of `elements` that are present, with their data as in the kernel. Effects: none."""
        return {**self._elements.look_up(elements)}

    def survey(self) -> State:
        """Every element of every set of ours. Effects: none."""
        return {key: element for name in SETS for key, element in self._elements.all_of(name).items()}

    def apply(self, ops: Sequence[Op]) -> None:
        """Make the changes of elements, all of them or none, in one transaction.

        Adding what is there with equal data and removing what is gone succeed. Raises KernelError naming the
        element: EEXIST when its key, or an overlapping interval, is there with other data; ENOENT when the
        table or the set is gone; EPERM when the table is another's.
        """
        gone: dict[Key, Element] = {}
        wanted: dict[Key, Element] = {}
        for op in ops:  # the last op on a key decides whether it is there at the end
            element = op.item
            assert isinstance(element, Element), op
            if op.verb is not Verb.ADD:
                gone[element.key] = element
            if op.verb is Verb.REMOVE:
                wanted.pop(element.key, None)
            else:
                wanted[element.key] = element
        self._elements.change(list(gone.values()), list(wanted.values()))

    def element_counts(self) -> Mapping[Key, Count]:
        """The count of every element of a counted set since it was put in. Effects: none. Raises KernelError.

        What is changed is put in anew; what is added again with equal data stays, and so does its count.
        """
        counted = (kind.name for kind in SETS.values() if kind.counted)
        return {key: count for name in counted for key, count in self._elements.counts_of(name).items()}

    def counters(self) -> tuple[RuleCount, ...]:
        """The count of every rule that counts, with its text in rules.nft, in that order."""
        texts = {chain.name: chain.rules for chain in self._rules.chains}
        counts = []
        for found in self._table.counts():
            rules = texts.get(found.chain, ())
            rule = rules[found.place] if found.place < len(rules) else f"rule {found.place + 1}"
            counts.append(RuleCount(found.chain, rule, found.count))
        return tuple(counts)

    def _kept(self) -> list[Element]:
        """The elements that this version's rules can hold: not those of a bygone type, nor names we'd never use."""
        kept = []
        for name in SETS:
            with suppress(ValueError):
                for element in self._elements.all_of(name).values():
                    element_text(element)
                    kept.append(element)
        return kept

    def _build(self, elements: Iterable[Element]) -> None:
        old = self._table.content()
        self._library.run(build_script(self._rules, elements, old_chains=old.chains, old_sets=old.sets))
        self._table.set_mark(self._mark(self._table.content()))

    def _mark(self, content: Content) -> str:
        return f"rules {self._rules.digest} built {content.digest}"
