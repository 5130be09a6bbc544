"""Addresses: the lowest free one is found whatever is taken, and what nobody may have is never given out."""

import time
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import Conflict, Exhausted, InvalidRequest
from atoll.ipam.addresses import check_static, choose
from atoll.ipam.subnets import lowest_free
from atoll.model.addresses import IPAddress
from atoll.model.network import Pool
from atoll.model.runs import Runs


def a_pool(subnet: str, gateway: str, ip_range: str | None = None, **auxiliary: str) -> Pool:
    return Pool(
        ip_network(subnet),
        ip_address(gateway),
        ip_network(ip_range) if ip_range else None,
        tuple((name, ip_address(text)) for name, text in auxiliary.items()),
    )


def runs(addresses: Iterable[IPAddress]) -> Runs:
    return Runs.of(map(int, addresses))


def taken(*texts: str) -> Runs:
    return runs(map(ip_address, texts))


def fill(pool: Pool) -> list[str]:
    """Addresses in the order in which an empty pool gives them out."""
    given_out: list[IPAddress] = []
    while True:
        try:
            given_out.append(choose(pool, runs(given_out)))
        except Exhausted:
            return [str(address) for address in given_out]


@pytest.mark.parametrize(
    ("pool", "given_out"),
    [
        (a_pool("10.0.0.0/29", "10.0.0.1"), ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]),
        (a_pool("10.0.0.0/29", "10.0.0.4", router="10.0.0.6"), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.5"]),
        (a_pool("10.0.0.0/29", "10.0.0.1", "10.0.0.4/30"), ["10.0.0.4", "10.0.0.5", "10.0.0.6"]),
        (a_pool("10.0.0.0/16", "10.0.0.1", "10.0.5.0/31"), ["10.0.5.0", "10.0.5.1"]),
        (a_pool("10.0.0.0/30", "10.0.0.1"), ["10.0.0.2"]),
        (a_pool("10.0.0.0/31", "10.0.0.0"), ["10.0.0.1"]),
        (a_pool("10.0.0.0/31", "10.0.0.1"), ["10.0.0.0"]),
        (a_pool("10.0.0.0/32", "10.0.0.0"), []),
        (a_pool("fd00::/126", "fd00::1"), ["fd00::2", "fd00::3"]),
        (a_pool("fd00::/127", "fd00::1"), []),
    ],
)
def test_pool_gives_out_exactly_its_usable_addresses_in_order(pool: Pool, given_out: list[str]) -> None:
    assert fill(pool) == given_out


def test_first_address_is_docker_s() -> None:
    assert str(choose(a_pool("172.17.0.0/16", "172.17.0.1"), Runs())) == "172.17.0.2"
    assert str(choose(a_pool("fd00::/64", "fd00::1"), Runs())) == "fd00::2"


def test_released_address_is_given_out_again() -> None:
    pool = a_pool("10.0.0.0/24", "10.0.0.1")
    assert str(choose(pool, taken("10.0.0.2", "10.0.0.4"))) == "10.0.0.3"


def test_search_behind_the_last_one_comes_round() -> None:
    pool = a_pool("10.0.0.0/29", "10.0.0.1")
    some = taken("10.0.0.4", "10.0.0.6", "10.0.0.2")
    assert str(choose(pool, some, last=IPv4Address("10.0.0.3"))) == "10.0.0.5"
    assert str(choose(pool, some, last=IPv4Address("10.0.0.5"))) == "10.0.0.3"
    assert str(choose(pool, some, last=IPv4Address("10.0.0.7"))) == "10.0.0.3"
    assert str(choose(pool, some, last=IPv4Address("192.0.2.1"))) == "10.0.0.3"


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (a_pool("10.0.0.0/29", "10.0.0.1"), "no free address in 10.0.0.0/29 of network web: 5 of 5 are in use"),
        (
            a_pool("10.0.0.0/24", "10.0.0.1", "10.0.0.0/30", a="10.0.0.3"),
            "no free address in --ip-range 10.0.0.0/30 of network web: 1 of 1 are in use",
        ),
        (a_pool("10.0.0.0/32", "10.0.0.0"), "no free address in 10.0.0.0/32 of network web: all it has are reserved"),
    ],
)
def test_exhaustion_comes_with_numbers(pool: Pool, message: str) -> None:
    with pytest.raises(Exhausted) as caught:
        choose(pool, runs(pool.subnet), network="web")
    assert caught.value.message == message


