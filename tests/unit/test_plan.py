"""Compilers, diff and effects: what is wanted, and what is done about it."""

import dataclasses
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.model.addresses import Family
from atoll.model.facts import HostFacts
from atoll.model.items import (
    HOST,
    Address,
    Bridge,
    Element,
    Interface,
    Item,
    Joint,
    Neighbour,
    Netns,
    Route,
    State,
    Sysctl,
    Veth,
)
from atoll.model.ops import FlushConntrack, Op, Verb
from atoll.model.ports import PortBinding, PortRange, Protocol
from atoll.model.world import Allowance, Change, World
from atoll.plan.compile import Scope, compile_scope
from atoll.plan.describe import line
from atoll.plan.diff import diff
from atoll.plan.effects import flushes
from atoll.plan.publish import RelayNeed, published, relayed
from tests.support.worlds import a_network, a_sandbox, an_endpoint

FACTS = HostFacts(forwarding={Family.V4: True, Family.V6: True}, bridge_nf_call={Family.V4: False, Family.V6: False})


def small_world(**sandbox_fields: object) -> World:
    web = a_network(1, "web", "10.1.0.0/24", "fd00:1::/64")
    back = a_network(2, "back", "10.2.0.0/24")
    box = a_sandbox(3, "box", **sandbox_fields)
    first = an_endpoint(4, web, box)
    second = an_endpoint(5, back, box, ifname="eth1")
    return World.of((web, back, box, first, second))


def compiled(world: World, facts: HostFacts = FACTS) -> State:
    return compile_scope(world, Scope.everything(world), facts, frozenset())


def execute(state: State, ops: tuple[Op, ...]) -> State:
    """Interpret ops over a state, with the kernel's rule that a carrier takes along what rides on it."""
    state = dict(state)
    for op in ops:
        if op.verb is not Verb.REMOVE:
            state[op.item.key] = op.item
            continue
        assert op.item.key in state, f"removes what is not there: {line(op)}"
        del state[op.item.key]
        state = {key: item for key, item in state.items() if not rides_on(item, op.item)}
    return state


def rides_on(item: Item, carrier: Item) -> bool:
    if isinstance(item, Veth | Joint | Bridge | Netns | Element):
        return False
    match carrier:
        case Netns():
            return item.netns == carrier.id
        case Veth():
            end = (carrier.netns, carrier.peer_ifname)
        case Bridge():
            end = (HOST, carrier.ifname)
        case _:
            return False
    if isinstance(item, Sysctl):
        return item.netns == end[0] and f"/{end[1]}/" in item.path
    return (item.netns, item.ifname) == end


def test_nothing_to_do_after_apply() -> None:
    wanted = compiled(small_world())
    assert diff(wanted, wanted) == ()


def test_removal_leaves_nothing_and_removes_no_rider_by_itself() -> None:
    there = compiled(small_world())
    ops = diff({}, there)
    assert {type(op.item) for op in ops} >= {Element, Veth, Bridge, Netns}
    assert not [op for op in ops if isinstance(op.item, Interface | Address | Route | Neighbour)]
    assert execute(there, ops) == {}


def test_elements_go_before_cables_and_cables_before_namespaces() -> None:
    ranks = [op.item.rank for op in diff({}, compiled(small_world()))]
    assert ranks == sorted(ranks, reverse=True)


def test_additions_follow_the_ranks() -> None:
    ops = diff(compiled(small_world()), {})
    ranks = [op.item.rank for op in ops]
    assert ranks == sorted(ranks)
    assert all(op.verb is Verb.ADD for op in ops)


@given(st.data())
def test_any_subset_of_what_is_wanted_is_completed(data: st.DataObject) -> None:
    wanted = compiled(small_world())
    keys = data.draw(st.sets(st.sampled_from(sorted(wanted, key=repr))))
    there = {key: item for key, item in wanted.items() if key in keys}
    ops = diff(wanted, there)
    assert execute(there, ops) == wanted


def test_a_cable_whose_inner_end_moved_is_made_anew_with_all_on_it() -> None:
    wanted = compiled(small_world())
    there = {key: item for key, item in wanted.items() if not (isinstance(item, Interface) and item.ifname == "eth0")}
    ops = diff(wanted, there)
    verbs = [(op.verb, type(op.item)) for op in ops]
    assert verbs[0] == (Verb.REMOVE, Veth)
    readded = [op.item for op in ops if op.verb is Verb.ADD]
    assert {type(item) for item in readded} >= {Veth, Interface, Address, Route}
    assert not [item for item in readded if getattr(item, "ifname", "") == "eth1"]


