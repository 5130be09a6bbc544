"""The relay's messages: what goes in comes out, and nothing from outside does more than raise InvalidRequest."""

import json
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InvalidRequest
from atoll.model.ports import Protocol
from atoll.relay.wire import (
    KEY_LENGTH_MAX,
    PAGE_ENTRIES_MAX,
    Add,
    Hello,
    List,
    RelayEntry,
    RelayTarget,
    Remove,
    Request,
    Stop,
    Take,
    encode_request,
    entry_body,
    parse_entry,
    parse_request,
)
from atoll.service.packet import PACKET_BYTES_MAX, encode

keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=KEY_LENGTH_MAX)
targets = st.builds(
    RelayTarget,
    st.sampled_from([Protocol.TCP, Protocol.UDP]),
    st.ip_addresses(),
    st.integers(1, 65535),
)
requests = st.one_of(
    st.builds(Hello, st.integers()),
    st.builds(Add, keys, targets),
    st.builds(Remove, keys),
    st.builds(Take, keys),
    st.builds(List, keys),
    st.just(Stop()),
)
words = st.sampled_from(
    ["op", "key", "add", "hello", "version", "target_address", "target_port", "protocol", "tcp", "::1"]
)
bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=4), inner, max_size=6),
    max_leaves=12,
)


@given(requests)
def test_request_survives_the_wire(request: Request) -> None:
    assert parse_request(encode_request(request)) == request


@given(st.builds(RelayEntry, keys, targets, st.integers(0), st.integers(0), st.integers(0)))
def test_entry_survives_the_wire(entry: RelayEntry) -> None:
    assert parse_entry(json.loads(encode(entry_body(entry)))) == entry


@given(st.binary() | bodies.map(lambda body: json.dumps(body).encode()))
def test_any_packet_is_a_request_or_invalid(packet: bytes) -> None:
    try:
        request = parse_request(packet)
    except InvalidRequest:
        return
    assert parse_request(encode_request(request)) == request


@given(bodies)
def test_any_body_is_an_entry_or_invalid(body: object) -> None:
    try:
        parse_entry(body)
    except InvalidRequest:
        return


def test_deep_nesting_is_invalid() -> None:
    with pytest.raises(InvalidRequest, match="not JSON"):
        parse_request(b"[" * PACKET_BYTES_MAX)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"op": "reboot"}, "'reboot'"),
        ({"key": ""}, "''"),
        ({"key": "k" * (KEY_LENGTH_MAX + 1)}, "kkk"),
        ({"key": "new\nline"}, "new"),
        ({"key": None}, "'key'"),
        ({"protocol": "sctp"}, "'sctp'"),
        ({"target_address": "somewhere"}, "'somewhere'"),
        ({"target_port": 0}, "0"),
        ({"target_port": 65536}, "65536"),
        ({"target_port": True}, "'target_port'"),
        ({"target_port": "80"}, "'target_port'"),
    ],
)
def test_bad_value_is_named(change: dict[str, object], named: str) -> None:
    good = {"op": "add", "key": "k", "protocol": "tcp", "target_address": "10.0.0.2", "target_port": 80}
    with pytest.raises(InvalidRequest) as caught:
        parse_request(encode({**good, **change}))
    assert named in caught.value.message


def test_page_of_longest_entries_fits_a_packet() -> None:
    target = RelayTarget(Protocol.TCP, ip_address("2001:db8:1111:2222:3333:4444:5555:6666"), 65535)
    entry = RelayEntry('"' * KEY_LENGTH_MAX, target, 2**63, 2**63, 2**63)
    page = encode({"entries": [entry_body(entry)] * PAGE_ENTRIES_MAX, "more": True})
    assert len(page) <= PACKET_BYTES_MAX