def test_choice_among_sixty_thousand_does_not_scan() -> None:
    pool = a_pool("10.0.0.0/8", "10.0.0.1")
    held = Runs.of(0x0A000002 + number for number in range(60_000))
    begin = time.perf_counter()
    for _ in range(1000):
        held = held.after((), (int(choose(pool, held)),))
    # A scan costs 60,000 look-ups a choice: minutes in all.
    assert time.perf_counter() - begin < 1
    assert (held.firsts, held.lasts) == ((0x0A000002,), (0x0A000001 + 61_000,))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.0.1.5", "outside of subnet 10.0.0.0/24 of network web"),
        ("fd00::5", "outside of subnet"),
        ("10.0.0.0", "network address"),
        ("10.0.0.255", "broadcast address"),
        ("10.0.0.1", "gateway"),
    ],
)
def test_static_address_that_nobody_can_have_is_an_invalid_request(address: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as caught:
        check_static(a_pool("10.0.0.0/24", "10.0.0.1"), ip_address(address), "", network="web")
    assert address in caught.value.message


def test_static_ipv6_address_is_never_the_subnet_router_s() -> None:
    with pytest.raises(InvalidRequest, match="subnet-router anycast"):
        check_static(a_pool("fd00::/64", "fd00::1"), ip_address("fd00::"), "")


def test_static_address_that_is_held_names_the_holder() -> None:
    pool = a_pool("10.0.0.0/24", "10.0.0.1", router="10.0.0.9")
    with pytest.raises(Conflict, match=r"address 10.0.0.5 of network web is already in use by db"):
        check_static(pool, ip_address("10.0.0.5"), "db", network="web")
    with pytest.raises(Conflict, match="'router'"):
        check_static(pool, ip_address("10.0.0.9"), "", network="web")


def test_static_address_may_lie_outside_of_the_range() -> None:
    check_static(a_pool("10.0.0.0/24", "10.0.0.1", "10.0.0.128/25"), ip_address("10.0.0.5"), "")


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_lowest_free_number_is_in_no_span(spans: list[tuple[int, int]], first: int, last: int) -> None:
    free = [number for number in range(first, last + 1) if not any(a <= number <= b for a, b in spans)]
    assert lowest_free(first, last, spans) == (free[0] if free else None)


@given(st.sets(st.integers(0, 63)), st.integers(26, 32), st.none() | st.integers(0, 63))
def test_choice_is_always_allowed_and_free(numbers: set[int], length: int, last: int | None) -> None:
    subnet = ip_network(f"10.0.0.0/{length}")
    pool = Pool(subnet, subnet[min(1, subnet.num_addresses - 1)])
    held = {IPv4Address(0x0A000000 + number) for number in numbers}
    cursor = None if last is None else IPv4Address(0x0A000000 + last)
    try:
        chosen = choose(pool, runs(held), last=cursor)
    except Exhausted:
        assert all(address in held or address == pool.gateway for address in subnet.hosts())
        return
    assert chosen not in held
    check_static(pool, chosen, "")


@pytest.mark.parametrize(("offset", "expected"), [(9, "fd00::9"), (3, "fd00::2"), (1, "fd00::2"), (1 << 40, "fd00::2")])
def test_the_address_at_an_offset_goes_first_if_it_may_be_had(offset: int, expected: str) -> None:
    taken = Runs().after([], [int(ip_address("fd00::3"))])
    assert str(choose(a_pool("fd00::/96", "fd00::1"), taken, offset=offset)) == expected
