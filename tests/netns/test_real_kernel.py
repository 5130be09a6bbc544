"""What the running kernel makes of our ops, seen by standard tools and by packets."""

import errno
import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from atoll.kernel import netns, sysctl
from atoll.kernel.changes import INDEX_BASE
from atoll.kernel.kernel import StepFailed
from atoll.model.items import (
    HOST,
    Address,
    Bridge,
    Element,
    Interface,
    Item,
    Joint,
    Netns,
    Route,
    Sysctl,
    Veth,
    owner_alias,
)
from atoll.model.ops import Op, Verb
from tests.contract.kernels import BRIDGE, Bench, made, network_items, real_bench, sandbox_items, veth
from tests.netns.namespaces import eventually
from tests.support.hosts import FreshHost


@pytest.fixture
def bench(host: FreshHost) -> Iterator[Bench]:
    # Frames inside a bridge meet no inet rules: here it's links that are tested.
    for family in ("iptables", "ip6tables"):
        sysctl.write(f"net/bridge/bridge-nf-call-{family}", "0")
    with real_bench(host) as found:
        found.kernel.prepare()
        yield found


def port_flags(host: FreshHost, ifname: str) -> dict[str, Any]:
    data = host.link(ifname)["linkinfo"]["info_slave_data"]
    return {name: data[name] for name in ("hairpin", "isolated", "state")}


