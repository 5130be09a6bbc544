"""Elements as netlink attributes, both ways. Pure.

    LIST_ELEM { KEY { VALUE } [KEY_END { VALUE }] [DATA { VALUE }] [EXPR { NAME "counter", DATA { BYTES, PACKETS } }] }

A value is its parts one after the other, each filled up to four bytes (a register of nft's machine)
when there are several; a lone part stands as it is. Interface names fill 16 bytes (IFNAMSIZ);
ports and addresses are in network order. KEY_END, the upper ends, is there in interval sets. EXPR
is what the kernel tells of a counted element; we never write it: an element that is added without
gets its set's, at zero.
Source: enum nft_set_elem_attributes in linux/netfilter/nf_tables.h.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Any, NamedTuple

from atoll.kernel.kernel import Count
from atoll.kernel.nft.netlink import NESTED, attributes
from atoll.model.firewall import SETS, PartType, SetType
from atoll.model.items import Element, Key, Part, Span

LIST_ELEM = 1  # NFTA_LIST_ELEM
KEY, DATA, EXPR, KEY_END, EXPRESSIONS = 1, 2, 7, 10, 11  # NFTA_SET_ELEM_*
EXPR_NAME, EXPR_DATA = 1, 2  # NFTA_EXPR_*
_VALUE = 1  # NFTA_DATA_VALUE
_COUNTER_BYTES, _COUNTER_PACKETS = 1, 2  # NFTA_COUNTER_*
_COUNTER = b"counter\0"
_HEADER = struct.Struct("=HH")
_HEADERS = struct.Struct("=HHHH")
_LENGTH = struct.Struct("=H")


class _Form(NamedTuple):
    """How a part type is written: a struct code, its size, and conversions to and from that code's value."""

    code: str
    size: int
    write: Callable[[Any], Any]
    read: Callable[[Any], Part]


def _ifname_octets(name: str) -> bytes:
    octets = name.encode()
    assert 0 < len(octets) < 16, f"interface name {name!r}"
    return octets


def _ifname(octets: bytes) -> str:
    return octets.rstrip(b"\0").decode(errors="surrogateescape")


def _ipv4_number(address: IPv4Address) -> int:
    assert isinstance(address, IPv4Address), f"{address!r} is not an IPv4 address"
    return int(address)


def _ipv6_octets(address: IPv6Address) -> bytes:
    # Shorter bytes would be filled up with zeros, to another address.
    assert isinstance(address, IPv6Address), f"{address!r} is not an IPv6 address"
    return address.packed


def _mac_octets(mac: str) -> bytes:
    octets = bytes.fromhex(mac.replace(":", ""))
    assert len(octets) == 6, f"MAC address {mac!r}"
    return octets


def _mac(octets: bytes) -> str:
    return octets.hex(":")


_FORMS: Mapping[PartType, _Form] = MappingProxyType(
    {
        PartType.IFNAME: _Form("16s", 16, _ifname_octets, _ifname),
        PartType.IPV4: _Form("I", 4, _ipv4_number, IPv4Address),
        PartType.IPV6: _Form("16s", 16, _ipv6_octets, IPv6Address),
        PartType.TARGET: _Form("16s", 16, _ipv6_octets, IPv6Address),
        PartType.ETHER: _Form("6s", 6, _mac_octets, _mac),
        PartType.PROTOCOL: _Form("B", 1, int, int),
        PartType.SERVICE: _Form("H", 2, int, int),
        PartType.NFPROTO: _Form("B", 1, int, int),
    }
)


class _Layout:
    """A value of some parts. `size` is its length; `code` its struct code, filled up to four bytes."""

    def __init__(self, types: tuple[PartType, ...]) -> None:
        forms = [_FORMS[kind] for kind in types]
        pad = 4 if len(forms) > 1 else 1
        exact = "".join(f"{form.code}{-form.size % pad}x" for form in forms)
        self._exact = struct.Struct(f">{exact}")
        self.size = self._exact.size
        self.code = f"{exact}{-self.size % 4}x"
        padded = struct.Struct(f">{self.code}")
        self.padded_size = padded.size
        self.writers = tuple(form.write for form in forms)
        self.readers = tuple(form.read for form in forms)

    def headers(self, kind: int) -> bytes:
        """What stands before the value in the attribute `kind`."""
        return _HEADERS.pack(8 + self.padded_size, kind | NESTED, 4 + self.size, _VALUE)

    def read(self, value: bytes) -> tuple[Part, ...]:
        """The parts of a value. Raises struct.error when its length is wrong."""
        return tuple(read(raw) for read, raw in zip(self.readers, self._exact.unpack(value), strict=True))


