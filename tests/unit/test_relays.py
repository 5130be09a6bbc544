"""Which ports the relay is told to serve: after any changes the same as if it were told everything at once."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from atoll.engine.relays import RELAYED_PORTS_MAX, Answer, Relays
from atoll.errors import Unavailable
from atoll.model.facts import HostFacts
from atoll.model.ports import PortBinding, PortRange, Protocol
from atoll.model.world import Change, World
from atoll.plan.publish import RelayNeed
from tests.support.worlds import a_network, a_sandbox, an_endpoint

WEB = a_network(0xAB1, "web", "10.1.0.0/24")
FACTS = HostFacts()


class Served:
    """A relay that serves what it is told once it is asked, counts what it was told, and forgets all when it dies."""

    def __init__(self) -> None:
        self.ports: frozenset[tuple[str, PortBinding]] | None = frozenset()
        self.told = 0
        self.waiting = False

    def __call__(self, needs: tuple[RelayNeed, ...], gone: tuple[RelayNeed, ...] | None = None) -> Answer:
        """Take over what is told."""
        self.waiting = True
        return lambda: self._serve(_ports(needs), None if gone is None else _ports(gone))

    def _serve(
        self, come: frozenset[tuple[str, PortBinding]], gone: frozenset[tuple[str, PortBinding]] | None
    ) -> Mapping[str, str]:
        if gone is not None and (self.ports is None or not self.ports.issuperset(gone)):
            raise Unavailable("told to change what is not served")
        self.ports = come if gone is None or self.ports is None else self.ports - gone | come
        self.told += len(come)
        self.waiting = False
        return {}


def _ports(needs: tuple[RelayNeed, ...]) -> frozenset[tuple[str, PortBinding]]:
    return frozenset((need.sandbox_id, binding) for need in needs for binding in need.bindings)


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from([0, 1, 3, 1500, 3000]), st.booleans()), max_size=30))
def test_relay_serves_the_same_as_when_it_is_told_at_once(steps: list[tuple[int, int, bool]]) -> None:
    relay, world = Served(), World.of([WEB])
    relays = Relays(relay)
    for seed, length, dies in steps:
        box = a_sandbox(seed, f"s{seed}")
        if length:
            ports = PortRange(5000 * seed, 5000 * seed + length - 1)
            box = a_sandbox(seed, box.name, bindings=(PortBinding(Protocol.TCP, None, ports, ports),))
        endpoint = an_endpoint(seed, WEB, box, seed + 1)
        there = box.id in world.sandboxes and length == 0
        world = world.after(Change(deletes=(box, endpoint)) if there else Change(puts=(box, endpoint)))
        if dies:
            relay.ports = None
        if seed % 2:
            relays.begin(world, box.id, FACTS)
        relays.follow(world, box.id, FACTS)
    at_once = Served()
    again = Relays(at_once)
    again.start(world, FACTS)
    # A relay that died is told everything with the next change.
    assert relay.ports in (None, at_once.ports)
    assert again.problems == relays.problems
    assert sum(len(binding.host) for _, binding in at_once.ports or ()) <= RELAYED_PORTS_MAX


def test_change_is_told_alone() -> None:
    relay, world = Served(), World.of([WEB])
    relays = Relays(relay)
    for seed in range(1, 51):
        ports = PortRange(5000 + seed, 5000 + seed)
        box = a_sandbox(seed, f"s{seed}", bindings=(PortBinding(Protocol.TCP, None, ports, ports),))
        world = world.after(Change(puts=(box, an_endpoint(seed, WEB, box, seed + 1))))
        relays.follow(world, box.id, FACTS)
    assert relay.told == 50 == len(relay.ports or ())


def test_what_is_undone_after_the_relay_began_on_it_is_taken_back() -> None:
    relay, before = Served(), World.of([WEB])
    relays = Relays(relay)
    ports = PortRange(5000, 5000)
    box = a_sandbox(1, "s1", bindings=(PortBinding(Protocol.TCP, None, ports, ports),))
    after = before.after(Change(puts=(box, an_endpoint(1, WEB, box, 2))))
    relays.begin(after, box.id, FACTS)
    assert relay.waiting
    relays.follow(before, box.id, FACTS)
    assert (relay.ports, relay.told, relay.waiting) == (frozenset(), 1, False)
