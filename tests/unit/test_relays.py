"""Which ports the relay is told to serve: after any changes the same as if it were told everything at once."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from atoll.engine.relays import RELAYED_PORTS_MAX, Relays
from atoll.errors import Unavailable
from atoll.model.facts import HostFacts
from atoll.model.ports import PortBinding, PortRange, Protocol
from atoll.model.world import Change, World
from atoll.plan.publish import RelayNeed
from tests.support.worlds import a_network, a_sandbox, an_endpoint

WEB = a_network(0xAB1, "web", "10.1.0.0/24")
FACTS = HostFacts()


class Served:
    """A relay that serves what it is told, counts what it was told, and forgets everything when it dies."""

    def __init__(self) -> None:
        self.needs: frozenset[RelayNeed] | None = frozenset()
        self.told = 0

    def __call__(self, needs: tuple[RelayNeed, ...], gone: tuple[RelayNeed, ...] | None = None) -> Mapping[str, str]:
        """Take over what is told."""
        if gone is not None and (self.needs is None or not self.needs.issuperset(gone)):
            raise Unavailable("told to change what is not served")
        self.needs = frozenset(needs) if gone is None or self.needs is None else self.needs - set(gone) | set(needs)
        self.told += len(needs)
        return {}


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
            relay.needs = None
        relays.follow(world, box.id, FACTS)
    at_once = Served()
    again = Relays(at_once)
    again.start(world, FACTS)
    # A relay that died is told everything with the next change.
    assert relay.needs in (None, at_once.needs)
    assert again.problems == relays.problems
    assert sum(len(need.binding.host) for need in at_once.needs or ()) <= RELAYED_PORTS_MAX


def test_change_is_told_alone() -> None:
    relay, world = Served(), World.of([WEB])
    relays = Relays(relay)
    for seed in range(1, 51):
        ports = PortRange(5000 + seed, 5000 + seed)
        box = a_sandbox(seed, f"s{seed}", bindings=(PortBinding(Protocol.TCP, None, ports, ports),))
        world = world.after(Change(puts=(box, an_endpoint(seed, WEB, box, seed + 1))))
        relays.follow(world, box.id, FACTS)
    assert relay.told == 50 == len(relay.needs or ())