class _Frame:
    """A LIST_ELEM of some values, which all elements of a set have alike but for what is in them."""

    def __init__(self, values: Sequence[tuple[int, _Layout]]) -> None:
        self.size = 4 + sum(8 + layout.padded_size for _, layout in values)
        pieces = [layout.headers(kind) for kind, layout in values]
        pieces[0] = _HEADER.pack(self.size, LIST_ELEM | NESTED) + pieces[0]
        self._headers = tuple(pieces)
        self._code = "".join(f"{len(piece)}s{layout.code}" for piece, (_, layout) in zip(pieces, values, strict=True))
        # Numbers are written as they are: a thousand ports have two thousand of them.
        slots: list[Callable[[Any], Any]] = []
        for _, layout in values:
            slots += (int, *layout.writers)
        self._slots = len(slots)
        self._written = [(place, write) for place, write in enumerate(slots) if write is not int]

    def encode(self, elements: Sequence[Sequence[tuple[Part, ...]]]) -> bytes:
        """The attributes of some elements, one after the other, from their values."""
        flat: list[Any] = []
        headers = self._headers
        for values in elements:
            for header, parts in zip(headers, values):  # noqa: B905  as many as there are, by construction
                flat.append(header)
                flat += parts
        assert len(flat) == self._slots * len(elements), f"{elements[:3]} have other parts than their set"
        for place, write in self._written:
            column = flat[place :: self._slots]
            flat[place :: self._slots] = _converted(column, write)
        return struct.pack(f">{self._code * len(elements)}", *flat)


def _converted(column: Sequence[Any], write: Callable[[Any], Any]) -> list[Any]:
    """The same part of many elements as it is written. Most lead to one address, which is one object."""
    first = column[0]
    if all(part is first for part in column):
        return [write(first)] * len(column)
    return [write(part) for part in column]


