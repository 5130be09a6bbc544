"""From JSON's values to typed ones, guided by annotations: the strict half of the codec.

A type is turned into a reader once; the reader is then plain calls. msgspec's own decoder can't be used for
it, as it takes at most one class of its caller's in a union, and an address is IPv4Address | IPv6Address.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from ipaddress import ip_address, ip_interface, ip_network
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from atoll.model.addresses import IPAddress, IPInterface, IPNetwork

Reader = Callable[[Any], Any]
"""Turns a JSON value into a typed one. Raises Misfit."""

_NETWORK_TYPES: Mapping[frozenset[type], Reader] = {
    frozenset(get_args(IPAddress)): ip_address,
    frozenset(get_args(IPNetwork)): ip_network,
    frozenset(get_args(IPInterface)): ip_interface,
}


class Misfit(ValueError):
    """A value that isn't of the type it should have; the message begins with where it is: `pools[0].subnet: ...`."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(f"{where}: {reason}" if where else reason)
        self._reason = reason
        self._where = where

    def inside(self, where: str) -> "Misfit":
        """The same, seen from the value around it."""
        return Misfit(self._reason, where + (self._where if self._where[:1] in ("[", "") else f".{self._where}"))


def reader_of(kind: Any) -> Reader:
    """The reader for a type made of dataclasses, enums, addresses, tuples, string maps and plain values."""
    if get_origin(kind) in (Union, UnionType):
        return _union(frozenset(get_args(kind)))
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind))
    if get_origin(kind) is not None and issubclass(get_origin(kind), Mapping):
        assert get_args(kind) == (str, str), kind
        return _string_map
    assert isinstance(kind, type), f"no reader for {kind}"
    if is_dataclass(kind):
        return _dataclass(kind)
    if issubclass(kind, Enum):
        return _enum(kind)
    assert kind in (str, int, bool), f"no reader for {kind}"
    return _plain(kind)


def _union(members: frozenset[Any]) -> Reader:
    rest = members - {NoneType}
    if rest in _NETWORK_TYPES:
        read = _from_text(_NETWORK_TYPES[rest])
    else:
        (only,) = rest
        read = reader_of(only)
    if NoneType not in members:
        return read
    return lambda value: None if value is None else read(value)


def _from_text(parse: Reader) -> Reader:
    def read(value: Any) -> Any:
        # A number would be taken for an address.
        if type(value) is not str:
            raise Misfit(f"{value!r} is not a string")
        try:
            return parse(value)
        except ValueError as error:
            raise Misfit(str(error)) from None

    return read


def _plain(kind: type) -> Reader:
    def read(value: Any) -> Any:
        # Not isinstance: true is an int to Python.
        if type(value) is not kind:
            raise Misfit(f"{value!r} is not of type {kind.__name__}")
        return value

    return read


def _enum(kind: type[Enum]) -> Reader:
    members: Mapping[Any, Enum] = {member.value: member for member in kind}

    def read(value: Any) -> Any:
        if type(value) not in (str, int) or value not in members:
            raise Misfit(f"{value!r} is not a {kind.__name__}")
        return members[value]

    return read


def _tuple(arguments: tuple[Any, ...]) -> Reader:
    repeated = len(arguments) == 2 and arguments[1] is Ellipsis
    readers = [reader_of(kind) for kind in (arguments[:1] if repeated else arguments)]

    def read(value: Any) -> Any:
        if type(value) is not list or not (repeated or len(value) == len(readers)):
            raise Misfit(f"{value!r} is not a list" + ("" if repeated else f" of {len(readers)}"))
        each = readers * len(value) if repeated else readers
        result = []
        for index, item in enumerate(value):
            try:
                result.append(each[index](item))
            except Misfit as misfit:
                raise misfit.inside(f"[{index}]") from None
        return tuple(result)

    return read


def _string_map(value: Any) -> Any:
    if type(value) is not dict or not all(type(item) is str for item in value.values()):
        raise Misfit(f"{value!r} is not a map of strings")
    return value


def _dataclass(kind: type) -> Reader:
    hints = get_type_hints(kind)
    readers = {field.name: reader_of(hints[field.name]) for field in fields(kind)}
    required = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise Misfit(f"{value!r} is not an object")
        arguments = {}
        for name, item in value.items():
            if name not in readers:
                raise Misfit("unknown field", name)
            try:
                arguments[name] = readers[name](item)
            except Misfit as misfit:
                raise misfit.inside(name) from None
        for name in required - arguments.keys():
            raise Misfit("missing", name)
        return kind(**arguments)

    return read
