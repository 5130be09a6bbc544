"""Host ports: what is asked for exactly is had or its holder named; what is chosen is free."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import Exhausted, PortTaken
from atoll.ipam.hostports import Busy, bind
from atoll.model.addresses import IPAddress
from atoll.model.heldports import HeldPorts
from atoll.model.ports import PortBinding, PortMapping, PortRange, Protocol, addresses_meet
from atoll.model.portspec import parse_port_spec

EPHEMERAL = PortRange(32768, 60999)
LOOPBACK = IPv4Address("127.0.0.1")


def held(owner: str, spec: str) -> tuple[str, PortBinding]:
    mapping = parse_port_spec(spec)
    assert mapping.host is not None
    return owner, PortBinding(mapping.protocol, mapping.host_address, mapping.host, mapping.container)


def bound(
    *specs: str,
    in_use: tuple[tuple[str, PortBinding], ...] = (),
    ephemeral: PortRange = EPHEMERAL,
    default_address: IPAddress | None = None,
    start: int = 0,
    busy: Busy = frozenset(),
) -> list[str]:
    mappings = [parse_port_spec(spec) for spec in specs]
    found = bind(
        mappings,
        held=HeldPorts().after(come=[binding for _, binding in in_use]),
        holders=lambda: in_use,
        ephemeral=ephemeral,
        default_address=default_address,
        start=start,
        busy=busy,
    )
    return [str(binding) for binding in found]


def test_exact_ports_are_bound_as_asked() -> None:
    assert bound("8080:80", "127.0.0.1:53:53/udp", "[::1]:1000-1009:10-19/sctp") == [
        "*:8080->80/tcp",
        "127.0.0.1:53->53/udp",
        "[::1]:1000-1009->10-19/sctp",
    ]


def test_default_address_is_for_mappings_without_one() -> None:
    assert bound("8080:80", "0.0.0.0:8081:80", "[::]:8082:80", default_address=LOOPBACK) == [
        "127.0.0.1:8080->80/tcp",
        "0.0.0.0:8081->80/tcp",
        "[::]:8082->80/tcp",
    ]


@pytest.mark.parametrize(
    ("spec", "holding", "message"),
    [
        ("8080:80", "8080:80", "cannot publish 0.0.0.0:8080/tcp: held by sandbox web"),
        ("127.0.0.1:8080:80", "8080:80", "cannot publish 127.0.0.1:8080/tcp: held by sandbox web"),
        ("8080:80", "[::1]:8080:80", "cannot publish 0.0.0.0:8080/tcp: held by sandbox web"),
        ("[::1]:8080:80", "[::]:8080:80", "cannot publish [::1]:8080/tcp: held by sandbox web"),
        ("8085:80", "8080-8090:80-90", "cannot publish 0.0.0.0:8085/tcp: held by sandbox web"),
        (
            "8080-8090:80-90/udp",
            "8085:80/udp",
            "cannot publish 0.0.0.0:8080-8090/udp: port 8085 is held by sandbox web",
        ),
        ("8080-8090:80-90", "8000-8082:1-83", "cannot publish 0.0.0.0:8080-8090/tcp: port 8080 is held by sandbox web"),
    ],
)
def test_taken_port_names_its_holder(spec: str, holding: str, message: str) -> None:
    with pytest.raises(PortTaken) as caught:
        bound(spec, in_use=(held("other", "9999:9"), held("web", holding)))
    assert caught.value.message == message
    assert caught.value.subject == "web"


@pytest.mark.parametrize(
    ("spec", "holding"),
    [
        ("8080:80", "8080:80/udp"),
        ("8080:80", "8081:80"),
        ("127.0.0.1:8080:80", "127.0.0.2:8080:80"),
        ("0.0.0.0:8080:80", "[::]:8080:80"),
        ("0.0.0.0:8080:80", "[::1]:8080:80"),
        ("8080-8090:80-90", "8091-8099:1-9"),
    ],
)
def test_ports_that_do_not_meet_are_had(spec: str, holding: str) -> None:
    assert bound(spec, in_use=(held("web", holding),))


def test_one_request_can_not_have_a_port_twice() -> None:
    with pytest.raises(PortTaken, match="8080/tcp: asked for twice"):
        bound("8080:80", "8080:81", default_address=LOOPBACK)


def test_choice_is_the_lowest_free_port_of_the_range() -> None:
    in_use = (held("a", "8000:1"), held("b", "8001-8003:1-3"))
    assert bound("8000-8010:80", "8000-8010:81", in_use=in_use) == ["*:8004->80/tcp", "*:8005->81/tcp"]


def test_choice_leaves_exact_ports_to_those_who_need_them() -> None:
    assert bound("8000-8001:80", "8000:81") == ["*:8001->80/tcp", "*:8000->81/tcp"]
    assert bound("32768-32770:80", "80", "32768:81") == ["*:32769->80/tcp", "*:32770->80/tcp", "*:32768->81/tcp"]


def test_short_ranges_choose_before_long_ones() -> None:
    assert bound("8000-8002:80", "8000-8001:81", "8000:82") == ["*:8002->80/tcp", "*:8001->81/tcp", "*:8000->82/tcp"]


def test_range_without_a_free_port_names_a_holder() -> None:
    with pytest.raises(PortTaken, match=r"one of 0\.0\.0\.0:8000-8001/tcp: none of 2 is free \(8001 is held by .* b\)"):
        bound("8000-8001:80", in_use=(held("a", "8000:1"), held("b", "8001:1")))
    with pytest.raises(PortTaken, match="other programs"):
        bound("8000-8001:80", busy=frozenset({(Protocol.TCP, PortRange(8000, 8001))}))


def test_automatic_ports_begin_at_the_cursor_and_come_round() -> None:
    assert bound("80", start=5) == ["*:32773->80/tcp"]
    assert bound("80", "81", "82", start=len(EPHEMERAL) * 7 - 2) == [
        "*:60998->80/tcp",
        "*:60999->81/tcp",
        "*:32768->82/tcp",
    ]


def test_automatic_ports_of_a_range_follow_each_other() -> None:
    assert bound("80-89", in_use=(held("web", "32770:1"),)) == ["*:32771-32780->80-89/tcp"]
    assert bound("80-89", start=len(EPHEMERAL) - 5) == ["*:32768-32777->80-89/tcp"]


def test_automatic_ports_are_scattered_when_there_is_no_room() -> None:
    gaps = tuple(held("web", f"{port}:1") for port in range(40000, 40020, 3))
    found = bound("80-89", in_use=gaps, ephemeral=PortRange(40000, 40019))
    assert found == [
        "*:40001-40002->80-81/tcp",
        "*:40004-40005->82-83/tcp",
        "*:40007-40008->84-85/tcp",
        "*:40010-40011->86-87/tcp",
        "*:40013-40014->88-89/tcp",
    ]


def test_automatic_ports_avoid_what_is_busy() -> None:
    busy = frozenset({(Protocol.TCP, PortRange(32768, 32770)), (Protocol.UDP, PortRange(32771, 32771))})
    assert bound("80", "53/udp", busy=busy) == ["*:32771->80/tcp", "*:32768->53/udp"]


def test_automatic_ports_run_out() -> None:
    with pytest.raises(Exhausted, match="80-82/tcp: no automatic host port of 40000-40001"):
        bound("80-82", ephemeral=PortRange(40000, 40001))


def test_ten_thousand_held_ports_cost_little() -> None:
    in_use = tuple(held(f"s{port}", f"{port}:80") for port in range(32768, 42768))
    assert bound("80", in_use=in_use) == ["*:42768->80/tcp"]
    assert bound("1-18000", in_use=in_use) == ["*:42768-60767->1-18000/tcp"]


specs = st.builds(
    lambda first, length, pick, host, protocol, address: PortMapping(
        protocol,
        PortRange(1, 1 if pick else length),
        PortRange(first, first + length - 1) if host else None,
        address,
    ),
    st.integers(100, 120),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
    st.sampled_from([Protocol.TCP, Protocol.UDP]),
    st.sampled_from([None, IPv4Address(0), LOOPBACK, IPv6Address(0), IPv6Address(1)]),
)


@given(st.lists(specs, max_size=6), st.lists(specs, max_size=4), st.integers(0, 100))
def test_no_two_bindings_ever_meet(asked: list[PortMapping], before: list[PortMapping], start: int) -> None:
    ephemeral = PortRange(105, 125)

    def bindings(mappings: list[PortMapping], there: tuple[PortBinding, ...]) -> tuple[PortBinding, ...]:
        return bind(
            mappings,
            held=HeldPorts().after(come=there),
            holders=lambda: [("other", binding) for binding in there],
            ephemeral=ephemeral,
            default_address=None,
            start=start,
        )

    try:
        there = bindings(before, ())
        found = bindings(asked, there)
    except (PortTaken, Exhausted):
        return
    everything = (*there, *found)
    for index, one in enumerate(everything):
        assert len(one.host) == len(one.container)
        for other in everything[:index]:
            meet = one.protocol is other.protocol and one.host.overlaps(other.host)
            assert not (meet and addresses_meet(one.host_address, other.host_address)), (one, other)
    assert sum(len(binding.container) for binding in found) == sum(len(mapping.container) for mapping in asked)