def test_a_bridge_that_another_network_of_ours_left_is_made_anew_and_a_strangers_is_not() -> None:
    wanted = compiled(small_world())
    bridge = next(item for item in wanted.values() if isinstance(item, Bridge))
    on_it = {key for key, item in wanted.items() if rides_on(item, bridge)}
    for alias, verbs in (("atoll:network:gone", [Verb.REMOVE, Verb.ADD]), ("", [Verb.CHANGE])):
        there = dataclasses.replace(bridge, alias=alias)
        ops = diff(wanted, wanted | {there.key: there})
        assert [op.verb for op in ops if op.item.key == bridge.key] == verbs
        assert {op.item.key for op in ops if op.item.key != bridge.key} == (on_it if alias else set())


def test_a_changed_field_is_a_change_and_its_inverse_restores() -> None:
    wanted = compiled(small_world())
    veth = next(item for item in wanted.values() if isinstance(item, Veth))
    wrong: Item = dataclasses.replace(veth, bridge="elsewhere")
    (op,) = diff(wanted, {**wanted, veth.key: wrong})
    assert (op.verb, op.item, op.before) == (Verb.CHANGE, veth, wrong)
    assert op.inverse is not None
    assert op.inverse.item == wrong


def test_neighbours_are_told_again_to_a_bridge_that_gets_its_mac_back() -> None:
    wanted = compiled(small_world())
    bridge = next(item for item in wanted.values() if isinstance(item, Bridge))
    ops = diff(wanted, {**wanted, bridge.key: dataclasses.replace(bridge, mac="02:00:00:00:00:01")})
    assert ops[0].item == bridge
    told = {op.item for op in ops[1:]}
    assert told == {item for item in wanted.values() if isinstance(item, Neighbour) and item.ifname == bridge.ifname}


def test_default_gateway_is_the_highest_priority_then_the_first_name() -> None:
    world = small_world()
    routes = [item for item in compiled(world).values() if isinstance(item, Route) and item.netns != HOST]
    assert {(str(route.gateway), route.ifname) for route in routes} == {("10.2.0.1", "eth1"), ("fd00:1::1", "eth0")}
    first = next(e for e in world.endpoints.values() if e.ifname == "eth0")
    preferred = world.after(Change(puts=(dataclasses.replace(first, gateway_priority=5),)))
    routes = [item for item in compiled(preferred).values() if isinstance(item, Route) and item.netns != HOST]
    assert {str(route.gateway) for route in routes} == {"10.1.0.1", "fd00:1::1"}


def test_internal_network_has_no_way_out() -> None:
    network = a_network(1, "inside", "10.1.0.0/24", internal=True)
    box = a_sandbox(2, "box", bindings=(PortBinding(Protocol.TCP, None, PortRange(80, 80), PortRange(80, 80)),))
    state = compiled(World.of((network, box, an_endpoint(3, network, box))))
    assert not [item for item in state.values() if isinstance(item, Route)]
    sets = {item.set for item in state.values() if isinstance(item, Element)}
    assert "internal" in sets
    assert not sets & {"masq", "any4"}


def binding(host: str, container: str, address: str | None = None, protocol: Protocol = Protocol.TCP) -> PortBinding:
    def ports(text: str) -> PortRange:
        first, _, last = text.partition("-")
        return PortRange(int(first), int(last or first))

    where = ipaddress.ip_address(address) if address else None
    return PortBinding(protocol, where, ports(host), ports(container))


@pytest.mark.parametrize(
    ("what", "sets"),
    [
        (binding("8080", "80"), ["any4", "any6"]),
        (binding("8080", "80", "127.0.0.1"), ["addr4"]),
        (binding("8080", "80", "::1"), ["addr6"]),
        (binding("8000-8003", "9000-9003"), ["any4"] * 4 + ["any6"] * 4),
        (binding("10000-60000", "10000-60000"), ["span4", "span6"]),
        (binding("10000-60000", "10000-60000", "192.0.2.1", Protocol.UDP), ["span4"]),
    ],
)
def test_bindings_become_few_elements(what: PortBinding, sets: list[str]) -> None:
    network = a_network(1, "web", "10.1.0.0/24", "fd00:1::/64")
    box = a_sandbox(2, "box", bindings=(what,))
    elements = published(World.of((network, box, an_endpoint(3, network, box))), box)
    assert sorted(element.set for element in elements) == sorted(sets)


