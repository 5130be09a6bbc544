"""The world: look-ups as Docker does them, and changes that leave earlier worlds alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import Conflict, NotFound
from atoll.model.sandbox import SandboxKind
from atoll.model.world import Allowance, Change, Removal, World, kind_of
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
    records = [WEB, ONE, an_endpoint(5, WEB, ONE), Allowance(WEB.id, DB.id), Removal(ONE.id, "/run/netns/atoll-1")]
    world = World.of(records)
    assert [world.record(kind_of(record), record.id) for record in records] == records
    assert world.record("removal", WEB.id) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)), max_size=30))
def test_index_of_endpoints_is_that_of_a_world_made_anew(steps: list[tuple[bool, int, int, int]]) -> None:
    sandboxes = {number: a_sandbox(number, f"s{number}") for number in range(1, 4)}
    world = World.of([WEB, *sandboxes.values()])
    for puts, seed, owner, number in steps:
        # An endpoint never changes its sandbox: the id tells both.
        endpoint = an_endpoint(seed * 10 + owner, WEB, sandboxes[owner], ifname=f"eth{number}")
        world = world.after(Change(puts=(endpoint,)) if puts else Change(deletes=(endpoint,)))
    anew = World.of([*world.networks.values(), *world.sandboxes.values(), *world.endpoints.values()])
    assert world == anew
