"""Every form of `-p` is read as Docker reads it, ranges stay ranges, and what can't be read is named."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InvalidRequest
from atoll.model.addresses import never_local
from atoll.model.portmap import merge_mappings, parse_port_map
from atoll.model.ports import PortMapping, PortRange, Protocol, addresses_meet
from atoll.model.portspec import parse_port_spec, parse_publish, spec_text

TCP, UDP, SCTP = Protocol.TCP, Protocol.UDP, Protocol.SCTP
LOOPBACK = IPv4Address("127.0.0.1")
LOOPBACK_V6 = IPv6Address("::1")


def one(port: int) -> PortRange:
    return PortRange(port, port)


FORMS = [
    ("80", PortMapping(TCP, one(80))),
    ("80/tcp", PortMapping(TCP, one(80))),
    ("80/", PortMapping(TCP, one(80))),
    ("0080", PortMapping(TCP, one(80))),
    ("53/UDP", PortMapping(UDP, one(53))),
    ("9/sctp", PortMapping(SCTP, one(9))),
    ("8080:80", PortMapping(TCP, one(80), one(8080))),
    (":80", PortMapping(TCP, one(80))),
    ("0:80", PortMapping(TCP, one(80))),
    ("::80", PortMapping(TCP, one(80))),
    ("127.0.0.1:8080:80", PortMapping(TCP, one(80), one(8080), LOOPBACK)),
    ("127.0.0.1::80", PortMapping(TCP, one(80), None, LOOPBACK)),
    ("127.0.0.1:0:80", PortMapping(TCP, one(80), None, LOOPBACK)),
    ("0.0.0.0:1234-1235:3333-3334/tcp", PortMapping(TCP, PortRange(3333, 3334), PortRange(1234, 1235), IPv4Address(0))),
    ("[::1]:80:80", PortMapping(TCP, one(80), one(80), LOOPBACK_V6)),
    ("[::1]::80/udp", PortMapping(UDP, one(80), None, LOOPBACK_V6)),
    ("[2001:4860:0:2001::68]::333", PortMapping(TCP, one(333), None, IPv6Address("2001:4860:0:2001::68"))),
    ("2001:4860:0:2001::68::333", PortMapping(TCP, one(333), None, IPv6Address("2001:4860:0:2001::68"))),
    ("::1:80:80", PortMapping(TCP, one(80), one(80), LOOPBACK_V6)),
    ("::::80", PortMapping(TCP, one(80), None, IPv6Address(0))),
    ("7000-7002", PortMapping(TCP, PortRange(7000, 7002))),
    ("1-65535:1-65535/udp", PortMapping(UDP, PortRange(1, 65535), PortRange(1, 65535))),
    ("8000-8010:80", PortMapping(TCP, one(80), PortRange(8000, 8010))),
    ("80-80:81-81", PortMapping(TCP, one(81), one(80))),
]

BAD = [
    ("", "no container port"),
    (":", "no container port"),
    ("8080:", "no container port"),
    ("/tcp", "no container port"),
    ("127.0.0.1:8080:", "no container port"),
    ("0", "container port 0 is not between"),
    ("8080:0", "container port 0 is not between"),
    ("0-5:80", "host port 0 is not between"),
    ("65536", "65536 is not between 1 and 65535"),
    ("65536:80", "65536 is not between 1 and 65535"),
    ("8080:80-70000", "70000 is not between"),
    ("-1", "'-1' is neither a number"),
    ("192.168.1.100:-1:-1", "is neither a number"),
    ("+80", "'+80' is neither a number"),
    (" 80", "' 80' is neither a number"),
    ("80 ", "'80 ' is neither a number"),
    ("80\n", "is neither a number"),
    ("٨٠", "is neither a number"),
    ("80-", "is neither a number"),
    ("1-2-3", "'1-2-3' is neither a number"),
    ("http", "'http' is neither a number"),
    ("100000000000000000000000", "is neither a number"),
    ("90-80", "run backwards"),
    ("8010-8000:80-90", "run backwards"),
    ("8000-8010:80-85", "11 host ports for 6 container ports"),
    ("8000:80-85", "1 host ports for 6 container ports"),
    ("80/http", "'http' is not a protocol"),
    ("80/tcp/udp", "'tcp/udp' is not a protocol"),
    ("8080/tcp:80", "'tcp' stands before the container port"),
    ("localhost:80:80", "'localhost' is not an IPv4 or IPv6 address"),
    ("300.0.0.1:80:80", "'300.0.0.1' is not an"),
    ("127.1:80:80", "'127.1' is not an"),
    ("127.0.0.1", "'127.0.0.1' is neither a number"),
    ("127.0.0.1:80", "'127.0.0.1' is neither a number"),
    ("2001:db8::1:80", "is not an IPv4 or IPv6 address"),
    ("[::1]:80", "follow an address in brackets"),
    ("[::1]80", "follow an address in brackets"),
    ("[::1", "follow an address in brackets"),
    ("[]:80:80", "'' is not an IPv4"),
    ("[fe80::1%eth0]:80:80", "is not an IPv4 or IPv6 address"),
    ("[::ffff:10.0.0.1]:80:80", "is not an IPv4 or IPv6 address"),
]


@pytest.mark.parametrize(("text", "mapping"), FORMS)
def test_form_is_read_as_docker_reads_it(text: str, mapping: PortMapping) -> None:
    assert parse_port_spec(text) == mapping


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_unreadable_text_is_named_with_the_reason_and_a_hint(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_port_spec(text)
    assert reason in caught.value.message
    assert repr(text) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("localhost:8080:80", "write 127.0.0.1:8080:80"),
        ("127.0.0.1:80", "write 127.0.0.1::80 or 127.0.0.1:8080:80"),
        ("90-80", "write 80-90"),
        ("8000-8010:80-85", "write 8000-8005:80-85"),
        ("8080/udp:80", "write 8080:80/udp"),
        ("2001:db8::1:80", "brackets"),
        ("65530-65535:1-10", "equal length"),
    ],
)
def test_hint_is_the_spelling_that_works(text: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_port_spec(text)
    assert hint in caught.value.hint


def test_huge_text_makes_a_short_message() -> None:
    for text in ("9" * 100_000, "a:" * 100_000 + "80", "[" + ":" * 100_000, "80/" + "x" * 100_000):
        with pytest.raises(InvalidRequest) as caught:
            parse_port_spec(text)
        assert len(caught.value.message) + len(caught.value.hint) < 700


ports = st.integers(1, 65535)
ip_addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None)
addresses = st.none() | ip_addresses.filter(lambda address: not never_local(address))


@st.composite
def mappings(draw: st.DrawFn) -> PortMapping:
    length = draw(st.integers(1, 2000))
    container = draw(st.integers(1, 65536 - length))
    host = draw(st.none() | st.integers(1, 65536 - length))
    asked = None if host is None else PortRange(host, host + length - 1)
    containers = PortRange(container, container + (0 if draw(st.booleans()) else length - 1))
    if asked is not None and len(containers) not in (1, length):
        asked = None
    return PortMapping(draw(st.sampled_from(Protocol)), containers, asked, draw(addresses))


@given(mappings())
def test_what_is_shown_parses_to_the_same(mapping: PortMapping) -> None:
    assert parse_port_spec(spec_text(mapping)) == mapping


@given(st.text(alphabet="0189:-/[].tcpudx %", max_size=30) | st.text(max_size=30))
def test_any_text_is_a_mapping_or_an_invalid_request(text: str) -> None:
    try:
        mapping = parse_port_spec(text)
    except InvalidRequest:
        return
    assert mapping.host is None or len(mapping.container) in (1, len(mapping.host))
    assert parse_port_spec(spec_text(mapping)) == mapping


@pytest.mark.parametrize(
    ("specs", "port"),
    [
        (("8080:80", "8080:81"), "8080/tcp"),
        (("8080:80", "8080:80"), "8080/tcp"),
        (("8080:80", "127.0.0.1:8080:81"), "8080/tcp"),
        (("0.0.0.0:53:53/udp", "10.0.0.1:53:54/udp"), "53/udp"),
        (("8000-8010:80-90", "[::1]:8005:1"), "8005/tcp"),
        (("1-10:1-10", "20:20", "9-11:9-11"), "9/tcp"),
    ],
)
def test_one_host_port_asked_for_twice_is_named(specs: tuple[str, ...], port: str) -> None:
    with pytest.raises(InvalidRequest, match=f"host port {port} is asked for twice") as caught:
        parse_publish(specs)
    assert all(text in caught.value.message for text in (specs[0].split(":")[0], specs[-1].split("/")[0]))


@pytest.mark.parametrize(
    "specs",
    [
        ("80", "80"),
        ("8080:80", "8080:80/udp"),
        ("127.0.0.1:8080:80", "127.0.0.2:8080:80"),
        ("0.0.0.0:8080:80", "[::]:8080:80"),
        ("8000-8001:80", "8000-8001:81", "8000:82"),
        ("1-10:1-10", "11-20:1-10"),
    ],
)
def test_requests_that_can_be_met_together_are_read(specs: tuple[str, ...]) -> None:
    assert [spec_text(mapping) for mapping in parse_publish(specs)] == list(specs)


@given(addresses, addresses)
def test_meeting_of_addresses_is_symmetric(one: IPv4Address | None, other: IPv4Address | None) -> None:
    assert addresses_meet(one, other) == addresses_meet(other, one)
    assert addresses_meet(one, one) and addresses_meet(one, None)


def test_expanded_ports_become_ranges_again() -> None:
    expanded = {f"{port}/tcp": [{"HostIp": "", "HostPort": str(port + 8000)}] for port in range(100, 20100)}
    assert [spec_text(mapping) for mapping in parse_port_map(expanded)] == ["8100-28099:100-20099"]


def test_merging_keeps_what_differs_apart() -> None:
    found = parse_port_map(
        {
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": "9080"}],
            "81/tcp": [{"HostPort": "8081"}, {"HostIp": "127.0.0.1", "HostPort": "9181"}],
            "82/tcp": [{"HostIp": "", "HostPort": "8100-8110"}],
            "83/tcp": [{"HostIp": "", "HostPort": "8083"}],
            "81/udp": [{"HostIp": "", "HostPort": "8082"}],
            "84": [{"HostIp": "::1", "HostPort": "0"}],
        }
    )
    assert [spec_text(mapping) for mapping in found] == [
        "127.0.0.1:9080:80",
        "8080-8081:80-81",
        "127.0.0.1:9181:81",
        "8100-8110:82",
        "8083:83",
        "[::1]::84",
        "8082:81/udp",
    ]


def test_ports_without_bindings_are_automatic() -> None:
    found = parse_port_map({"53/udp": None, "54/udp": [], "55/udp": [{}], "57/udp": [{"HostIp": "", "HostPort": ""}]})
    assert [spec_text(mapping) for mapping in found] == ["53-55/udp", "57/udp"]


@pytest.mark.parametrize(
    "binding",
    [
        {"0/tcp": None},
        {"80/icmp": None},
        {"": None},
        {"80/tcp": [{"HostPort": "x"}]},
        {"80/tcp": [{"HostIp": "localhost", "HostPort": "80"}]},
        {"80/tcp": [{"HostPort": 8080}]},
        {"80/tcp": [{"HostPort": "80"}], "81/tcp": [{"HostPort": "80"}]},
        {"80-90/tcp": [{"HostPort": "80-81"}]},
    ],
)
def test_bad_port_map_is_an_invalid_request(binding: dict[str, list[dict[str, str]] | None]) -> None:
    with pytest.raises(InvalidRequest):
        parse_port_map(binding)


@given(st.lists(mappings().filter(lambda mapping: len(mapping.container) < 50), max_size=8))
def test_merging_changes_no_port(found: list[PortMapping]) -> None:
    def expanded(mappings: list[PortMapping]) -> list[tuple[object, ...]]:
        pairs: list[tuple[object, ...]] = []
        for each in mappings:
            choice = each.host is not None and len(each.host) != len(each.container)
            for index in range(len(each.container)):
                host = each.host if choice or each.host is None else each.host.first + index
                pairs.append((each.protocol, str(each.host_address), each.container.first + index, str(host)))
        return sorted(pairs, key=str)

    assert expanded(list(merge_mappings(found))) == expanded(found)
