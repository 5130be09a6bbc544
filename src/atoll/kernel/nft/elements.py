"""Elements of our tables' sets in the kernel: look up, list, change in one transaction, whatever table they are of."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import NamedTuple, TypeVar

from atoll.errors import KernelError
from atoll.kernel.kernel import Count
from atoll.kernel.nft.codec import CODECS
from atoll.kernel.nft.netlink import Flag, Kind, Message, NetfilterSocket, Refused, attributes, nest, text
from atoll.model.firewall import SETS, TABLE, TABLES, element_text
from atoll.model.items import Element, Key, Part, Span

_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3  # NFTA_SET_ELEM_LIST_*
_NEST_BYTES_MAX = 60_000  # an attribute's length is 16 bits
_ASK_MAX = 256  # keys of one set above which a dump is quicker than questions
_LIST_TRIES_MAX = 32
_MESSAGE_HEADERS = 20  # nlmsghdr and nfgenmsg

_Row = TypeVar("_Row")


class Elements:
    """The elements of all sets of our tables, through `netlink`, which must own the tables to change them.

    `destroys`: the kernel has NFT_MSG_DESTROYSETELEM (Linux 6.3), for which what is gone is no error. It is
    unlearnt when the kernel refuses the message.
    """

    def __init__(self, netlink: NetfilterSocket, *, destroys: bool = True) -> None:
        self._netlink = netlink
        self._destroys = destroys

    def all_of(self, name: str) -> dict[Key, Element]:
        """Every element of a set by key, none when the set is not there. Raises KernelError, ValueError."""
        return self._listed(name, CODECS[name].decode_list, attrgetter("key"))

    def counts_of(self, name: str) -> dict[Key, Count]:
        """The count of every element of a set that has one, by the element's key. Raises as `all_of`."""
        rows = self._listed(name, CODECS[name].decode_counts, itemgetter(0))
        return {key: count for key, (_, count) in rows.items()}

    def _listed(
        self, name: str, decode: Callable[[bytes], Iterator[_Row]], key: Callable[[_Row], Key]
    ) -> dict[Key, _Row]:
        """What `decode` makes of the lists in the dump of a set, by key."""
        for _ in range(_LIST_TRIES_MAX):
            rows = [row for payload in self._lists(name) for row in decode(payload)]
            found = {key(row): row for row in rows}
            # The kernel counts its way through a hash table from one part of a dump to the next. After many
            # additions it rebuilds that table in the background, and a dump meanwhile shows some elements twice
            # and misses as many others.
            if len(found) == len(rows):
                return found
        raise KernelError(
            f"cannot list {name}: its table is being rebuilt all the time", errno=errno.EINTR, subject=name
        )

    def _lists(self, name: str) -> list[bytes]:
        try:
            bodies = self._netlink.dump(Message(SETS[name].family, Kind.GETSETELEM, _where(name)))
        except Refused as refused:
            if refused.errno == errno.ENOENT:
                return []
            raise _error(refused, None) from refused
        return [dict(attributes(body)).get(_LIST_ELEMENTS, b"") for body in bodies]

    def look_up(self, asked: Iterable[Element]) -> dict[Key, Element]:
        """Those that are there of the keys of `asked`, with the kernel's data. Raises KernelError."""
        found: dict[Key, Element] = {}
        for name, group in by_set(asked).items():
            if len(group) <= _ASK_MAX:
                matches = self._match(name, group)
                if all(
                    match is None or match.key == element.key for element, match in zip(group, matches, strict=True)
                ):
                    found.update((match.key, match) for match in matches if match is not None)
                    continue
            present = self.all_of(name)
            found.update((element.key, present[element.key]) for element in group if element.key in present)
        return found

    def change(self, gone: Sequence[Element], wanted: Sequence[Element]) -> None:
        """Remove the keys of `gone`, then add `wanted`, in one transaction.

        What is gone already, and what is there with equal data, is no error. Raises KernelError; then nothing
        has changed.
        """
        try:
            self._transact(gone, wanted)
        except _NoDestroy:
            self._destroys = False
            self._transact(gone, wanted)

    def _transact(self, gone: Sequence[Element], wanted: Sequence[Element]) -> None:
        removed, restored = self._removable(gone)
        batch = [
            *_chunks(Kind.DESTROYSETELEM if self._destroys else Kind.DELSETELEM, removed),
            *_chunks(Kind.NEWSETELEM, [*restored, *wanted]),
        ]
        try:
            self._netlink.transact([chunk.message for chunk in batch])
        except Refused as refused:
            chunk = batch[refused.index] if refused.index >= 0 else None
            if chunk and chunk.message.kind is Kind.DESTROYSETELEM and refused.errno == errno.EINVAL:
                raise _NoDestroy from None
            raise _error(refused, chunk) from refused

    def _removable(self, gone: Sequence[Element]) -> tuple[list[Element], list[Element]]:
        """What to delete, in order, so that `gone` goes; and what of it is not in `gone` and has to be put back.

        An interval set deletes whichever element holds the lower ends of the key it is given. So an
        absent one must not be asked for, and one that hides behind an overlapping other goes after it.
        """
        removed: dict[Key, Element] = {}
        for name, group in by_set(gone).items():
            if not SETS[name].interval:
                there = {element.key for element in group} if self._destroys else self.look_up(group).keys()
                removed.update((element.key, element) for element in group if element.key in there)
                continue
            hidden = []
            for element, match in zip(group, self._match(name, group), strict=True):
                if match is None or match.key == element.key:
                    removed.update({element.key: element} if match else {})
                else:
                    hidden.append(element)
            if hidden:
                self._uncover(hidden, self.all_of(name), removed)
        asked = {element.key for element in gone}
        return list(removed.values()), [element for key, element in removed.items() if key not in asked]

    @staticmethod
    def _uncover(hidden: Iterable[Element], present: dict[Key, Element], removed: dict[Key, Element]) -> None:
        """Add to `removed` those of `hidden` that are present, each after all that overlap its lower ends."""
        for element in hidden:
            if element.key in present:
                others = (other for key, other in present.items() if key != element.key and _covers(other, element))
                removed.update((other.key, other) for other in others)
                removed[element.key] = element

    def _match(self, name: str, group: Sequence[Element]) -> list[Element | None]:
        """What the kernel finds for each key: in an interval set it may be another that holds the lower ends."""
        codec = CODECS[name]
        where = _where(name)
        questions = [where + nest(_LIST_ELEMENTS, codec.encode_keys([element])) for element in group]
        try:
            family = SETS[name].family
            answers = self._netlink.ask([Message(family, Kind.GETSETELEM, question) for question in questions])
        except Refused as refused:
            raise _error(refused, None) from refused
        matches: list[Element | None] = []
        for answer in answers:
            if isinstance(answer, Refused):
                if answer.errno != errno.ENOENT:
                    raise _error(answer, None) from answer
                matches.append(None)
            else:
                matches.append(next(codec.decode_list(dict(attributes(answer))[_LIST_ELEMENTS]), None))
        return matches


