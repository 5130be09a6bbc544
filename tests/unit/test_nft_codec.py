"""Elements become netlink bytes and come back."""

import contextlib
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.kernel.kernel import Count
from atoll.kernel.nft.codec import CODECS
from atoll.kernel.nft.netlink import attribute, attributes
from atoll.model.firewall import SETS, PartType, SetType, address_part, element_text, port_part
from atoll.model.items import Element, Part, Span
from atoll.model.ports import PortRange

IFNAMES = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", min_size=1, max_size=15)
VALUES = {
    PartType.IFNAME: IFNAMES,
    PartType.IPV4: st.integers(0, 2**32 - 1).map(IPv4Address),
    PartType.IPV6: st.integers(0, 2**128 - 1).map(IPv6Address),
    PartType.PROTOCOL: st.integers(0, 255),
    PartType.SERVICE: st.integers(0, 65535),
    PartType.NFPROTO: st.sampled_from([2, 10]),
    PartType.ETHER: st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":")),
    PartType.TARGET: st.ip_addresses(v=6),
}

SAMPLES: dict[PartType, Part] = {
    PartType.IFNAME: "at-a",
    PartType.IPV4: IPv4Address("10.0.0.2"),
    PartType.IPV6: IPv6Address("fd00::2"),
    PartType.PROTOCOL: 6,
    PartType.SERVICE: 80,
    PartType.NFPROTO: 2,
    PartType.ETHER: "02:42:0a:00:00:02",
    PartType.TARGET: IPv6Address("fd00::2"),
}


def key_parts(kind: PartType, interval: bool) -> st.SearchStrategy[Any]:
    plain: st.SearchStrategy[Any] = VALUES[kind]
    if not interval or kind is PartType.IFNAME:
        return plain
    spans = st.tuples(plain, plain).map(lambda ends: Span(*sorted(ends)))
    return plain | spans


def elements_of(kind: SetType) -> st.SearchStrategy[Element]:
    parts = st.tuples(*(key_parts(part, kind.interval) for part in kind.parts))
    data = st.tuples(*(VALUES[part] for part in kind.data))
    return st.builds(Element, st.just(kind.name), parts, data)


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=30)
@given(data=st.data())
def test_an_element_survives_the_way_to_bytes_and_back(name: str, data: st.DataObject) -> None:
    element = data.draw(elements_of(SETS[name]))
    encoded = CODECS[name].encode([element])
    assert len(encoded) % 4 == 0
    assert list(CODECS[name].decode_list(encoded * 2)) == [element, element]
    ((_kind, payload),) = attributes(encoded)
    assert CODECS[name].decode(payload) == element


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=30)
@given(data=st.data())
def test_an_elements_key_alone_names_it(name: str, data: st.DataObject) -> None:
    element = data.draw(elements_of(SETS[name]))
    ((_kind, payload),) = attributes(CODECS[name].encode_keys([element]))
    decoded = CODECS[name].decode(payload)
    assert decoded is not None
    assert decoded.key == element.key
    assert decoded.data == ()


def counter(packets: int, octets: int) -> bytes:
    """A counter's name and data, as in linux/netfilter/nf_tables.h: NFTA_EXPR_NAME, NFTA_EXPR_DATA."""
    counts = attribute(1, struct.pack(">Q", octets)) + attribute(2, struct.pack(">Q", packets))
    return attribute(1, b"counter\0") + attribute(2, counts)


def with_more(encoded: bytes, more: bytes) -> bytes:
    """An element with further attributes, as the kernel appends them."""
    ((_kind, payload),) = attributes(encoded)
    return attribute(1, payload + more)


LIMIT = attribute(1, b"limit\0")
MORE = {
    "alone": lambda packets, octets: attribute(7, counter(packets, octets)),
    "with a comment": lambda packets, octets: attribute(6, b"\0\2a\0") + attribute(7, counter(packets, octets)),
    "among several": lambda packets, octets: attribute(
        11, attribute(1, LIMIT) + attribute(1, counter(packets, octets))
    ),
}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
@pytest.mark.parametrize("name", SETS)
@settings(max_examples=10)
@given(data=st.data(), packets=st.integers(0, 2**64 - 1), octets=st.integers(0, 2**64 - 1))
def test_an_elements_count_is_read_and_does_not_change_the_element(
    name: str, more: Callable[[int, int], bytes], data: st.DataObject, packets: int, octets: int
) -> None:
    element = data.draw(elements_of(SETS[name]))
    bare = CODECS[name].encode([element])
    encoded = with_more(bare, more(packets, octets))
    assert list(CODECS[name].decode_list(encoded + bare)) == [element, element]
    assert list(CODECS[name].decode_counts(encoded + bare)) == [(element.key, Count(packets, octets))]