def addresses_of(host: FreshHost, ifname: str, at: str = "") -> set[str]:
    (link,) = (link for link in host.ip("addr", at=at) if link.get("ifname") == ifname)
    return {f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"] if entry["scope"] != "link"}


def test_a_network_and_a_sandbox_as_ip_shows_them(bench: Bench, host: FreshHost) -> None:
    bench.add(*network_items(), made(bench, 2), *sandbox_items(2))
    inside = host.path("s2")
    bridge, port, inner = host.link(BRIDGE), host.link("av2"), host.link("eth0", at=inside)
    assert (bridge["ifalias"], bridge["address"]) == ("atoll:network:1", "02:42:0a:00:01:01")
    assert {"UP", "LOWER_UP"} <= set(bridge["flags"]) & set(port["flags"]) & set(inner["flags"])
    assert (port["ifalias"], port["master"]) == ("atoll:endpoint:2", BRIDGE)
    assert port_flags(host, "av2") == {
        "hairpin": True,
        "isolated": False,
        "state": "forwarding",
    }
    assert bridge["linkinfo"]["info_data"]["stp_state"] == 0
    assert bridge["linkinfo"]["info_data"]["forward_delay"] == 0
    assert inner["address"] == "02:42:0a:00:01:02"
    assert addresses_of(host, BRIDGE) == {"10.0.1.1/24", "fd00:1::1/64"}
    assert addresses_of(host, "eth0", inside) == {"10.0.1.2/24", "fd00:1::2/64"}
    (route,) = host.ip("route", "show", "default", at=inside)
    assert (route["gateway"], route["protocol"]) == ("10.0.1.1", "167")
    neighbours = {entry["dst"]: entry for entry in host.ip("neigh", "show", "nud", "permanent")}
    assert neighbours.keys() == {"10.0.1.2", "fd00:1::2"}
    assert {entry["lladdr"] for entry in neighbours.values()} == {"02:42:0a:00:01:02"}


def test_a_broadcast_address_where_there_is_one(bench: Bench, host: FreshHost) -> None:
    short, long = ipaddress.ip_interface("10.0.7.1/24"), ipaddress.ip_interface("10.0.8.1/31")
    bench.add(network_items()[0], Address(HOST, BRIDGE, short), Address(HOST, BRIDGE, long))
    (link,) = (link for link in host.ip("addr") if link.get("ifname") == BRIDGE)
    broadcasts = {entry["local"]: entry.get("broadcast") for entry in link["addr_info"] if entry["family"] == "inet"}
    assert broadcasts == {"10.0.7.1": "10.0.7.255", "10.0.8.1": None}


def test_the_hosts_end_has_no_address_of_its_own(bench: Bench, host: FreshHost) -> None:
    bench.add(*network_items(), made(bench, 2), *sandbox_items(2))
    (link,) = (link for link in host.ip("addr") if link.get("ifname") == "av2")
    assert link["addr_info"] == []


def test_packets_flow_at_once(bench: Bench, host: FreshHost) -> None:
    """Both families, between sandboxes and with the host, without waiting for duplicate address detection."""
    bench.add(*network_items(), made(bench, 2), *sandbox_items(2), made(bench, 3), *sandbox_items(3))
    for target in ("10.0.1.3", "fd00:1::3", "10.0.1.1", "fd00:1::1"):
        host.run("ping", "-c1", "-W2", target, at=host.path("s2"))
    for target in ("10.0.1.2", "fd00:1::2"):
        host.run("ping", "-c1", "-W2", target)


def test_isolated_ports_do_not_reach_each_other(bench: Bench, host: FreshHost) -> None:
    bench.add(*network_items())
    for number in (2, 3):
        cable, *rest = sandbox_items(number)
        assert isinstance(cable, Veth)
        bench.add(made(bench, number), replace(cable, isolated=True), *rest)
    host.run("ping", "-c1", "-W2", "10.0.1.1", at=host.path("s2"))
    assert "0 received" in host.run("ping", "-c1", "-W1", "10.0.1.3", at=host.path("s2"), check=False)


def test_a_bridge_keeps_its_mac_when_ports_come(bench: Bench, host: FreshHost) -> None:
    bench.add(*network_items())
    host.run("ip", "link", "add", "p0", "address", "00:00:00:00:00:01", "type", "veth", "peer", "p1")
    host.run("ip", "link", "set", "p0", "master", BRIDGE)
    assert host.link(BRIDGE)["address"] == "02:42:0a:00:01:01"


@pytest.mark.parametrize("damage", ["down", "nomaster", "type bridge_slave isolated on"])
def test_a_damaged_port_differs_and_is_mended(bench: Bench, host: FreshHost, damage: str) -> None:
    bench.add(*network_items(), made(bench, 2), *sandbox_items(2))
    host.run("ip", "link", "set", "av2", *damage.split())
    there = bench.differing(veth(2))[veth(2)]
    assert there is not None
    bench.change(there, veth(2))
    assert not bench.differing(veth(2))
    host.run("ping", "-c1", "-W2", "10.0.1.1", at=host.path("s2"))


@pytest.mark.parametrize("item", [network_items()[0], Interface("s2", "eth0", "02:42:0a:00:01:02")], ids=repr)
def test_a_link_that_is_down_differs_and_is_mended(bench: Bench, host: FreshHost, item: Bridge | Interface) -> None:
    bench.add(*network_items(), made(bench, 2), *sandbox_items(2))
    host.run("ip", "link", "set", item.ifname, "down", at=host.path("s2") if isinstance(item, Interface) else "")
    there = bench.differing(item)[item]
    assert there is not None
    bench.change(there, item)
    assert not bench.differing(item)


class TestOthers:
    """What somebody else has, also on our links, is neither told nor touched."""

    def test_addresses_routes_and_neighbours(self, bench: Bench, host: FreshHost) -> None:
        ours = [*network_items(), made(bench, 2), *sandbox_items(2)]
        bench.add(*ours)
        before = bench.survey("s2")
        for at, ifname, prefix in (("", BRIDGE, "10.0.77"), (host.path("s2"), "eth0", "10.0.78")):
            host.run("ip", "addr", "add", f"{prefix}.1/24", "dev", ifname, at=at)
            host.run("ip", "route", "add", "198.51.100.0/24", "via", f"{prefix}.9", at=at)
            neighbour = (f"{prefix}.9", "lladdr", "02:00:00:00:00:09", "nud", "permanent")
            host.run("ip", "neigh", "add", *neighbour, "dev", ifname, at=at)
        assert bench.survey("s2") == before

    def test_route_in_the_place_of_ours(self, bench: Bench, host: FreshHost) -> None:
        bench.add(*network_items(), made(bench, 2), *sandbox_items(2))
        default = next(item for item in sandbox_items(2) if isinstance(item, Route))
        inside = host.path("s2")
        host.run("ip", "route", "replace", "default", "via", "10.0.1.77", "proto", "static", at=inside)
        assert bench.observe(default) == {}
        with pytest.raises(StepFailed, match="another route"):
            bench.add(default)
        bench.remove(default)
        assert [route["gateway"] for route in host.ip("route", "show", "default", at=inside)] == ["10.0.1.77"]

    def test_interface_inside_under_our_name(self, bench: Bench, host: FreshHost) -> None:
        bench.add(*network_items(), made(bench, 2))
        host.run("ip", "link", "add", "eth0", "type", "bridge", at=host.path("s2"))
        before = host.link("eth0", at=host.path("s2"))
        with pytest.raises(StepFailed):
            bench.add(veth(2))
        assert host.link("av2") == {}
        assert host.link("eth0", at=host.path("s2")) == before

    def test_cable_whose_alias_was_taken_off(self, bench: Bench, host: FreshHost) -> None:
        bench.add(*network_items(), made(bench, 2), *sandbox_items(2))
        host.run("ip", "link", "set", "av2", "alias", "")
        bench.remove(veth(2))
        assert host.link("av2")["master"] == BRIDGE


def test_a_cable_that_leads_elsewhere_differs(bench: Bench, host: FreshHost) -> None:
    bench.add(*network_items(), made(bench, 2), made(bench, 3), *sandbox_items(2))
    host.run("ip", "link", "set", "eth0", "netns", host.path("s3"), at=host.path("s2"))
    there = bench.observe(veth(2))[veth(2).key]
    assert there == replace(veth(2), netns=HOST)
    assert bench.observe(veth(2, sandbox="s3")) == {veth(2).key: veth(2, sandbox="s3")}


def test_another_namespace_in_the_place_of_the_known_one_is_left_alone(bench: Bench, host: FreshHost) -> None:
    netns.make(host.path("s2"))
    known = netns.evidence(host.path("s2"), None)
    netns.delete(host.path("s2"))
    netns.make(host.path("s2"))
    bench.add(*network_items())
    items: list[Item] = [veth(2), Sysctl("s2", "net/ipv4/ip_forward", "1")]
    for item in items:
        with pytest.raises(StepFailed) as stop:
            bench.kernel.execute((Op(Verb.ADD, item),), lambda sandbox: known)
        assert "another network namespace" in stop.value.error.message
    assert bench.kernel.observe(items, lambda sandbox: known) == {}
    assert [link["ifname"] for link in host.ip("link", at=host.path("s2"))] == ["lo"]


def test_an_error_has_errno_words_and_the_kernels_own(bench: Bench, host: FreshHost) -> None:
    bench.add(*network_items())
    wrong = Route(HOST, ipaddress.ip_network("192.0.2.0/24"), BRIDGE, ipaddress.ip_address("10.9.9.9"))
    with pytest.raises(StepFailed) as stop:
        bench.add(wrong)
    error = stop.value.error
    assert error.message == f"cannot add route to 192.0.2.0/24 via 10.9.9.9 on {BRIDGE}: network is unreachable"
    assert error.detail == "ENETUNREACH: Nexthop has invalid gateway"


def test_removed_cables_are_cut_at_once_and_deleted_together(bench: Bench, host: FreshHost) -> None:
    bench.add(*network_items(), made(bench, 2), *sandbox_items(2), made(bench, 3), *sandbox_items(3))
    bench.remove(veth(2), veth(3))
    waiting = [link for link in host.ip("-d", "link") if link.get("ifalias") == "atoll:gone"]
    assert len(waiting) == 2
    assert not [link for link in waiting if "UP" in link["flags"] or "master" in link]
    assert "NO-CARRIER" in host.link("eth0", at=host.path("s2"))["flags"]
    assert not [item for item in bench.survey("s2", "s3").values() if isinstance(item, Veth | Interface)]
    assert bench.kernel.reap() == 2
    assert host.link("eth0", at=host.path("s2")) == {}
    assert {link["ifname"] for link in host.ip("link")} == {"lo", BRIDGE}


def test_removed_bridges_are_out_of_service_at_once_and_deleted_one_by_one(bench: Bench, host: FreshHost) -> None:
    segment = Bridge("seg", owner_alias("network", "n2"), "02:42:0a:09:00:09")
    joint = Joint("near", segment.alias, BRIDGE, "far", "seg")
    bench.kernel.reap()
    bench.add(*network_items(), segment, joint)
    host.run("ip", "address", "add", "10.99.9.1/24", "dev", BRIDGE)
    gateway = next(str(item.address.ip) for item in network_items() if isinstance(item, Address))
    host.run("ping", "-c1", "-W1", gateway)
    bench.remove(joint, segment, network_items()[0])
    assert not {"seg", "near", "far", BRIDGE} & {link["ifname"] for link in host.ip("link")}
    waiting = [link for link in host.ip("-d", "link") if link.get("ifalias") == "atoll:gone"]
    assert len(waiting) == 4
    assert not [link for link in waiting if "UP" in link["flags"] or "master" in link]
    assert {entry["ifname"] for entry in host.ip("address") if entry["addr_info"]} == {"lo"}
    for address in (gateway, "10.99.9.1"):
        assert "1 received" not in host.run("ping", "-c1", "-W1", address, check=False)
    assert not [item for item in bench.survey().values() if not isinstance(item, Element)]
    bench.add(*network_items(), segment, joint)
    assert not bench.differing(*network_items(), segment, joint)
    assert [bench.kernel.reap() for _ in range(4)] == [1, 1, 1, 0]
    assert not bench.differing(*network_items(), segment, joint)
    assert {link["ifname"] for link in host.ip("link")} == {"lo", BRIDGE, "seg", "near", "far"}


def test_bridges_that_an_earlier_process_left_are_reaped(bench: Bench, host: FreshHost) -> None:
    bench.add(*network_items())
    bench.remove(network_items()[0])
    with real_bench(host) as later:
        assert later.kernel.reap() == 1
        assert {link["ifname"] for link in host.ip("link")} == {"lo"}
        assert later.kernel.reap() == 0


def test_what_an_earlier_process_left_is_reaped(bench: Bench, host: FreshHost) -> None:
    bench.add(*network_items(), made(bench, 2), *sandbox_items(2))
    bench.remove(veth(2))
    with real_bench(host) as later:
        assert later.survey("s2").keys() == bench.survey("s2").keys()
        later.add(veth(2))
        assert not later.differing(veth(2))
        assert not [link for link in host.ip("-d", "link") if link.get("ifalias") == "atoll:gone"]


def test_indexes_that_an_earlier_process_gave_are_not_given_again(bench: Bench, host: FreshHost) -> None:
    bench.add(network_items()[0])
    with real_bench(host) as later:
        later.add(network_items("br-other", 2)[0])
    assert [host.link(ifname)["ifindex"] for ifname in (BRIDGE, "br-other")] == [INDEX_BASE, INDEX_BASE + 1]


def test_a_hundred_sandboxes_in_one_go(bench: Bench, host: FreshHost) -> None:
    numbers = range(2, 102)
    spaces = [made(bench, number) for number in numbers]
    rest = [item for number in numbers for item in sandbox_items(number)]
    items = sorted((*network_items(), *spaces, *rest), key=lambda item: item.rank)
    bench.add(*items)
    assert not bench.differing(*items)
    inside = [item for item in items if not isinstance(item, Sysctl | Netns)]
    assert bench.survey(*(space.id for space in spaces)).keys() == {item.key for item in inside}
    host.run("ping", "-c1", "-W2", "10.0.1.101", at=host.path("s2"))
    bench.remove(*spaces)
    eventually(lambda: {link["ifname"] for link in host.ip("link")} == {"lo", BRIDGE})


def test_a_refused_batch_names_its_step(bench: Bench, host: FreshHost) -> None:
    """In the second datagram of a run."""
    bench.add(*network_items())
    first = ipaddress.ip_address("10.1.0.0")
    items = [Address(HOST, BRIDGE, ipaddress.ip_interface(f"{first + number}/32")) for number in range(150)]
    wrong = Route(HOST, ipaddress.ip_network("192.0.2.0/24"), BRIDGE, ipaddress.ip_address("10.9.9.9"))
    with pytest.raises(StepFailed) as stop:
        bench.add(*items[:100], wrong, *items[100:])
    assert stop.value.index == 100
    assert getattr(stop.value.error, "errno", 0) == errno.ENETUNREACH
    assert set(bench.observe(*items).values()) == set(items[:100])
