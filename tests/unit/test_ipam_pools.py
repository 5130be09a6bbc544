"""Pools of a new network: Docker's choices in Docker's order, nothing that overlaps, every bad request named."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import pytest

from atoll.errors import AtollError, Exhausted, InvalidRequest, PoolOverlap
from atoll.ipam.pools import complete_pools
from atoll.ipam.subnets import AutomaticPool, unique_local_pool
from atoll.model.network import Pool, PoolRequest

DOCKER_TEXT = "Pool overlaps with other one on this address space"


def asked(
    subnet: str | None = None, ip_range: str | None = None, gateway: str | None = None, **aux: str
) -> PoolRequest:
    return PoolRequest(
        ip_network(subnet) if subnet else None,
        ip_network(ip_range) if ip_range else None,
        ip_address(gateway) if gateway else None,
        tuple((name, ip_address(text)) for name, text in aux.items()),
    )


def complete(*requests: PoolRequest, **around: Any) -> tuple[tuple[Pool, ...], tuple[str, ...]]:
    surroundings: dict[str, Any] = {"ipv4": True, "ipv6": False, "held": (), "onlink": (), "routed": ()}
    surroundings |= around
    for key in ("onlink", "routed"):
        surroundings[key] = tuple(ip_network(text) for text in surroundings[key])
    return complete_pools(requests, host_key="host", **surroundings)


def subnets_until_exhausted(**around: Any) -> list[str]:
    held: list[tuple[str, Pool]] = []
    while True:
        try:
            ((pool,), _) = complete(held=held, **around)
        except Exhausted:
            return [str(pool.subnet) for _, pool in held]
        held.append((f"net{len(held)}", pool))


def test_automatic_subnets_are_docker_s_in_docker_s_order() -> None:
    expected = [f"172.{second}.0.0/16" for second in range(17, 32)]
    expected += [f"192.168.{third}.0/20" for third in range(0, 256, 16)]
    assert subnets_until_exhausted() == expected


def test_exhaustion_says_how_to_go_on() -> None:
    with pytest.raises(Exhausted, match="each of the 31 default subnets") as caught:
        complete(onlink=["172.16.0.0/12", "192.168.0.0/16"])
    assert "--subnet" in caught.value.hint


def test_automatic_subnet_avoids_interfaces_and_other_networks() -> None:
    other = Pool(IPv4Network("172.18.5.0/24"), ip_address("172.18.5.1"))
    ((pool,), warnings) = complete(onlink=["172.17.4.0/24"], held=[("web", other)])
    assert str(pool.subnet) == "172.19.0.0/16" and pool.automatic and not warnings
    assert str(pool.gateway) == "172.19.0.1"


def test_routed_prefix_is_avoided_while_there_is_another_choice() -> None:
    ((pool,), warnings) = complete(routed=["172.16.0.0/12"])
    assert str(pool.subnet) == "192.168.0.0/20" and not warnings
    ((pool,), warnings) = complete(routed=["172.16.0.0/12", "192.168.0.0/16"])
    assert str(pool.subnet) == "172.17.0.0/16"
    assert len(warnings) == 1 and "172.16.0.0/12" in warnings[0]


@pytest.mark.parametrize("route", ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"])
def test_route_to_everything_is_no_overlap(route: str) -> None:
    ((pool,), warnings) = complete(routed=[route], onlink=[route])
    assert str(pool.subnet) == "172.17.0.0/16" and not warnings
    (_, warnings) = complete(asked("10.0.0.0/24"), routed=[route], onlink=[route])
    assert not warnings


@pytest.mark.parametrize("route", ["::/0", "::/1", "8000::/1"])
def test_ipv6_route_to_everything_is_no_overlap(route: str) -> None:
    (_, warnings) = complete(ipv4=False, ipv6=True, routed=[route], onlink=[route])
    assert not warnings


def test_automatic_ipv6_subnet_is_the_host_s_next_unique_local_64() -> None:
    held: list[tuple[str, Pool]] = []
    for number in range(300):
        ((pool,), _) = complete(ipv4=False, ipv6=True, held=held)
        held.append((f"net{number}", pool))
    base = unique_local_pool("host").base
    assert base.prefixlen == 48 and base.subnet_of(IPv6Network("fd00::/8"))
    assert [pool.subnet for _, pool in held] == [ip_network((int(base[0]) + (n << 64), 64)) for n in range(300)]
    assert held[0][1].gateway == base[1]
    assert unique_local_pool("other host").base != base


def test_both_families_come_ipv4_first() -> None:
    (pools, _) = complete(asked("fd00:1::/64"), asked("10.0.0.0/24"), ipv6=True)
    assert [str(pool.subnet) for pool in pools] == ["10.0.0.0/24", "fd00:1::/64"]
    assert [str(pool.gateway) for pool in pools] == ["10.0.0.1", "fd00:1::1"]
    assert not any(pool.automatic for pool in pools)
    (pools, _) = complete(asked("fd00:1::/64"), ipv6=True)
    assert [pool.automatic for pool in pools] == [True, False]


def test_request_is_kept_as_asked() -> None:
    ((pool,), _) = complete(asked("10.0.0.0/16", "10.0.5.0/24", "10.0.5.254", host="10.0.1.5"))
    assert (str(pool.subnet), str(pool.ip_range), str(pool.gateway)) == ("10.0.0.0/16", "10.0.5.0/24", "10.0.5.254")
    assert pool.auxiliary == (("host", ip_address("10.0.1.5")),)


def test_default_gateway_steps_over_auxiliary_addresses() -> None:
    ((pool,), _) = complete(asked("10.0.0.0/24", router="10.0.0.1", nas="10.0.0.2"))
    assert str(pool.gateway) == "10.0.0.3"


@pytest.mark.parametrize(("subnet", "gateway"), [("10.0.0.0/31", "10.0.0.0"), ("fd00:1::/126", "fd00:1::1")])
def test_smallest_subnets_have_a_gateway(subnet: str, gateway: str) -> None:
    pools, _ = complete(asked(subnet), ipv6=True)
    assert [str(pool.gateway) for pool in pools if not pool.automatic] == [gateway]


def test_empty_request_is_an_automatic_pool() -> None:
    ((pool,), _) = complete(asked())
    assert pool.automatic


def test_subnet_of_a_family_that_is_off_is_left_out_with_a_warning() -> None:
    ((pool,), warnings) = complete(asked("10.0.0.0/24"), asked("fd00:1::/64"))
    assert str(pool.subnet) == "10.0.0.0/24"
    assert len(warnings) == 1 and "fd00:1::/64" in warnings[0] and "--ipv6" in warnings[0]


@pytest.mark.parametrize("subnet", ["10.0.0.0/8", "10.1.2.0/24", "10.1.2.128/25"])
def test_overlap_with_a_network_names_it_and_both_subnets(subnet: str) -> None:
    other = Pool(IPv4Network("10.1.2.0/24"), ip_address("10.1.2.1"))
    with pytest.raises(PoolOverlap, match=DOCKER_TEXT) as caught:
        complete(asked(subnet), held=[("web", other)])
    assert all(text in caught.value.message for text in (subnet, "10.1.2.0/24", "network web"))


def test_overlap_with_an_interface_names_its_prefix() -> None:
    with pytest.raises(PoolOverlap, match=DOCKER_TEXT) as caught:
        complete(asked("10.1.0.0/16"), onlink=["192.168.1.0/24", "10.1.2.0/24"])
    assert "10.1.2.0/24" in caught.value.message and "interface" in caught.value.message


def test_overlap_with_a_route_is_a_warning() -> None:
    ((pool,), warnings) = complete(asked("10.1.0.0/16"), routed=["10.0.0.0/8", "192.168.1.0/24"])
    assert str(pool.subnet) == "10.1.0.0/16"
    assert len(warnings) == 1 and "10.0.0.0/8" in warnings[0]


BAD = [
    ([asked("10.0.0.0/24", gateway="10.0.1.1")], "invalid gateway 10.0.1.1: not inside of subnet 10.0.0.0/24"),
    ([asked("10.0.0.0/24", gateway="fd00::1")], "invalid gateway fd00::1"),
    ([asked("10.0.0.0/24", gateway="10.0.0.0")], "network address"),
    ([asked("10.0.0.0/24", gateway="10.0.0.255")], "broadcast address"),
    ([asked("fd00:1::/64", gateway="fd00:1::")], "subnet-router anycast"),
    ([asked("10.0.0.0/24", "10.0.1.0/25")], "invalid ip-range 10.0.1.0/25: not inside of subnet 10.0.0.0/24"),
    ([asked("10.0.0.0/24", "10.0.0.0/23")], "invalid ip-range"),
    ([asked("10.0.0.0/24", "fd00::/65")], "invalid ip-range"),
    ([asked("10.0.0.0/24", nas="10.0.1.9")], "invalid auxiliary address 'nas' 10.0.1.9"),
    ([asked("10.0.0.0/24", nas="fd00::9")], "invalid auxiliary address 'nas'"),
    ([asked("10.0.0.0/24", nas="10.0.0.255")], "broadcast address"),
    ([asked("10.0.0.0/24", gateway="10.0.0.9", nas="10.0.0.9")], "it is the gateway"),
    ([asked("10.0.0.0/24", nas="10.0.0.9", router="10.0.0.9")], "'nas' and 'router' are both 10.0.0.9"),
    ([PoolRequest(ip_network("10.0.0.0/24"), auxiliary=(("a", ip_address("10.0.0.8")), ("a", ip_address("10.0.0.9"))))],
     "'a' is given twice"),
    ([asked("10.0.0.0/24"), asked("10.0.1.0/24")], "doesn't support multiple subnets: 10.0.0.0/24 and 10.0.1.0/24"),
    ([asked("10.0.0.0/24"), asked("10.0.0.0/24")], "doesn't support multiple subnets"),
    ([asked("fd00:1::/64"), asked("fd00:2::/64")], "both IPv6"),
    ([asked(gateway="10.0.0.1")], "invalid gateway 10.0.0.1: it comes without a subnet"),
    ([asked(ip_range="10.0.0.0/25")], "invalid ip-range 10.0.0.0/25: it comes without a subnet"),
    ([asked(nas="10.0.0.9")], "comes without a subnet"),
    ([asked("fd00:1::/128")], "no room for a gateway and an endpoint"),
    ([asked("fd00:1::/127")], "no room for a gateway and an endpoint"),
    ([asked("10.0.0.0/32")], "no room for a gateway and an endpoint"),
    ([asked("10.0.0.0/30", a="10.0.0.1", b="10.0.0.2")], "no address left for a gateway"),
    ([asked("0.0.0.0/0")], "this network"),
    ([asked("0.0.0.0/24")], "this network"),
    ([asked("127.5.0.0/16")], "loopback"),
    ([asked("224.0.0.0/8")], "multicast"),
    ([asked("::/0")], "invalid subnet ::/0"),
    ([asked("::/120")], "loopback"),
    ([asked("fe80::/64")], "link-local"),
    ([asked("ff02::/64")], "multicast"),
    ([asked("::ffff:10.0.0.0/120")], "IPv4-mapped"),
]  # fmt: skip


@pytest.mark.parametrize(("requests", "reason"), BAD)
def test_bad_request_is_named(requests: list[PoolRequest], reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        complete(*requests, ipv6=True)
    assert reason in caught.value.message


def test_network_without_a_family_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="IPv4, IPv6 or both"):
        complete(ipv4=False)


def test_other_default_pools_are_cut_as_told() -> None:
    pools = (AutomaticPool(IPv4Network("10.8.0.0/23"), 24), AutomaticPool(IPv4Network("10.9.0.0/24"), 26))
    found = subnets_until_exhausted(default_pools=pools)
    assert found == ["10.8.0.0/24", "10.8.1.0/24", "10.9.0.0/26", "10.9.0.64/26", "10.9.0.128/26", "10.9.0.192/26"]


def test_nothing_is_chosen_when_the_request_is_bad() -> None:
    with pytest.raises(AtollError):
        complete(asked("fd00:1::/64", gateway="10.0.0.1"), ipv6=True)