class SetCodec:
    """Encodes and decodes the elements of one set or map."""

    def __init__(self, kind: SetType) -> None:
        self.kind = kind
        self._key = _Layout(kind.parts)
        self._data = _Layout(kind.data) if kind.data else None
        keys = [(KEY, self._key), *([(KEY_END, self._key)] if kind.interval else [])]
        self._named = _Frame(keys)
        self._whole = _Frame([*keys, *([(DATA, self._data)] if self._data else [])])
        # An element as the kernel writes it, with all headers skipped; anything longer carries more
        # than we put there (a comment, a flag) and is read attribute by attribute.
        values = [self._key] * (2 if kind.interval else 1) + ([self._data] if self._data else [])
        usual = ">4x" + "".join(f"8x{value.code}" for value in values)
        self._counted = struct.Struct(f"{usual}8x8s8xQ4xQ")  # and the counter's name, bytes, packets
        self._usual = struct.Struct(f"{usual}44x") if kind.counted else struct.Struct(usual)
        self._readers = tuple(read for value in values for read in value.readers)

    @property
    def key_size(self) -> int:
        """Bytes of an element in what `encode_keys` returns."""
        return self._named.size

    @property
    def size(self) -> int:
        """Bytes of an element in what `encode` returns."""
        return self._whole.size

    def encode_keys(self, elements: Sequence[Element]) -> bytes:
        """A LIST_ELEM attribute for each, that names it: all that deletion and lookup need."""
        return self._named.encode([self._values(element) for element in elements])

    def encode(self, elements: Sequence[Element]) -> bytes:
        """A LIST_ELEM attribute for each, whole."""
        if self._data is None:
            assert not any(element.data for element in elements), f"{self.kind.name} is a set, without data"
            return self.encode_keys(elements)
        return self._whole.encode([(*self._values(element), element.data) for element in elements])

    def decode(self, payload: bytes) -> Element | None:
        """An element from LIST_ELEM's payload; None for one without a key (the catch-all `*`).

        Raises ValueError when the bytes don't fit the set's type.
        """
        found = dict(attributes(payload))
        if KEY not in found:
            return None
        try:
            first = self._key.read(_value(found[KEY]))
            last = self._key.read(_value(found[KEY_END])) if KEY_END in found else first
            data = self._data.read(_value(found[DATA])) if self._data and DATA in found else ()
        except struct.error as error:
            raise ValueError(f"element of {self.kind.name}: {error}") from None
        return Element(self.kind.name, _spans(first, last), data)

    def decode_counts(self, payload: bytes) -> Iterator[tuple[Key, Count]]:
        """Keys and counts of those elements of NFTA_SET_ELEM_LIST_ELEMENTS's payload that have a counter.

        Raises ValueError as `decode`.
        """
        width, unpack = self._counted.size, self._counted.unpack_from
        for offset, length in _entries(payload):
            if length == width:
                *values, name, octets, packets = unpack(payload, offset)
                if name == _COUNTER:
                    yield self._usual_element(values).key, Count(packets, octets)
                    continue
            entry = payload[offset + 4 : offset + length]
            element, count = self.decode(entry), _count(entry)
            if element is not None and count is not None:
                yield element.key, count

    def decode_list(self, payload: bytes) -> Iterator[Element]:
        """The elements of NFTA_SET_ELEM_LIST_ELEMENTS's payload."""
        width, unpack = self._usual.size, self._usual.unpack_from
        for offset, length in _entries(payload):
            if length == width:
                yield self._usual_element(unpack(payload, offset))
            else:
                element = self.decode(payload[offset + 4 : offset + length])
                if element is not None:
                    yield element

    def _usual_element(self, raw: Sequence[Any]) -> Element:
        values = tuple([read(each) for read, each in zip(self._readers, raw, strict=True)])
        count = len(self.kind.parts)
        if self.kind.interval:
            return Element(self.kind.name, _spans(values[:count], values[count : 2 * count]), values[2 * count :])
        return Element(self.kind.name, values[:count], values[count:])

    def _values(self, element: Element) -> tuple[tuple[Part, ...], ...]:
        parts = element.parts
        if not self.kind.interval:
            return (parts,)
        first = tuple([part.first if isinstance(part, Span) else part for part in parts])
        last = tuple([part.last if isinstance(part, Span) else part for part in parts])
        return first, last


CODECS: Mapping[str, SetCodec] = MappingProxyType({name: SetCodec(kind) for name, kind in SETS.items()})
"""A codec for every set of our tables."""


def counter_of(payload: bytes) -> Count:
    """What a counter's NFTA_EXPR_DATA says."""
    found = dict(attributes(payload))
    packets, octets = (int.from_bytes(found.get(kind, b""), "big") for kind in (_COUNTER_PACKETS, _COUNTER_BYTES))
    return Count(packets, octets)


def _count(entry: bytes) -> Count | None:
    """The counter among an element's expressions: EXPR is the only one, EXPRESSIONS holds several."""
    found = dict(attributes(entry))
    several = attributes(found.get(EXPRESSIONS, b""))
    for expression in (found.get(EXPR, b""), *(payload for _kind, payload in several)):
        parts = dict(attributes(expression))
        if parts.get(EXPR_NAME) == _COUNTER:
            return counter_of(parts.get(EXPR_DATA, b""))
    return None


def _entries(payload: bytes) -> Iterator[tuple[int, int]]:
    """Offset and length of each attribute, as `attributes`, but without a copy of it. Raises ValueError."""
    offset, end = 0, len(payload)
    while offset + 4 <= end:
        (length,) = _LENGTH.unpack_from(payload, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f"element of {length} bytes at {offset} of {end}")
        yield offset, length
        offset += (length + 3) & ~3


def _value(payload: bytes) -> bytes:
    for kind, value in attributes(payload):
        if kind == _VALUE:
            return value
    raise ValueError("no value")


def _spans(first: tuple[Part, ...], last: tuple[Part, ...]) -> tuple[Part, ...]:
    if first == last:
        return first
    return tuple(low if low == high else Span(low, high) for low, high in zip(first, last, strict=True))  # type: ignore[arg-type]
