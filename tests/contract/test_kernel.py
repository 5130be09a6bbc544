"""What a kernel promises, of the running one and of the fake one."""

import errno
import ipaddress
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from atoll.errors import ApplyFailed, KernelError
from atoll.kernel.kernel import Count, StepFailed
from atoll.kernel.undo import apply
from atoll.model.items import HOST, Address, Bridge, Element, Interface, Item, Neighbour, Netns, Route, Sysctl, Veth
from atoll.model.ops import Announce, FlushConntrack, Op, Verb
from tests.contract.kernels import (
    BRIDGE,
    Bench,
    fake_bench,
    made,
    network_items,
    real_bench,
    sandbox_items,
    veth,
)


@pytest.fixture(params=["fake", "real"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with ExitStack() as stack:
        if request.param == "fake":
            found = fake_bench()
        else:
            found = stack.enter_context(real_bench(request.getfixturevalue("host")))
        found.kernel.prepare()
        yield found


def adds(*items: Item) -> list[Op]:
    return [Op(Verb.ADD, item) for item in items]


def failure(bench: Bench, *ops: Op) -> tuple[int, KernelError]:
    """The index and the error of the step that fails."""
    with pytest.raises(StepFailed) as stop:
        bench.execute(*ops)
    assert isinstance(stop.value.error, KernelError)
    return stop.value.index, stop.value.error


def everything(bench: Bench) -> tuple[Item, ...]:
    return (*network_items(), made(bench, 2), *sandbox_items(2))


def test_nothing_is_there_at_first(bench: Bench) -> None:
    items = [item for item in everything(bench) if not isinstance(item, Sysctl)]
    assert bench.observe(*items) == {}
    assert bench.survey("s2") == {}


def test_what_was_added_is_observed_as_asked(bench: Bench) -> None:
    items = everything(bench)
    bench.add(*items)
    assert bench.observe(*items) == {item.key: item for item in items}


def test_adding_again_changes_nothing(bench: Bench) -> None:
    items = everything(bench)
    bench.add(*items)
    bench.add(*items)
    assert not bench.differing(*items)


def test_what_was_removed_is_gone(bench: Bench) -> None:
    items = everything(bench)
    bench.add(*items)
    bench.remove(*reversed(items))
    bench.kernel.reap()
    left = [item for item in items if not isinstance(item, Sysctl)]
    assert bench.observe(*left) == {}
    assert bench.survey("s2") == {}


@pytest.mark.parametrize("there", [True, False], ids=["namespace there", "namespace gone"])
def test_removing_what_is_gone_succeeds(bench: Bench, there: bool) -> None:
    if there:
        bench.others.make_namespace("s2")
    items = [*network_items(), *sandbox_items(2)]
    bench.remove(*reversed(items))
    bench.unknown.add("s2")
    bench.remove(*reversed(items))


def test_removing_the_same_twice_in_one_go_succeeds(bench: Bench) -> None:
    items = everything(bench)
    bench.add(*items)
    bench.remove(*reversed(items), *reversed(items))
    assert bench.survey("s2") == {}


def test_a_link_takes_along_what_is_on_it(bench: Bench) -> None:
    items = everything(bench)
    bench.add(*items)
    bench.remove(veth(2))
    bench.kernel.reap()
    inside = [item for item in items if getattr(item, "netns", HOST) == "s2" and not isinstance(item, Sysctl)]
    assert bench.observe(*inside) == {}
    bench.remove(items[0])
    on_bridge = (Address, Route, Neighbour)
    assert bench.observe(*(item for item in items if isinstance(item, on_bridge) and item.netns == HOST)) == {}


def test_a_namespace_takes_along_its_cables(bench: Bench) -> None:
    bench.add(*everything(bench))
    bench.remove(veth(2), made(bench, 2))
    bench.kernel.reap()
    assert bench.observe(veth(2), made(bench, 2)) == {}


class TestSurvey:
    def test_finds_what_was_added_with_its_mtu(self, bench: Bench) -> None:
        bench.add(*everything(bench))
        found = bench.survey("s2")
        expected = {
            item.key: replace(item, mtu_bytes=1500) if isinstance(item, Bridge | Veth | Interface) else item
            for item in everything(bench)
            if not isinstance(item, Sysctl | Netns)
        }
        assert found == expected

    def test_of_the_host_alone_leaves_the_inside_out(self, bench: Bench) -> None:
        bench.add(*everything(bench))
        found = bench.survey()
        assert found[veth(2).key] == replace(veth(2), mtu_bytes=1500, netns=HOST)
        assert not [item for item in found.values() if getattr(item, "netns", HOST) != HOST]

    def test_leaves_others_links_out(self, bench: Bench) -> None:
        bench.others.make_bridge("br-theirs")
        assert bench.survey() == {}

    def test_of_a_lost_namespace_has_nothing_of_it(self, bench: Bench) -> None:
        bench.add(*network_items())
        bench.others.make_namespace("s2")
        bench.add(*sandbox_items(2))
        bench.others.lose_namespace("s2")
        assert not [item for item in bench.survey("s2").values() if getattr(item, "netns", HOST) == "s2"]
        bench.unknown.add("s2")
        assert not [item for item in bench.survey("s2").values() if getattr(item, "netns", HOST) == "s2"]


class TestSomebodyElsesLink:
    def test_is_observed_as_it_is(self, bench: Bench) -> None:
        bench.others.make_bridge(BRIDGE)
        (there,) = bench.observe(network_items()[0]).values()
        assert isinstance(there, Bridge)
        assert there.alias == ""

    def test_is_not_taken_over(self, bench: Bench) -> None:
        bench.others.make_bridge(BRIDGE)
        before = bench.observe(network_items()[0])
        index, error = failure(bench, *adds(*network_items()))
        assert (index, error.errno) == (0, errno.EEXIST)
        assert "somebody else" in error.message
        assert bench.observe(network_items()[0]) == before

    def test_is_not_changed(self, bench: Bench) -> None:
        bench.others.make_bridge(BRIDGE)
        (there,) = bench.observe(network_items()[0]).values()
        _, error = failure(bench, Op(Verb.CHANGE, network_items()[0], before=there))
        assert error.errno == errno.EEXIST
        assert bench.observe(network_items()[0]) == {there.key: there}

    def test_is_not_removed(self, bench: Bench) -> None:
        bench.others.make_bridge(BRIDGE)
        bench.remove(network_items()[0])
        assert bench.observe(network_items()[0]) != {}


def test_a_link_of_another_object_of_ours_is_not_taken_over(bench: Bench) -> None:
    bench.add(network_items()[0])
    _, error = failure(bench, *adds(network_items(BRIDGE, 7)[0]))
    assert error.errno == errno.EEXIST
    assert "atoll:network:1" in error.message


class TestMissing:
    def test_bridge(self, bench: Bench) -> None:
        bench.others.make_namespace("s2")
        assert failure(bench, *adds(veth(2)))[1].errno == errno.ENODEV

    def test_namespace_of_a_cable(self, bench: Bench) -> None:
        bench.add(*network_items())
        assert failure(bench, *adds(veth(2)))[1].errno == errno.ENODEV
        assert bench.observe(veth(2)) == {}

    def test_namespace_of_an_address(self, bench: Bench) -> None:
        address = Address("s2", "eth0", ipaddress.ip_interface("10.0.1.2/24"))
        assert failure(bench, *adds(address))[1].errno == errno.ENOENT

    @pytest.mark.parametrize("item", [item for item in sandbox_items(2) if not isinstance(item, Veth)], ids=repr)
    def test_interface(self, bench: Bench, item: Item) -> None:
        bench.others.make_namespace("s2")
        missing = errno.ENOENT if isinstance(item, Sysctl) else errno.ENODEV
        assert failure(bench, *adds(item))[1].errno == missing

    def test_gateway(self, bench: Bench) -> None:
        bench.add(*everything(bench))
        wrong = Route("s2", ipaddress.ip_network("192.0.2.0/24"), "eth0", ipaddress.ip_address("10.9.9.9"))
        assert failure(bench, *adds(wrong))[1].errno == errno.ENETUNREACH

    def test_changed_link(self, bench: Bench) -> None:
        bridge = network_items()[0]
        assert failure(bench, Op(Verb.CHANGE, bridge, before=bridge))[1].errno == errno.ENODEV


class TestFailure:
    """Steps before the failed one are done; it and those after it are not."""

    def test_among_addresses_of_one_link(self, bench: Bench) -> None:
        bench.add(*everything(bench))
        good = [Address("s2", "eth0", ipaddress.ip_interface(f"192.0.2.{number}/32")) for number in range(1, 5)]
        bad = Address("s2", "eth9", ipaddress.ip_interface("192.0.2.9/32"))
        index, _ = failure(bench, *adds(good[0], good[1], bad, good[2], good[3]))
        assert index == 2
        assert set(bench.observe(*good).values()) == set(good[:2])

    def test_refused_by_the_kernel_itself(self, bench: Bench) -> None:
        bench.add(*everything(bench))
        bench.execute(Op(Verb.ADD, Sysctl("s2", "net/ipv6/conf/eth0/disable_ipv6", "1")))
        addresses = [Address("s2", "eth0", ipaddress.ip_interface(f"192.0.2.{number}/32")) for number in range(1, 4)]
        refused = Address("s2", "eth0", ipaddress.ip_interface("fd00:9::9/128"))
        index, error = failure(bench, *adds(addresses[0], refused, addresses[1], addresses[2]))
        assert (index, error.errno) == (1, errno.EACCES)
        assert set(bench.observe(*addresses).values()) == {addresses[0]}

    def test_takes_back_what_the_kernel_did_after_it(self, bench: Bench) -> None:
        bench.add(*everything(bench))
        default = next(item for item in sandbox_items(2) if isinstance(item, Route))
        gateway = ipaddress.ip_address("10.9.9.9")
        wrong = Route("s2", ipaddress.ip_network("198.51.100.0/24"), "eth0", gateway)
        later = Address("s2", "eth0", ipaddress.ip_interface("192.0.2.1/32"))
        ops = [Op(Verb.ADD, wrong), Op(Verb.ADD, later), Op(Verb.REMOVE, default)]
        assert failure(bench, *ops)[0] == 0
        assert not bench.differing(default)
        assert bench.observe(later) == {}

    def test_keeps_links_from_being_made_after_it(self, bench: Bench) -> None:
        bench.add(*network_items())
        bench.others.make_namespace("s2")
        bench.others.make_namespace("s4")
        index, _ = failure(bench, *adds(veth(2), veth(3), veth(4)))
        assert index == 1
        assert not bench.differing(veth(2))
        assert bench.observe(veth(3), veth(4)) == {}

    def test_of_a_namespace_stops_what_follows_elsewhere(self, bench: Bench) -> None:
        bench.add(*network_items())
        lost = Address("s9", "eth0", ipaddress.ip_interface("10.0.1.9/24"))
        later = Neighbour(HOST, BRIDGE, ipaddress.ip_address("10.0.1.9"), "02:42:0a:00:01:09")
        index, _ = failure(bench, *adds(Element("nets", ("br-a",)), lost, later))
        assert index == 1
        assert not bench.differing(Element("nets", ("br-a",)))
        assert bench.observe(later) == {}

    def test_among_elements(self, bench: Bench) -> None:
        def snat(last: int, bridge: str = "br-a") -> Element:
            return Element("snat4", (bridge,), (ipaddress.ip_address(f"192.0.2.{last}"),))

        bench.add(snat(1))
        index, error = failure(bench, *adds(snat(1, "br-b"), snat(2), snat(3, "br-c")))
        assert (index, error.errno) == (1, errno.EEXIST)
        assert not bench.differing(snat(1), snat(1, "br-b"))
        assert bench.observe(snat(3, "br-c")) == {}


class TestChange:
    def test_of_a_bridge(self, bench: Bench) -> None:
        before = network_items()[0]
        assert isinstance(before, Bridge)
        bench.add(before)
        after = replace(before, mac="02:42:0a:00:01:fe", mtu_bytes=1400)
        bench.change(before, after)
        assert not bench.differing(after)

    def test_of_a_bridge_mac_loses_its_neighbours(self, bench: Bench) -> None:
        bench.add(*everything(bench))
        before = network_items()[0]
        assert isinstance(before, Bridge)
        neighbours = [item for item in sandbox_items(2) if isinstance(item, Neighbour)]
        bench.change(before, replace(before, mtu_bytes=1400))
        assert not bench.differing(*neighbours)
        bench.change(before, replace(before, mac="02:42:0a:00:01:fe"))
        assert bench.observe(*neighbours) == {}

    @pytest.mark.parametrize("fields", [{"isolated": True}, {"hairpin": False}, {"mtu_bytes": 1300}], ids=repr)
    def test_of_a_port(self, bench: Bench, fields: dict[str, bool | int]) -> None:
        bench.add(*everything(bench))
        after = replace(veth(2), **fields)  # type: ignore[arg-type]
        bench.change(veth(2), after)
        assert not bench.differing(after)
        assert not bench.differing(*(item for item in sandbox_items(2) if not isinstance(item, Veth)))

    def test_to_another_bridge(self, bench: Bench) -> None:
        bench.add(*everything(bench), *network_items("br-other", 3))
        after = replace(veth(2), bridge="br-other")
        bench.change(veth(2), after)
        assert not bench.differing(after)

    @pytest.mark.parametrize("fields", [{"netns": "s3"}, {"peer_ifname": "eth5"}], ids=repr)
    def test_of_the_inner_end_makes_the_cable_anew(self, bench: Bench, fields: dict[str, str]) -> None:
        bench.add(*everything(bench))
        bench.others.make_namespace("s3")
        after = replace(veth(2), **fields)  # type: ignore[arg-type]
        bench.change(veth(2), after)
        bench.kernel.reap()
        assert not bench.differing(after)
        assert bench.observe(Interface("s2", "eth0", veth(2).peer_mac)) == {}

    def test_of_an_interface(self, bench: Bench) -> None:
        bench.add(*everything(bench))
        before = Interface("s2", "eth0", veth(2).peer_mac)
        after = Interface("s2", "eth0", "02:42:0a:00:01:fe", 1300)
        bench.change(before, after)
        assert not bench.differing(after)

    def test_of_a_neighbour(self, bench: Bench) -> None:
        before = Neighbour(HOST, BRIDGE, ipaddress.ip_address("10.0.1.9"), "02:42:0a:00:01:09")
        bench.add(*network_items(), before)
        after = replace(before, mac="02:42:0a:00:01:fe")
        bench.change(before, after)
        assert not bench.differing(after)

    @pytest.mark.parametrize(
        ("destination", "gateway"),
        [("0.0.0.0/0", "10.0.1.254"), ("::/0", "fd00:1::fe")],
    )
    def test_of_a_route(self, bench: Bench, destination: str, gateway: str) -> None:
        bench.add(*everything(bench))
        network = ipaddress.ip_network(destination)
        before = next(item for item in sandbox_items(2) if isinstance(item, Route) and item.destination == network)
        after = replace(before, gateway=ipaddress.ip_address(gateway))
        bench.change(before, after)
        assert not bench.differing(after)

    def test_of_an_element(self, bench: Bench) -> None:
        before = Element("snat4", ("br-a",), (ipaddress.ip_address("192.0.2.1"),))
        after = Element("snat4", ("br-a",), (ipaddress.ip_address("192.0.2.2"),))
        bench.add(before)
        bench.change(before, after)
        assert not bench.differing(after)

    def test_of_a_sysctl(self, bench: Bench) -> None:
        path = "net/ipv4/ping_group_range"
        bench.add(made(bench, 2), Sysctl("s2", path, "0 100"))
        bench.change(Sysctl("s2", path, "0 100"), Sysctl("s2", path, "1 2"))
        assert not bench.differing(Sysctl("s2", path, "1 2"))


def test_a_route_does_not_push_another_out(bench: Bench) -> None:
    bench.add(*everything(bench))
    other = Route("s2", ipaddress.ip_network("0.0.0.0/0"), "eth0", ipaddress.ip_address("10.0.1.254"))
    assert failure(bench, *adds(other))[1].errno == errno.EEXIST


def test_routes_of_several_metrics_live_together(bench: Bench) -> None:
    bench.add(*everything(bench))
    for text in ("0.0.0.0/0", "::/0"):
        network = ipaddress.ip_network(text)
        first = next(item for item in sandbox_items(2) if isinstance(item, Route) and item.destination == network)
        second = replace(first, metric=100)
        bench.add(second)
        assert not bench.differing(first, second)
        bench.remove(second)
        assert not bench.differing(first)
        assert bench.observe(second) == {}


def test_an_mtu_is_told_only_when_asked_for(bench: Bench) -> None:
    bench.add(*network_items(mtu_bytes=1400), made(bench, 2), *sandbox_items(2, mtu_bytes=1400))
    assert not bench.differing(*network_items(mtu_bytes=1400), *sandbox_items(2, mtu_bytes=1400))
    assert not bench.differing(*network_items(), *sandbox_items(2))
    assert network_items(mtu_bytes=1300)[0] in bench.differing(*network_items(mtu_bytes=1300))


def test_a_bridge_keeps_its_mtu_when_its_ports_go(bench: Bench) -> None:
    bench.add(*network_items(mtu_bytes=1400), made(bench, 2), *sandbox_items(2, mtu_bytes=1300))
    bench.remove(veth(2))
    bench.kernel.reap()
    assert not bench.differing(*network_items(mtu_bytes=1400))


def test_a_name_inside_is_free_again_at_once(bench: Bench) -> None:
    bench.add(*everything(bench))
    fresh = veth(5, sandbox="s2")
    bench.remove(veth(2))
    bench.add(fresh)
    assert not bench.differing(fresh)
    bench.execute(Op(Verb.REMOVE, fresh), Op(Verb.ADD, veth(2)))
    assert not bench.differing(veth(2))


def test_a_name_inside_that_is_in_use_is_refused(bench: Bench) -> None:
    bench.add(*everything(bench))
    _, error = failure(bench, *adds(veth(5, sandbox="s2")))
    assert error.errno == errno.EEXIST
    assert "eth0" in error.message
    assert bench.observe(veth(5)) == {}


def test_reaping_tells_how_many(bench: Bench) -> None:
    bench.kernel.reap()
    bench.add(*everything(bench), made(bench, 3), *sandbox_items(3))
    bench.remove(veth(2), veth(3))
    assert bench.kernel.reap() == 2
    assert bench.kernel.reap() == 0
    bench.add(veth(2))
    bench.remove(veth(2), network_items()[0])
    assert [bench.kernel.reap() for _ in range(3)] == [1, 1, 0]


def test_a_cable_that_was_deleted_is_seen_to_be_gone(bench: Bench) -> None:
    bench.add(*everything(bench))
    bench.others.delete_link("av2")
    assert bench.observe(veth(2), Interface("s2", "eth0", veth(2).peer_mac)) == {}
    assert not bench.differing(*network_items())


def test_a_port_whose_bridge_was_deleted_differs(bench: Bench) -> None:
    bench.add(*everything(bench))
    bench.others.delete_link(BRIDGE)
    loose = replace(veth(2), bridge="", hairpin=False)
    assert bench.observe(veth(2)) == {loose.key: loose}
    bench.add(*network_items())
    bench.change(loose, veth(2))
    assert not bench.differing(*network_items(), veth(2))


def test_an_effect_never_fails_a_change(bench: Bench) -> None:
    bench.add(*everything(bench))
    address = ipaddress.ip_address("10.0.1.2")
    for gone in ("s2", "s9"):
        bench.kernel.execute(
            (FlushConntrack(address=address), Announce(gone, "eth0", address, veth(2).peer_mac)), bench.locate
        )


def test_the_table_is_built_once_and_purged(bench: Bench) -> None:
    assert bench.kernel.prepare() is False
    bench.add(Element("nets", ("br-a",)))
    bench.kernel.purge()
    assert bench.kernel.prepare() is True
    assert bench.observe(Element("nets", ("br-a",))) == {}


def test_elements_of_counted_sets_have_a_count(bench: Bench) -> None:
    masq = Element("masq", (2, "br-a"))
    bench.add(Element("nets", ("br-a",)), masq)
    assert bench.kernel.counts() == {masq.key: Count()}
    bench.remove(masq)
    assert bench.kernel.counts() == {}


class TestUndo:
    def test_leaves_nothing_of_a_change_that_failed(self, bench: Bench) -> None:
        bench.add(*network_items())
        before = bench.survey("s2")
        wrong = Route("s2", ipaddress.ip_network("192.0.2.0/24"), "eth0", ipaddress.ip_address("10.9.9.9"))
        steps = adds(made(bench, 2), *sandbox_items(2), Element("nets", ("br-a",)), wrong)
        with pytest.raises(ApplyFailed) as stop:
            apply(bench.kernel, steps, bench.locate)
        assert stop.value.stuck == ()
        assert stop.value.undone == len(steps) - 1 - sum(isinstance(step.item, Sysctl) for step in steps)
        assert "route to 192.0.2.0/24" in stop.value.failed
        bench.kernel.reap()
        assert bench.survey("s2") == before
        assert bench.observe(made(bench, 2), veth(2)) == {}

    def test_puts_back_what_was_changed_and_removed(self, bench: Bench) -> None:
        items = everything(bench)
        bench.add(*items)
        route = next(item for item in sandbox_items(2) if isinstance(item, Route))
        steps = [
            Op(Verb.CHANGE, replace(veth(2), isolated=True), before=veth(2)),
            Op(Verb.REMOVE, route),
            Op(Verb.ADD, Address("s2", "eth9", ipaddress.ip_interface("192.0.2.1/32"))),
        ]
        with pytest.raises(ApplyFailed):
            apply(bench.kernel, steps, bench.locate)
        assert not bench.differing(*items)

    def test_names_what_it_could_not_take_back(self, bench: Bench) -> None:
        bench.add(*network_items())
        cable = veth(2)
        bench.others.make_namespace("s2")
        bench.add(cable)
        bench.others.lose_namespace("s2")
        steps = [Op(Verb.REMOVE, cable), Op(Verb.ADD, Address("s2", "eth0", ipaddress.ip_interface("192.0.2.1/32")))]
        with pytest.raises(ApplyFailed) as stop:
            apply(bench.kernel, steps, bench.locate)
        assert stop.value.undone == 0
        assert len(stop.value.stuck) == 1
        assert "add veth av2" in stop.value.stuck[0]