def test_only_an_ipv4_endpoint_behind_ipv6_ports_needs_the_relay() -> None:
    network = a_network(1, "web", "10.1.0.0/24")
    box = a_sandbox(2, "box", bindings=(binding("8080", "80"), binding("81", "81", "127.0.0.1")))
    world = World.of((network, box, an_endpoint(3, network, box)))
    assert relayed(world, box, FACTS) == RelayNeed(box.id, box.bindings[:1], ipaddress.ip_address("10.1.0.2"))
    dual = a_network(1, "web", "10.1.0.0/24", "fd00:1::/64")
    world = World.of((dual, box, an_endpoint(3, dual, box)))
    assert relayed(world, box, FACTS) is None


@pytest.mark.parametrize(
    ("host_address", "needed"), [(None, True), ("::", True), ("::1", True), ("fd00::5", False), ("127.0.0.1", False)]
)
def test_where_bridged_frames_cross_the_inet_hooks_ports_at_the_loopback_address_need_the_relay(
    host_address: str | None, needed: bool
) -> None:
    network = a_network(1, "web", "10.1.0.0/24", "fd00:1::/64")
    box = a_sandbox(2, "box", bindings=(binding("13000-13999", "13000-13999", host_address),))
    world = World.of((network, box, an_endpoint(3, network, box)))
    facts = dataclasses.replace(FACTS, bridge_nf_call={Family.V6: True})
    expected = RelayNeed(box.id, box.bindings, ipaddress.ip_address("fd00:1::2")) if needed else None
    assert relayed(world, box, facts) == expected
    assert relayed(world, box, FACTS) is None


def test_ports_that_move_or_go_are_forgotten_by_conntrack() -> None:
    world = small_world(bindings=(binding("8080", "80"),))
    box = next(iter(world.sandboxes.values()))
    eth1 = next(e for e in world.endpoints.values() if e.ifname == "eth1")
    scope = Scope(sandboxes=frozenset({box.id}))
    moved = flushes(world, world.after(Change(deletes=(eth1,))), scope)
    assert FlushConntrack(Protocol.TCP, ports=PortRange(8080, 8080), reason="published port of box") in moved
    assert any(flush.address == eth1.addresses[0].ip for flush in moved)
    assert flushes(world, world, scope) == ()


def test_ports_that_go_with_all_their_addresses_are_forgotten_with_those() -> None:
    world = small_world(bindings=(binding("8080", "80"), binding("8081", "81")))
    box = next(iter(world.sandboxes.values()))
    endpoints = world.endpoints_of(box.id)
    gone = flushes(world, world.after(Change(deletes=(box, *endpoints))), Scope(sandboxes=frozenset({box.id})))
    addresses = {address.ip for endpoint in endpoints for address in endpoint.addresses}
    assert {flush.address for flush in gone if flush.source is None} == addresses
    assert {flush.source for flush in gone if flush.address is None} == addresses
    assert all(flush.ports is None for flush in gone)


def test_only_fresh_ports_without_a_handshake_are_forgotten() -> None:
    tcp = binding("8080", "80")
    world = small_world(bindings=(tcp,))
    box = next(iter(world.sandboxes.values()))
    udp = dataclasses.replace(tcp, protocol=Protocol.UDP)
    more = (tcp, dataclasses.replace(tcp, host=PortRange(8081, 8081)), udp)
    after = world.after(Change(puts=(dataclasses.replace(box, bindings=more),)))
    (flush,) = flushes(world, after, Scope(sandboxes=frozenset({box.id})))
    assert (flush.protocol, flush.ports) == (Protocol.UDP, udp.host)


def test_disallow_forgets_connections_of_both_subnets() -> None:
    world = small_world()
    web, back = (world.network(name) for name in ("web", "back"))
    open_pair = Allowance(web.id, back.id)
    before = world.after(Change(puts=(open_pair,)))
    (flush,) = flushes(before, world, Scope(allowances=frozenset({open_pair.id})))
    assert (str(flush.source), str(flush.address)) == ("10.1.0.0/24", "10.2.0.0/24")


def test_every_step_has_a_line_that_names_its_object() -> None:
    for op in (*diff(compiled(small_world()), {}), *diff({}, compiled(small_world()))):
        text = line(op)
        assert text
        if isinstance(op.item, Element):
            assert text.startswith("nft ")
            assert f" {op.item.set} " in text
