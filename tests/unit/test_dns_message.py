"""The codec of DNS messages beside dnspython's; and no bytes from outside do more than be refused."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.reversename
from hypothesis import example, given
from hypothesis import strategies as st

from atoll.dns.message import (
    HEADER_BYTES,
    MESSAGE_BYTES_MAX,
    UDP_BYTES,
    Query,
    Rcode,
    RRType,
    address_record,
    encode_name,
    is_answer,
    parse_query,
    pointer_record,
    refuse,
    respond,
    reversed_address,
    truncated,
)
from atoll.model.addresses import IPAddress

letters = st.characters(categories=(), include_characters="abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_")
labels = st.text(letters, min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=6).map(".".join).filter(lambda name: len(name) <= 253)
rrtypes = st.sampled_from(["A", "AAAA", "PTR", "MX", "TXT", "ANY", "HTTPS"])
addresses = st.ip_addresses()


@st.composite
def queries(draw: st.DrawFn) -> dns.message.Message:
    made = dns.message.make_query(
        draw(names),
        draw(rrtypes),
        use_edns=draw(st.sampled_from([None, 0])),
        payload=draw(st.integers(0, 65535)),
        want_dnssec=draw(st.booleans()),
        id=draw(st.integers(0, 65535)),
    )
    made.flags ^= draw(st.sampled_from([0, dns.flags.RD, dns.flags.CD, dns.flags.AD]))
    return made


def parsed(packet: bytes) -> Query:
    query = parse_query(packet)
    assert isinstance(query, Query)
    return query


def read(answer: bytes, limit: int) -> dns.message.Message:
    """dnspython's reading of an answer, which has to take all of it."""
    assert len(answer) <= limit
    return dns.message.from_wire(answer)


@given(queries())
def test_question_is_read_as_dnspython_wrote_it(made: dns.message.Message) -> None:
    packet = made.to_wire()
    query = parsed(packet)
    question = made.question[0]
    assert query.name == question.name.to_text(omit_final_dot=True).lower()
    assert (query.rrtype, query.rrclass) == (question.rdtype, question.rdclass)
    assert query.udp_bytes == (made.payload if made.edns >= 0 else None)
    assert 512 <= query.udp_limit <= 4096


@given(queries(), st.lists(addresses, max_size=40))
def test_answer_is_read_by_dnspython_and_cut_at_a_record(made: dns.message.Message, wanted: list[IPAddress]) -> None:
    packet = made.to_wire()
    query = parsed(packet)
    answer = read(respond(packet, query, map(address_record, wanted), limit=query.udp_limit), query.udp_limit)

    assert made.is_response(answer)
    assert answer.rcode() == Rcode.NOERROR
    assert answer.flags & dns.flags.RA
    assert (answer.flags ^ made.flags) & (dns.flags.RD | dns.flags.CD) == 0
    assert (answer.edns >= 0) == (made.edns >= 0)
    found = [(rrset.name, rrset.ttl, item.to_text()) for rrset in answer.answer for item in rrset]
    assert {(name, ttl) for name, ttl, _ in found} <= {(made.question[0].name, 0)}
    kept = len(found)
    if answer.flags & dns.flags.TC:
        assert len(set(wanted)) > 0 and kept < len(wanted)
    else:
        assert {ip_address(text) for _, _, text in found} == set(wanted)


@given(queries(), names)
def test_pointer_is_read_by_dnspython(made: dns.message.Message, name: str) -> None:
    packet = made.to_wire()
    record = pointer_record(name)
    assert record is not None
    answer = read(respond(packet, parsed(packet), (record,), limit=MESSAGE_BYTES_MAX), MESSAGE_BYTES_MAX)
    assert answer.answer[0].rdtype == dns.rdatatype.PTR
    assert answer.answer[0][0].target == dns.name.from_text(name)


@given(st.text(st.characters(categories=(), include_characters="abAB.-_ é\\"), max_size=300) | names)
def test_name_is_encoded_as_dnspython_does_or_not_at_all(name: str) -> None:
    try:
        labels = tuple(label.encode("latin-1") for label in (*name.split("."), ""))
        wire: bytes | None = dns.name.Name(labels).to_wire()
    except dns.exception.DNSException:
        wire = None
    assert encode_name(name) == wire


