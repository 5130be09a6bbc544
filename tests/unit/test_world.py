"""The world: look-ups as Docker does them, and changes that leave earlier worlds alone."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import Conflict, NotFound
from atoll.model.addresses import Family
from atoll.model.heldports import range_bits
from atoll.model.ports import PortBinding, PortRange, Protocol
from atoll.model.sandbox import NetnsEvidence, SandboxKind
from atoll.model.world import Allowance, Change, Record, Removal, World, kind_of
from tests.support.worlds import a_network, a_sandbox, an_endpoint, an_id

WEB, DB = a_network(0xAB1, "web", "10.1.0.0/24"), a_network(0xAB2, "db", "10.2.0.0/24")
ONE, TWO = a_sandbox(1, "one"), a_sandbox(2, "two")


def test_network_is_found_by_id_name_and_prefix() -> None:
    world = World.of([WEB, DB])
    assert world.network("web") is WEB
    assert world.network(WEB.id) is WEB
    assert world.network(WEB.id[:12]) is WEB


def test_ambiguous_prefix_names_the_candidates() -> None:
    with pytest.raises(Conflict, match=r"ambiguous: .*\(web\), .*\(db\)"):
        World.of([WEB, DB]).network("000000000ab")


@pytest.mark.parametrize("reference", ["", "cache", "ff", "WEB", an_id(0xAB3)])
def test_unknown_network_is_not_found(reference: str) -> None:
    with pytest.raises(NotFound) as caught:
        World.of([WEB, DB]).network(reference)
    assert reference in caught.value.message


def test_name_comes_before_prefix() -> None:
    named = a_network(0xCD, "000000000ab1", "10.3.0.0/24")
    assert World.of([WEB, named]).network("000000000ab1") is named


def test_sandbox_named_as_another_s_id_is_not_taken_for_it() -> None:
    impostor = a_sandbox(3, ONE.id)
    for records in ([impostor, ONE], [ONE, impostor]):
        assert World.of(records).sandbox(ONE.id) is ONE


def test_change_leaves_the_world_before_it_alone() -> None:
    before = World.of([WEB, ONE])
    endpoint = an_endpoint(5, WEB, ONE)
    after = before.after(Change(puts=(endpoint, TWO)))
    again = after.after(Change(deletes=(endpoint, ONE)))
    assert (before.endpoints_of(ONE.id), after.endpoints_of(ONE.id), again.endpoints_of(ONE.id)) == (
        (),
        (endpoint,),
        (),
    )
    assert set(before.sandboxes) == {ONE.id} and set(after.sandboxes) == {ONE.id, TWO.id}
    assert again == World.of([WEB, TWO])


def test_deleting_what_is_gone_changes_nothing() -> None:
    world = World.of([WEB])
    assert world.after(Change(deletes=(DB, ONE, an_endpoint(5, WEB, ONE)))) == world


def test_put_replaces_by_id_and_wins_over_a_delete() -> None:
    renamed = replace(WEB, name="www")
    assert World.of([WEB]).after(Change(puts=(renamed,))) == World.of([renamed])
    assert World.of([WEB]).after(Change(puts=(renamed,), deletes=(WEB,))) == World.of([renamed])


def test_endpoints_are_ordered_by_interface_then_id() -> None:
    names = ["eth10", "eth2", "eth1", "eth1"]
    endpoints = [an_endpoint(10 + index, WEB, ONE, ifname=name) for index, name in enumerate(names)]
    world = World.of([WEB, ONE, *endpoints])
    assert [e.id for e in world.endpoints_of(ONE.id)] == [an_id(12), an_id(13), an_id(11), an_id(10)]
    assert [e.id for e in world.endpoints_on(WEB.id)] == [an_id(10), an_id(11), an_id(12), an_id(13)]


def test_root_and_members_of_a_shared_namespace() -> None:
    joined = [a_sandbox(seed, name, owner_id=ONE.id) for seed, name in ((7, "b"), (8, "a"))]
    joined = [replace(sandbox, kind=SandboxKind.JOINED, netns=None) for sandbox in joined]
    world = World.of([ONE, *joined])
    assert world.root_of(joined[0]) is ONE and world.root_of(ONE) is ONE
    assert [member.name for member in world.members_of(ONE.id)] == ["a", "b"]


def test_every_kind_of_record_is_kept_apart() -> None:
    records: list[Record] = [
        WEB,
        ONE,
        an_endpoint(5, WEB, ONE),
        Allowance(WEB.id, DB.id),
        Removal(ONE.id, "/run/netns/atoll-1"),
    ]
    world = World.of(records)
    assert [world.record(kind_of(record), record.id) for record in records] == records
    assert world.record("removal", WEB.id) is None


def anew(world: World) -> World:
    """A world of the same records, whose indexes are made of them at once."""
    return World.of([*world.networks.values(), *world.sandboxes.values(), *world.endpoints.values()])


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)), max_size=60))
def test_indexes_of_endpoints_are_those_of_a_world_made_anew(steps: list[tuple[bool, int, int, int]]) -> None:
    sandboxes = {number: a_sandbox(number, f"s{number}") for number in range(1, 4)}
    world = World.of([WEB, DB, *sandboxes.values()])
    for puts, seed, owner, number in steps:
        # An endpoint never changes its sandbox or its address, which nobody else has: the id tells them.
        network = DB if seed == 4 else WEB
        endpoint = an_endpoint(seed * 10 + owner, network, sandboxes[owner], seed * 10 + owner, ifname=f"eth{number}")
        world = world.after(Change(puts=(endpoint,)) if puts else Change(deletes=(endpoint,)))
    assert world == anew(world)
    for network in (WEB, DB):
        there = world.endpoints_on(network.id)
        assert {endpoint.network_id for endpoint in there} <= {network.id}
        assert list(world.addresses_on(network.id, Family.V4)) == sorted(int(e.addresses[0].ip) for e in there)
        assert [world.endpoint_with(network.id, endpoint.mac) for endpoint in there] == list(there)
        assert [world.endpoint_at(network.id, str(endpoint.addresses[0].ip)) for endpoint in there] == list(there)
        assert [world.endpoint_behind(endpoint.host_ifname) for endpoint in there] == list(there)
        assert world.network_over(f"at-{network.id[:12]}") is network
    assert world.endpoint_with(WEB.id, "02:42:ff:ff:ff:ff") is None


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.integers(1, 6), st.integers(0, 3), st.sampled_from(["", "/run/netns/a", "/proc/7/ns/net"])
        ),
        max_size=60,
    )
)
def test_indexes_of_sandboxes_are_those_of_a_world_made_anew(steps: list[tuple[bool, int, int, str]]) -> None:
    world = World.of([WEB])
    for puts, seed, shape, path in steps:
        ports = PortRange(100 * seed, 100 * seed + shape)
        bindings = (PortBinding(Protocol.TCP, None, ports, ports), PortBinding(Protocol.UDP, None, ports, ports))
        sandbox = replace(a_sandbox(seed, f"s{seed}-{shape}"), bindings=bindings[:shape])
        if path:
            sandbox = replace(sandbox, netns=NetnsEvidence(f"{path}{seed}", "boot", seed))
        else:
            sandbox = replace(sandbox, owner_id=ONE.id)
        world = world.after(Change(puts=(sandbox,)) if puts else Change(deletes=(sandbox,)))
    assert world == anew(world)
    sandboxes = list(world.sandboxes.values())
    assert [world.sandbox_named(sandbox.name) for sandbox in sandboxes] == sandboxes
    joined = [sandbox.id for sandbox in sandboxes if sandbox.owner_id == ONE.id]
    assert sorted(member.id for member in world.members_of(ONE.id)) == sorted(joined)
    for sandbox in sandboxes:
        for binding in sandbox.bindings:
            assert world.held_ports.meeting(binding.protocol, None) & range_bits(binding.host)
        if sandbox.owner_id is None and sandbox.netns is not None:
            assert world.sandbox_in(sandbox.netns) is sandbox
            assert world.sandbox_in(replace(sandbox.netns, path="/elsewhere")) is sandbox
            assert world.sandbox_in(replace(sandbox.netns, cookie=99)) is sandbox


def test_change_of_a_large_world_copies_little() -> None:
    sandboxes = [a_sandbox(number, f"s{number}") for number in range(1, 30_001)]
    large = a_network(0xAB3, "large", "10.8.0.0/16")
    world = World.of([large, *sandboxes])
    begun = time.thread_time()
    for number in range(1, 1001):
        one = a_sandbox(100_000 + number, f"t{number}")
        world = world.after(Change(puts=(one, an_endpoint(number, large, one, number + 1))))
        assert world.sandbox(f"t{number}") is one
    # A copy of the tables and indexes takes 3 ms.
    assert time.thread_time() - begun < 1.5
