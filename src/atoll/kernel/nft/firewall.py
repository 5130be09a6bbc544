"""The firewall as the kernel room uses it: elements go in and out, the rules stay.

Law: every change is one transaction, made whole or not at all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from atoll.kernel.kernel import Count, RuleCount
from atoll.kernel.nft.elements import Elements
from atoll.kernel.nft.library import Library
from atoll.kernel.nft.netlink import NetfilterSocket
from atoll.kernel.nft.rules import build_script, load_rules
from atoll.kernel.nft.table import Content, Table
from atoll.model.firewall import SETS, TableFamily, element_text
from atoll.model.items import Element, Key, State
from atoll.model.ops import Op, Verb


class Firewall:
    """The tables `inet atoll` and `bridge atoll` of the calling thread's network namespace. Used by one thread.

    Making it changes nothing; `ensure` does. They are made its own, where the kernel can, unless they are to be
    `shared`. Raises Unsupported without libnftables.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._library = Library()
        self._netlink = NetfilterSocket(self._library.fd)
        self._tables = {family: Table(self._netlink, family, shared=shared) for family in TableFamily}
        self._elements = Elements(self._netlink)
        self._rules = {family: load_rules(family) for family in TableFamily}
        self._owned = False

    def close(self) -> None:
        """Let go of the tables: owned ones stay as they are, for the next to adopt."""
        self._netlink.close()
        self._library.close()

    @property
    def port_id(self) -> int:
        """The netlink address from which every change of the tables comes; 0 before the first message."""
        return self._netlink.port_id

    @property
    def owned(self) -> bool:
        """True when the tables are ours alone, so that no other process's flush reaches them."""
        # While they are, nobody else can end that: asked until it is so.
        self._owned = self._owned or all(table.owned for table in self._tables.values())
        return self._owned

    def ensure(self, elements: Iterable[Element] | None = None) -> bool:
        """Make tables and rules present, ours and right; True when something had to be built.

        A table that is right stays untouched. One that is built holds these `elements`, or by default those that it
        held, though their counts begin again; all in one transaction. Raises Unavailable when another process owns a
        table, KernelError.
        """
        wrong = [family for family, table in self._tables.items() if table.claim() or not self._is_right(family)]
        if wrong and elements is not None:
            self._build(wrong, [element for element in elements if SETS[element.set].family in wrong])
        elif wrong:
            self._build(wrong, self._kept(wrong))
        return bool(wrong)

    def refill(self, elements: Iterable[Element]) -> None:
        """Make the tables hold the rules and exactly these elements, in one transaction. Raises as `ensure`."""
        for table in self._tables.values():
            table.claim()
        self._build(tuple(TableFamily), list(elements))

    def delete(self) -> None:
        """Remove the tables; no error when there are none. Raises Unavailable, KernelError."""
        self._owned = False
        for table in self._tables.values():
            table.delete()

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
        table or the set is gone; EPERM when a table is another's.
        """
        gone: dict[Key, Element] = {}
        wanted: dict[Key, Element] = {}
        for verb, element, _, _ in ops:  # the last op on a key decides whether it is there at the end
            assert isinstance(element, Element), element
            key = element.key
            if verb is not Verb.ADD:
                gone[key] = element
            if verb is Verb.REMOVE:
                wanted.pop(key, None)
            else:
                wanted[key] = element
        self._elements.change(list(gone.values()), list(wanted.values()))

    def element_counts(self) -> Mapping[Key, Count]:
        """The count of every element of a counted set since it was put in. Effects: none. Raises KernelError.

        What is changed is put in anew; what is added again with equal data stays, and so does its count.
        """
        counted = (kind.name for kind in SETS.values() if kind.counted)
        return {key: count for name in counted for key, count in self._elements.counts_of(name).items()}

    def counters(self) -> tuple[RuleCount, ...]:
        """The count of every rule that counts, with its text in the table's file, in that order."""
        return tuple(count for family in TableFamily for count in self._counters_of(family))

    def _counters_of(self, family: TableFamily) -> Iterator[RuleCount]:
        texts = {chain.name: chain.rules for chain in self._rules[family].chains}
        for found in self._tables[family].counts():
            rules = texts.get(found.chain, ())
            rule = rules[found.place] if found.place < len(rules) else f"rule {found.place + 1}"
            yield RuleCount(family.table, found.chain, rule, found.count)

    def _kept(self, families: Sequence[TableFamily]) -> list[Element]:
        """The elements that this version's rules can hold: not those of a bygone type, nor names we'd never use."""
        kept = []
        for kind in SETS.values():
            if kind.family not in families:
                continue
            with suppress(ValueError):
                for element in self._elements.all_of(kind.name).values():
                    element_text(element)
                    kept.append(element)
        return kept

    def _build(self, families: Sequence[TableFamily], elements: Sequence[Element]) -> None:
        scripts = []
        for family in families:
            rules, table = self._rules[family], self._tables[family]
            if table.status() is None:
                scripts.append(build_script(rules, elements, missing=True))
            else:
                old = table.content()
                scripts.append(build_script(rules, elements, old_chains=old.chains, old_sets=old.sets))
        self._library.run("".join(scripts))
        for family in families:
            table = self._tables[family]
            table.set_mark(self._mark(family, table.content()))

    def _is_right(self, family: TableFamily) -> bool:
        content = self._tables[family].content()
        return content.mark == self._mark(family, content)

    def _mark(self, family: TableFamily, content: Content) -> str:
        return f"rules {self._rules[family].digest} built {content.digest}"
