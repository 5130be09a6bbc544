"""What every store does; the same tests over each."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.errors import InvalidRequest
from atoll.model.world import Allowance, Change, Record, Removal, World
from atoll.store.memory import MemoryStore
from atoll.store.sqlite import SqliteStore
from atoll.store.store import Store
from tests.support.worlds import a_network, a_sandbox, an_endpoint

WEB = a_network(1, "web", "10.1.0.0/24", "fd00:1::/64")
ONE = a_sandbox(2, "one", labels={"tier": "front"})
ENDPOINT = an_endpoint(3, WEB, ONE)
EVERYTHING: tuple[Record, ...] = (WEB, ONE, ENDPOINT, Allowance(WEB.id, "f" * 64), Removal(ONE.id, "/run/netns/x"))

Reopen = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the store of this test, closing it before when it is open."""
    opened: list[Store] = []

    def sqlite() -> Store:
        while opened:
            opened.pop().close()
        opened.append(SqliteStore(tmp_path / "state" / "atoll.db"))
        return opened[0]

    memory = MemoryStore()
    yield sqlite if request.param == "sqlite" else lambda: memory
    while opened:
        opened.pop().close()


@pytest.fixture
def store(reopen: Reopen) -> Store:
    return reopen()


def test_new_store_is_empty(store: Store) -> None:
    assert store.load() == World()
    assert store.meta("boot") == ""


def test_every_kind_of_record_comes_back(reopen: Reopen) -> None:
    reopen().commit(Change(puts=EVERYTHING))
    assert reopen().load() == World.of(EVERYTHING)


def test_put_replaces_by_kind_and_id(store: Store) -> None:
    store.commit(Change(puts=EVERYTHING))
    renamed = replace(WEB, name="www")
    store.commit(Change(puts=(renamed,)))
    assert store.load() == World.of((renamed, *EVERYTHING[1:]))


def test_delete_takes_one_kind_away(store: Store) -> None:
    store.commit(Change(puts=EVERYTHING))
    store.commit(Change(deletes=(ONE,)))
    # The removal has the sandbox's id.
    assert store.load() == World.of(record for record in EVERYTHING if record is not ONE)


def test_deleting_what_is_gone_succeeds(store: Store) -> None:
    store.commit(Change(puts=(WEB,)))
    store.commit(Change(deletes=(ONE, ENDPOINT)))
    assert store.load() == World.of([WEB])


def test_put_wins_over_a_delete_of_the_same_record(store: Store) -> None:
    store.commit(Change(puts=(WEB,), deletes=(WEB,)))
    assert store.load() == World.of([WEB])


def test_revision_grows_with_every_commit_and_over_restarts(reopen: Reopen) -> None:
    store = reopen()
    revisions = [store.commit(Change(puts=(WEB,))), store.commit(Change()), store.commit(Change(deletes=(WEB,)))]
    revisions.append(reopen().commit(Change(puts=(WEB,))))
    assert revisions == sorted(set(revisions))


def test_loaded_world_does_not_change_with_later_commits(store: Store) -> None:
    store.commit(Change(puts=(WEB,)))
    before = store.load()
    store.commit(Change(puts=(ONE,), deletes=(WEB,)))
    assert before == World.of([WEB])


def test_facts_are_kept_and_replaced(reopen: Reopen) -> None:
    store = reopen()
    store.set_meta("boot", "one")
    store.set_meta("boot", "two/ä")
    store.set_meta("other", "")
    store = reopen()
    assert (store.meta("boot"), store.meta("other"), store.meta("BOOT")) == ("two/ä", "", "")
    assert store.load() == World()


def test_commit_that_can_not_be_made_leaves_no_part(reopen: Reopen) -> None:
    store = reopen()
    if isinstance(store, MemoryStore):
        # It keeps values as they are, so nothing can be refused.
        return
    store.commit(Change(puts=(WEB,)))
    unwritable = a_sandbox(9, "bad", labels={"a": "\ud800"})
    with pytest.raises(InvalidRequest):
        store.commit(Change(puts=(ONE, unwritable), deletes=(WEB,)))
    assert store.load() == reopen().load() == World.of([WEB])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(*2 * [st.sets(st.integers(1, 6), max_size=4)]), max_size=8), restarts=st.booleans())
def test_store_holds_what_the_changes_add_up_to(
    reopen: Reopen, steps: list[tuple[set[int], set[int]]], restarts: bool
) -> None:
    store = reopen()
    world = store.load()
    for revision, (puts, deletes) in enumerate(steps):
        change = Change(
            puts=tuple(a_sandbox(seed, f"{seed}-{revision}") for seed in sorted(puts)),
            deletes=tuple(a_sandbox(seed, "") for seed in sorted(deletes)),
        )
        store.commit(change)
        world = world.after(change)
        store = reopen() if restarts else store
        assert store.load() == world
