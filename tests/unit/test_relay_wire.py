"""The relay's messages: what goes in comes out, and nothing from outside does more than raise InvalidRequest."""

import contextlib
import json
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InvalidRequest
from atoll.model.ports import PORT_MAX, PortRange, Protocol
from atoll.relay.messages import (
    KEY_LENGTH_MAX,
    KEY_PORTS_MAX,
    KEYS_MAX,
    PORTS_MAX,
    REASON_LENGTH_MAX,
    ROWS_MAX,
    Add,
    Hello,
    Lent,
    List,
    Opened,
    RelayEntry,
    RelayTarget,
    Remove,
    Request,
    Row,
    Stop,
    Take,
)
from atoll.relay.wire import (
    encode_request,
    failed_body,
    pack,
    pack_keys,
    page_body,
    parse_failed,
    parse_page,
    parse_request,
)
from atoll.service.packet import PACKET_BYTES_MAX, SOCKETS_MAX, encode, parse

keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=KEY_LENGTH_MAX)
targets = st.builds(
    RelayTarget,
    st.sampled_from([Protocol.TCP, Protocol.UDP]),
    st.ip_addresses(),
    st.integers(1, PORT_MAX),
)
port_ranges = st.builds(
    lambda first, length: PortRange(first, min(first + length - 1, PORT_MAX)),
    st.integers(1, PORT_MAX),
    st.integers(1, KEY_PORTS_MAX),
)
rows = st.builds(
    Row,
    keys,
    targets,
    st.builds(Lent, st.integers(0, KEY_PORTS_MAX)) | st.builds(Opened, st.ip_addresses(), port_ranges),
)
requests = st.one_of(
    st.builds(Hello, st.integers()),
    st.builds(Add, st.lists(rows, max_size=8).map(tuple)),
    st.builds(Remove, st.lists(keys, max_size=KEYS_MAX).map(tuple)),
    st.builds(Take, keys),
    st.builds(List, keys),
    st.just(Stop()),
)
words = st.sampled_from(["op", "key", "keys", "rows", "add", "remove", "hello", "version", "tcp", "::1", "failed"])
bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(max_size=4), inner, max_size=6),
    max_leaves=12,
)


@given(requests)
def test_request_survives_the_wire(request: Request) -> None:
    assert parse_request(encode_request(request)) == request


@given(st.lists(st.builds(RelayEntry, keys, targets, st.integers(0), st.integers(0), st.integers(0)), max_size=8))
def test_entries_survive_the_wire(entries: list[RelayEntry]) -> None:
    assert parse_page(parse(encode(page_body(entries)))) == (entries, False)


@given(st.dictionaries(st.integers(0, ROWS_MAX), st.text(max_size=REASON_LENGTH_MAX), max_size=8))
def test_failures_survive_the_wire(failed: dict[int, str]) -> None:
    assert parse_failed(parse(encode(failed_body(failed)))) == failed


@given(st.lists(rows, max_size=400))
def test_packets_hold_all_rows_in_order_within_their_limits(wanted: list[Row]) -> None:
    packed = list(pack(wanted))
    assert [row for rows_, _ in packed for row in rows_] == wanted
    for rows_, packet in packed:
        assert parse_request(packet) == Add(tuple(rows_))
        assert len(packet) <= PACKET_BYTES_MAX
        assert sum(row.source.sockets for row in rows_ if isinstance(row.source, Lent)) <= SOCKETS_MAX


def test_a_thousand_single_ports_are_two_packets() -> None:
    target = RelayTarget(Protocol.TCP, ip_address("2001:db8::1"), 80)
    wanted = [
        Row(f"tcp :: {port}", target, Opened(ip_address("::"), PortRange(port, port))) for port in range(20000, 21000)
    ]
    assert len(list(pack(wanted))) == 2
    assert len(list(pack([Row(row.key, target, Lent(1)) for row in wanted]))) == 4