class _NoDestroy(Exception):
    """The kernel doesn't know NFT_MSG_DESTROYSETELEM."""


class _Chunk(NamedTuple):
    """A message about many elements of one set, each of so many bytes, at its end."""

    message: Message
    elements: list[Element]
    element_bytes: int


def by_set(elements: Iterable[Element]) -> dict[str, list[Element]]:
    """Elements in groups of one set, order kept."""
    groups: dict[str, list[Element]] = {}
    for element in elements:
        groups.setdefault(element.set, []).append(element)
    return groups


def _where(name: str) -> bytes:
    return text(_LIST_TABLE, TABLE) + text(_LIST_SET, name)


def _chunks(kind: Kind, elements: Iterable[Element]) -> Iterator[_Chunk]:
    """Messages of as many elements as fit."""
    flags = Flag.CREATE if kind is Kind.NEWSETELEM else Flag.NONE
    for name, group in by_set(elements).items():
        codec, whole = CODECS[name], kind is Kind.NEWSETELEM
        size, encode = (codec.size, codec.encode) if whole else (codec.key_size, codec.encode_keys)
        step = _NEST_BYTES_MAX // size
        for start in range(0, len(group), step):
            part = group[start : start + step]
            body = _where(name) + nest(_LIST_ELEMENTS, encode(part))
            yield _Chunk(Message(SETS[name].family, kind, body, flags), part, size)


def _covers(outer: Element, inner: Element) -> bool:
    """True when `outer` holds the lower ends of `inner`."""
    return all(
        _first(mine) <= _first(other) <= _last(mine)  # type: ignore[operator]
        for mine, other in zip(outer.parts, inner.parts, strict=True)
    )


def _first(part: Part) -> Part:
    return part.first if isinstance(part, Span) else part


def _last(part: Part) -> Part:
    return part.last if isinstance(part, Span) else part


def _error(refused: Refused, chunk: _Chunk | None) -> KernelError:
    """Say which element was refused."""
    what, subject, where, listing = "cannot change or read elements", "", " or ".join(TABLES), "ruleset"
    if chunk is not None:
        verb = "add" if chunk.message.kind is Kind.NEWSETELEM else "remove"
        element = _blamed(refused.offset, chunk)
        subject = chunk.elements[0].set
        where = SETS[subject].family.table
        content = element_text(element) if element else f"({len(chunk.elements)} elements)"
        what = f"cannot {verb} element {subject} {content}"
        listing = f"{'map' if SETS[subject].data else 'set'} {where} {subject}"
    reason = os.strerror(refused.errno)
    if refused.errno == errno.EEXIST:
        reason = "its key is there with other data, or an interval overlaps it"
    elif refused.errno == errno.ENOENT:
        reason = f"table {where} or the set is gone"
    return KernelError(
        f"{what}: {reason}", errno=refused.errno, subject=subject, hint=f"nft list {listing}", detail=str(refused)
    )


def _blamed(offset: int, chunk: _Chunk) -> Element | None:
    """The element whose attribute starts at `offset` of the message; None when the kernel named none."""
    begin = _MESSAGE_HEADERS + len(chunk.message.body) - chunk.element_bytes * len(chunk.elements)
    place = (offset - begin) // chunk.element_bytes
    if 0 <= place < len(chunk.elements):
        return chunk.elements[place]
    return chunk.elements[0] if len(chunk.elements) == 1 else None
