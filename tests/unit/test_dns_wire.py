"""The name service's messages: what goes in comes out, and nothing from outside does more than raise InvalidRequest."""

import contextlib
import json
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.dns.entries import Asker, Entry, Member
from atoll.dns.wire import (
    PAGE_ENTRIES_MAX,
    SERVED_MAX,
    Change,
    Hello,
    List,
    Listed,
    Request,
    Stop,
    changes,
    digest,
    encode_request,
    listed_body,
    parse_listed,
    parse_request,
)
from atoll.errors import InvalidRequest
from atoll.service.packet import PACKET_BYTES_MAX, encode

keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80)
words = st.lists(st.text(max_size=20), max_size=4).map(tuple)
addresses = st.lists(st.ip_addresses(), max_size=3).map(tuple)
members = st.builds(Member, keys, st.text(max_size=20), words, addresses)
askers = st.builds(
    Asker,
    keys,
    st.lists(st.tuples(keys, st.text(max_size=20)), max_size=4).map(tuple),
    st.booleans(),
    addresses,
    words,
    st.booleans(),
)
entries = members | askers
served = st.lists(st.tuples(keys, st.integers(0)), max_size=4).map(tuple)
requests = st.one_of(
    st.builds(Hello, st.integers()),
    st.builds(Change, st.lists(keys, max_size=4).map(tuple), st.lists(entries, max_size=4).map(tuple), served),
    st.builds(List, keys),
    st.just(Stop()),
)
fields = st.sampled_from(["op", "key", "change", "hello", "version", "put", "drop", "serve", "network", "names"])
bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | fields | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields | st.text(max_size=4), inner, max_size=6),
    max_leaves=12,
)


@given(requests)
def test_request_survives_the_wire(request: Request) -> None:
    assert parse_request(encode_request(request)) == request


@given(bodies)
def test_no_body_is_too_odd(body: object) -> None:
    packets = [json.dumps(body).encode()]
    if isinstance(body, dict):
        packets.append(json.dumps({**body, "op": "change", "put": [body], "drop": [], "serve": []}).encode())
    for packet in packets:
        with contextlib.suppress(InvalidRequest):
            parse_request(packet)


@given(st.binary(max_size=100))
def test_no_bytes_are_too_odd(packet: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_request(b"\0" + packet)


@given(entries, entries)
def test_digest_tells_entries_apart(one: Entry, other: Entry) -> None:
    assert (digest(one) == digest(other)) == (one == other)


def test_small_change_is_one_packet() -> None:
    member, asker = Member("e", "n", ("a",), (ip_address("10.0.0.1"),)), Asker("s")
    (only,) = changes(["x"], [member, asker], [("s", 5)])
    assert parse_request(only[0]) == Change(("x",), (member, asker), (("s", 5),))
    assert only[1] == ("s",)


def test_large_change_is_several_packets_that_serve_only_who_is_known() -> None:
    puts: list[Entry] = [Member(f"e{n:03}" + "0" * 60, "n" * 64, (f"name-{n}",) * 20, ()) for n in range(300)]
    puts += [Asker(f"s{n:03}" + "0" * 60) for n in range(2 * SERVED_MAX + 1)]
    drops = [f"d{n:04}" + "0" * 60 for n in range(2000)]
    serves = [(entry.key, 4026531840 + n) for n, entry in enumerate(puts) if isinstance(entry, Asker)]
    seen, dropped, put, served = set(), [], [], []
    for packet, keys in changes(drops, puts, serves):
        assert len(packet) <= PACKET_BYTES_MAX
        change = parse_request(packet)
        assert isinstance(change, Change)
        dropped += change.drop
        put += change.put
        seen |= {entry.key for entry in change.put}
        assert keys == tuple(key for key, _ in change.serve) and len(keys) <= SERVED_MAX and set(keys) <= seen
        served += change.serve
    assert (dropped, put, served) == (drops, puts, serves)


def test_entry_that_fits_in_no_packet_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at most"):
        list(changes([], [Member("e", "n", ("x" * 70000,), ())], []))


def test_longest_page_fits_in_a_packet() -> None:
    page = [listed_body(Listed("k" * 80, "0" * 16, 2**63)) for _ in range(PAGE_ENTRIES_MAX)]
    assert len(encode({"entries": page, "more": True})) <= PACKET_BYTES_MAX
    assert parse_listed(page[0]).netns == 2**63