@pytest.mark.parametrize("name", SETS)
@given(expression=st.binary(min_size=40, max_size=40))
def test_an_expression_as_long_as_a_counter_is_not_taken_for_one(name: str, expression: bytes) -> None:
    kind = SETS[name]
    parts = tuple(SAMPLES[part] for part in kind.parts)
    element = Element(name, parts, tuple(SAMPLES[part] for part in kind.data))
    encoded = with_more(CODECS[name].encode([element]), attribute(6, expression))
    assert list(CODECS[name].decode_list(encoded)) == [element]
    assert list(CODECS[name].decode_counts(encoded)) == []


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=30)
@given(payload=st.binary(max_size=120))
def test_bytes_that_are_no_element_raise_value_error_and_nothing_else(name: str, payload: bytes) -> None:
    for decode in (CODECS[name].decode_list, CODECS[name].decode_counts):
        with contextlib.suppress(ValueError):
            list(decode(payload))
    with contextlib.suppress(ValueError):
        CODECS[name].decode(payload)


def test_a_published_port_has_the_layout_of_the_kernel_header() -> None:
    element = Element("any4", (6, 8080), (IPv4Address("172.17.0.2"), 80))
    key = bytes([6, 0, 0, 0]) + struct.pack(">H", 8080) + b"\0\0"
    value = bytes([172, 17, 0, 2]) + struct.pack(">H", 80) + b"\0\0"
    nested = 0x8000
    expected = struct.pack("=HH", 36, 1 | nested)
    expected += struct.pack("=HHHH", 16, 1 | nested, 12, 1) + key
    expected += struct.pack("=HHHH", 16, 2 | nested, 12, 1) + value
    assert CODECS["any4"].encode([element]) == expected


def test_a_lone_part_is_not_filled_up() -> None:
    encoded = CODECS["closed"].encode([Element("closed", (2,))])
    ((_, payload),) = attributes(encoded)
    ((_, key),) = attributes(payload)
    assert list(attributes(key)) == [(1, b"\2")]


def test_an_address_of_the_wrong_family_is_refused() -> None:
    with pytest.raises(AssertionError, match="is not an IPv6 address"):
        CODECS["subnet6"].encode([Element("subnet6", (10, IPv4Address("10.0.0.1")))])
    with pytest.raises(AssertionError, match="is not an IPv4 address"):
        CODECS["subnet4"].encode([Element("subnet4", (2, IPv6Address("::1")))])


def test_an_interval_of_one_value_is_that_value() -> None:
    address = IPv4Address("10.0.0.5")
    assert Element("lan4", ("br", Span(address, address))) == Element("lan4", ("br", address))
    assert Element("lan4", ("br", Span(address, address))).key == Element("lan4", ("br", address)).key
    assert address_part(ip_network("10.0.0.5/32")) == address
    assert address_part(ip_network("10.0.0.0/31")) == Span(IPv4Address("10.0.0.0"), IPv4Address("10.0.0.1"))
    assert port_part(PortRange(80, 80)) == 80
    assert port_part(PortRange(80, 81)) == Span(80, 81)


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (Element("any4", (6, 8080), (IPv4Address("172.17.0.2"), 80)), "{ tcp . 8080 : 172.17.0.2 . 80 }"),
        (Element("any6", (132, 1), (IPv6Address("fd00::2"), 2)), "{ sctp . 1 : fd00::2 . 2 }"),
        (Element("masq", (10, "at-1")), '{ ipv6 . "at-1" }'),
        (Element("lan4", ("br", address_part(ip_network("10.0.0.0/24")))), '{ "br" . 10.0.0.0/24 }'),
        (Element("open4", (IPv4Address("10.0.0.2"), 17, Span(80, 90))), "{ 10.0.0.2 . udp . 80-90 }"),
        (Element("open4", (IPv4Address("10.0.0.2"), 99, 80)), "{ 10.0.0.2 . 99 . 80 }"),
        (
            Element("span6", (Span(IPv6Address(0), IPv6Address(5)), IPv6Address(0), 6, 1), (IPv6Address("fd00::1"),)),
            "{ ::-::5 . :: . tcp . 1 : fd00::1 }",
        ),
    ],
)
def test_an_element_reads_as_nft_writes_it(element: Element, expected: str) -> None:
    assert element_text(element) == expected


@pytest.mark.parametrize("name", ['a" }', "a b", "", "a}", "x" * 16, "a\n", "é"])
def test_a_name_that_is_nft_syntax_never_becomes_text(name: str) -> None:
    with pytest.raises(ValueError, match="interface name"):
        element_text(Element("nets", (name,)))
