"""What the name service is told of a world, and of each change of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from atoll.dns.entries import Asker, Entry, Member
from atoll.engine.names import NAMES_MAX, NameOptions, Names, entries_of
from atoll.errors import Unavailable
from atoll.model.addresses import IPAddress, parse_address
from atoll.model.names import short_id
from atoll.model.network import Network
from atoll.model.sandbox import Endpoint, NetnsEvidence, Sandbox, SandboxKind
from atoll.model.world import Change, World
from tests.support.worlds import a_network, a_sandbox, an_endpoint, an_id

FRONT = a_network(1, "Front", "10.1.0.0/24", "fd01::/64")
BACK = a_network(2, "back", "10.2.0.0/24", internal=True)
ONE, TWO = a_sandbox(11, "One", resolves=True), a_sandbox(12, "two", resolves=True)
ONE_FRONT = replace(an_endpoint(21, FRONT, ONE), aliases=("web", "WWW", "one"))
ONE_BACK = replace(an_endpoint(22, BACK, ONE, 7, "eth1"), gateway_priority=5)
TWO_BACK = an_endpoint(23, BACK, TWO, 8)
EVERYTHING: tuple[Network | Sandbox | Endpoint, ...] = (FRONT, BACK, ONE, TWO, ONE_FRONT, ONE_BACK, TWO_BACK)


def ip(*texts: str) -> tuple[IPAddress, ...]:
    return tuple(parse_address("address", text) for text in texts)


class Service:
    """A name service that knows what it was told; it loses all when it is `down` once."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.askers: set[str] = set()
        self.down = False
        self.calls: list[str] = []

    def sync(self, entries: Mapping[str, Entry], askers: Mapping[str, NetnsEvidence]) -> Mapping[str, str]:
        self.calls.append("sync")
        self._fall()
        self.entries, self.askers = dict(entries), set(askers)
        return {}

    def change(
        self, drop: Sequence[str], put: Sequence[Entry], askers: Mapping[str, NetnsEvidence]
    ) -> Mapping[str, str]:
        self.calls.append(f"change {len(drop)} {len(put)} {len(askers)}")
        self._fall()
        for key in drop:
            self.entries.pop(key)
            self.askers.discard(key)
        self.entries |= {entry.key: entry for entry in put}
        self.askers |= askers.keys()
        return {}

    def _fall(self) -> None:
        if self.down:
            self.entries, self.askers = {}, set()
            raise Unavailable("gone")


def told(world: World) -> tuple[Names, Service]:
    service = Service()
    names = Names(service)
    names.start(world)
    return names, service


def test_sandbox_has_its_names_on_each_network_and_asks_about_them() -> None:
    options = NameOptions(("Host-1",), ip("192.0.2.1"), ("Corp.Example.",), dotted_only=True)
    assert entries_of(World.of(EVERYTHING), ONE.id, options) == (
        Member(ONE_FRONT.id, FRONT.id, ("one", short_id(ONE.id), "web", "www", "host-1"), ip("10.1.0.2", "fd01::2")),
        Member(ONE_BACK.id, BACK.id, ("one", short_id(ONE.id), "host-1"), ip("10.2.0.7")),
        Asker(
            ONE.id,
            ((BACK.id, "back"), (FRONT.id, "front")),
            servers=ip("192.0.2.1"),
            search=("corp.example",),
            dotted_only=True,
        ),
    )


def test_only_internal_networks_forward_nothing() -> None:
    asker = entries_of(World.of(EVERYTHING), TWO.id, NameOptions())[-1]
    assert isinstance(asker, Asker) and not asker.forward


@pytest.mark.parametrize("kind", [SandboxKind.ATTACHED, SandboxKind.HOST])
def test_others_namespaces_are_named_and_not_answered(kind: SandboxKind) -> None:
    world = World.of((*EVERYTHING, replace(ONE, kind=kind)))
    assert {type(entry) for entry in entries_of(world, ONE.id, NameOptions())} == {Member}


def test_nobody_without_an_address_is_told_of() -> None:
    bare = replace(ONE_FRONT, addresses=())
    assert entries_of(World.of((FRONT, ONE, bare)), ONE.id, NameOptions()) == ()
    assert entries_of(World.of((ONE,)), ONE.id, NameOptions()) == ()


def test_names_that_can_not_be_asked_for_are_left_out_and_the_rest_is_bounded() -> None:
    aliases = ("x" * 64, "a..b", *(f"n{number}" for number in range(400)))
    member = entries_of(World.of((FRONT, ONE, replace(ONE_FRONT, aliases=aliases))), ONE.id, NameOptions())[0]
    assert isinstance(member, Member)
    assert len(member.names) == NAMES_MAX and member.names[:3] == ("one", short_id(ONE.id), "n0")


def test_following_comes_to_what_a_start_tells() -> None:
    world = World.of(EVERYTHING)
    names, service = told(world)
    renamed = replace(TWO, name="three")
    for change, followed in (
        (Change(deletes=(ONE_BACK,)), ONE.id),
        (Change(puts=(renamed,)), TWO.id),
        (Change(puts=(ONE_BACK,)), ONE.id),
        (Change(deletes=(TWO_BACK,)), TWO.id),
        (Change(deletes=(ONE, ONE_BACK, ONE_FRONT)), ONE.id),
        (Change(puts=(TWO_BACK,)), TWO.id),
        (Change(puts=(a_sandbox(99, "idle"),)), an_id(99)),
    ):
        world = world.after(change)
        names.follow(world, (followed,))
        fresh = told(world)[1]
        assert (service.entries, service.askers) == (fresh.entries, fresh.askers)
    assert "sync" not in service.calls[1:]


def test_nothing_new_is_told_as_nothing() -> None:
    world = World.of(EVERYTHING)
    names, service = told(world)
    names.follow(world, (ONE.id, TWO.id))
    assert service.calls == ["sync", "change 0 0 2"]


def test_service_that_was_away_is_told_everything() -> None:
    world = World.of(EVERYTHING)
    names, service = told(world)
    service.down = True
    world = world.after(Change(deletes=(ONE_BACK,)))
    names.follow(world, (ONE.id,))
    assert names.problems == {ONE.id: "names: gone", TWO.id: "names: gone"}
    service.down = False
    names.follow(world, (TWO.id,))
    assert names.problems == {}
    assert service.entries == told(world)[1].entries
