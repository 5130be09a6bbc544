"""A mapping that never changes, and whose successors share what they have in common with it.

    base     {a, b, c, ... }        shared by many tables, never written
    recent   {b: new, c: None}      what differs from it; None is gone

A snapshot may so be read by any thread while the next one is made, and making one does not copy everything.
"""

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Table(Mapping[_Key, _Value]):
    """A mapping to values that are never None, in about the order in which keys were put.

    Making the next one costs a copy of what is recent, and a copy of the base when that has grown to about the root
    of the base's size: of 50,000 entries some 6 us a change, where a copy of the whole takes 200.
    """

    __slots__ = ("_base", "_length", "_recent")

    def __init__(self, base: Mapping[_Key, _Value] | None = None) -> None:
        self._base: dict[_Key, _Value] = dict(base or {})
        self._recent: dict[_Key, _Value | None] = {}
        self._length = len(self._base)

    def after(self, changes: Mapping[_Key, _Value | None]) -> "Table[_Key, _Value]":
        """The table with these entries put, or taken out where the value is None; this one stays as it is."""
        if not changes:
            return self
        following: Table[_Key, _Value] = Table.__new__(Table)
        following._length = self._length
        for key, value in changes.items():
            following._length += (value is not None) - (key in self)
        following._base = self._base
        following._recent = {**self._recent, **changes}
        if len(following._recent) ** 2 > 4 * len(self._base):
            following._fold()
        return following

    def _fold(self) -> None:
        self._base = dict(self._base)
        for key, value in self._recent.items():
            if value is not None:
                self._base[key] = value
            else:
                self._base.pop(key, None)
        self._recent = {}

    def __getitem__(self, key: _Key) -> _Value:
        if key in self._recent:
            found = self._recent[key]
            if found is None:
                raise KeyError(key)
            return found
        return self._base[key]

    def __contains__(self, key: object) -> bool:
        if key in self._recent:
            return self._recent[key] is not None
        return key in self._base

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[_Key]:
        return (key for key, _ in self._pairs())

    def _pairs(self) -> Iterator[tuple[_Key, _Value]]:
        recent = self._recent
        for key, old in self._base.items():
            value = recent.get(key, old)
            if value is not None:
                yield key, value
        for key, fresh in recent.items():
            if fresh is not None and key not in self._base:
                yield key, fresh

    def items(self) -> ItemsView[_Key, _Value]:
        """Keys with their values."""
        return _Items(self)

    def values(self) -> ValuesView[_Value]:
        """The values."""
        return _Values(self)

    def __repr__(self) -> str:
        return f"Table({dict(self.items())!r})"


class _Items(ItemsView[_Key, _Value]):
    """Mapping's own looks up every key again."""

    _mapping: Table[_Key, _Value]

    def __iter__(self) -> Iterator[tuple[_Key, _Value]]:
        return self._mapping._pairs()


class _Values(ValuesView[_Value]):
    _mapping: Table[object, _Value]

    def __iter__(self) -> Iterator[_Value]:
        return (value for _, value in self._mapping._pairs())