@given(addresses)
def test_address_is_known_by_its_reverse_name(address: IPAddress) -> None:
    # Not dnspython's name, which takes ::ffff:192.0.2.1 for an IPv4 address.
    assert reversed_address(address.reverse_pointer) == address


@given(
    st.lists(st.sampled_from(["1", "01", "256", "x", "", "f", "10", "-1", "\u0661"]), max_size=33).map(".".join),
    st.sampled_from([".in-addr.arpa", ".ip6.arpa", "", ".arpa"]),
)
def test_other_names_are_no_address(start: str, end: str) -> None:
    found = reversed_address(start + end)
    if found is not None:
        assert dns.reversename.from_address(str(found)).to_text(omit_final_dot=True) == start + end


@given(st.binary(max_size=600))
@example(b"")
@example(struct.pack(">6H", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1")
@example(struct.pack(">6H", 1, 0, 1, 0, 0, 65535) + b"\1a\0\0\1\0\1")
def test_no_bytes_are_too_odd(packet: bytes) -> None:
    check_odd(packet)


@given(queries(), st.data())
def test_no_damage_to_a_query_is_too_odd(made: dns.message.Message, data: st.DataObject) -> None:
    packet = bytearray(made.to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    check_odd(bytes(packet[: data.draw(st.integers(0, len(packet)))]))


def check_odd(packet: bytes) -> None:
    query = parse_query(packet)
    if query is None:
        assert len(packet) < HEADER_BYTES or packet[2] & 0x80
        return
    if isinstance(query, Rcode):
        answer = dns.message.from_wire(refuse(packet, query))
        assert answer.rcode() == query
    else:
        answer = read(respond(packet, query, (), limit=UDP_BYTES), UDP_BYTES)
    assert answer.id == int.from_bytes(packet[:2], "big")
    assert answer.flags & dns.flags.QR


@given(st.binary(max_size=80), st.integers(0, 3))
def test_reply_that_is_none_is_not_taken_for_one(junk: bytes, where: int) -> None:
    packet = dns.message.make_query("db.example", "A", id=7).to_wire()
    query = parsed(packet)
    reply = dns.message.make_response(dns.message.from_wire(packet)).to_wire()
    assert is_answer(reply, packet, query)
    assert not is_answer(junk + b"\0" * (where == 0), packet, query)
    for at in (0, 2, 14):
        assert not is_answer(reply[:at] + bytes([reply[at] ^ 0x81]) + reply[at + 1 :], packet, query)


def test_dot_inside_a_label_is_no_dot() -> None:
    query = dns.message.make_query(dns.name.Name([b"a.b", b"c", b""]), "A").to_wire()
    assert parsed(query).name == "a\\.b.c"


def test_what_can_not_be_served_is_said() -> None:
    made = dns.message.make_query("a", "A")
    made.set_opcode(dns.opcode.NOTIFY)
    assert parse_query(made.to_wire()) is Rcode.NOTIMP
    newer = dns.message.make_query("a", "A", use_edns=1)
    assert parse_query(newer.to_wire()) is Rcode.BADVERS
    assert dns.message.from_wire(refuse(newer.to_wire(), Rcode.BADVERS)).rcode() == dns.rcode.BADVERS
    two = made.to_wire()[:4] + b"\0\2" + made.to_wire()[6:]
    assert parse_query(two[:2] + b"\0" + two[3:]) is Rcode.FORMERR


def test_truncated_answer_has_no_records() -> None:
    packet = dns.message.make_query("a", "A").to_wire()
    answer = dns.message.from_wire(truncated(packet, parsed(packet)))
    assert answer.flags & dns.flags.TC and not answer.answer


def test_records_of_one_family_are_of_its_type() -> None:
    for address, rrtype in ((IPv4Address("10.0.0.1"), RRType.A), (IPv6Address("fd00::1"), RRType.AAAA)):
        assert int.from_bytes(address_record(address)[2:4], "big") == rrtype