def test_longest_rows_fit_a_packet() -> None:
    longest = ip_address("2001:db8:1111:2222:3333:4444:5555:6666")
    target = RelayTarget(Protocol.TCP, longest, 65535)
    for key in ('"' * KEY_LENGTH_MAX, "k"):
        wanted = [Row(key, target, Opened(longest, PortRange(65535, 65535)))] * 2 * ROWS_MAX
        assert all(len(packet) <= PACKET_BYTES_MAX for _, packet in pack(wanted))


def test_longest_removals_and_failures_fit_a_packet() -> None:
    removed = ["\\" * KEY_LENGTH_MAX] * (KEYS_MAX + 1)
    packets = list(pack_keys(removed))
    assert [len(parse(packet)["keys"]) for packet in packets] == [KEYS_MAX, 1]
    assert all(len(packet) <= PACKET_BYTES_MAX for packet in packets)
    failed = failed_body(dict.fromkeys(range(ROWS_MAX), "no way " * 40))
    assert len(encode(failed)) <= PACKET_BYTES_MAX


@given(st.binary() | bodies.map(lambda body: json.dumps(body).encode()))
def test_any_packet_is_a_request_or_invalid(packet: bytes) -> None:
    try:
        request = parse_request(packet)
    except InvalidRequest:
        return
    assert parse_request(encode_request(request)) == request


@given(st.dictionaries(st.sampled_from(["entries", "failed"]), bodies))
def test_any_answer_is_parsed_or_invalid(body: dict[str, object]) -> None:
    for parse_answer in (parse_page, parse_failed):
        with contextlib.suppress(InvalidRequest):
            parse_answer(body)


def test_deep_nesting_is_invalid() -> None:
    with pytest.raises(InvalidRequest, match="not JSON"):
        parse_request(b"[" * PACKET_BYTES_MAX)


GOOD = ["k", "tcp", "10.0.0.2", 80, "::", 8080, 8089]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({0: ""}, "''"),
        ({0: "k" * (KEY_LENGTH_MAX + 1)}, "kkk"),
        ({0: "new\nline"}, "new"),
        ({0: None}, "None"),
        ({1: "sctp"}, "'sctp'"),
        ({2: "somewhere"}, "'somewhere'"),
        ({3: 0}, "0"),
        ({3: 65536}, "65536"),
        ({3: True}, "True"),
        ({3: "80"}, "'80'"),
        ({4: "nowhere"}, "'nowhere'"),
        ({5: 8090}, "8090-8089"),
        ({6: 8080 + KEY_PORTS_MAX}, "8080-8144"),
        ({6: True}, "no relay row"),
    ],
)
def test_bad_value_of_a_row_is_named(change: dict[int, object], named: str) -> None:
    row = [change.get(place, value) for place, value in enumerate(GOOD)]
    with pytest.raises(InvalidRequest) as caught:
        parse_request(encode({"op": "add", "rows": [row]}))
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"op": "reboot"}, "'reboot'"),
        ({"op": "add"}, "'rows'"),
        ({"op": "add", "rows": [GOOD] * (ROWS_MAX + 1)}, str(ROWS_MAX)),
        ({"op": "add", "rows": [[*GOOD[:5], 8000, 8063]] * 9}, f"more than {PORTS_MAX} ports"),
        ({"op": "add", "rows": [[*GOOD[:4], 254]]}, "254 sockets"),
        ({"op": "remove", "keys": [""]}, "''"),
        ({"op": "take"}, "None"),
    ],
)
def test_bad_request_is_named(body: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(encode(body))
    assert named in caught.value.message


def test_page_of_longest_entries_fits_a_packet() -> None:
    target = RelayTarget(Protocol.TCP, ip_address("2001:db8:1111:2222:3333:4444:5555:6666"), 65535)
    entry = RelayEntry('"' * KEY_LENGTH_MAX, target, 2**63, 2**63, 2**63)
    page = page_body([entry] * 1000)
    assert page["more"] and len(page["entries"]) > 100
    assert len(encode(page)) <= PACKET_BYTES_MAX
