"""The verbs on networks."""

from collections.abc import Callable, Sequence

from atoll.engine.context import HOST_KEY, Context
from atoll.engine.network_claims import check_removable, claim_network
from atoll.engine.outcome import Outcome, Slices, parts_of
from atoll.engine.troubles import Aspect
from atoll.errors import InvalidRequest
from atoll.model.network import Driver, Network, NetworkRequest
from atoll.model.ops import Step
from atoll.model.world import Allowance, Change
from atoll.plan.compile import Scope, forwarding_families


class NetworkVerbs:
    """Create, remove and open networks to each other."""

    def __init__(self, context: Context) -> None:
        self._ctx = context

    def create(self, request: NetworkRequest, *, dry_run: bool = False) -> Outcome[Network]:
        """Make a bridge network. Raises as `claim_network`, and ApplyFailed."""
        ctx = self._ctx
        facts = ctx.path.look()
        key = ctx.store.meta(HOST_KEY)
        network, warnings = claim_network(ctx.world, request, facts, ctx.host, ctx.naming, key)
        change = Change(puts=(network,))
        families = forwarding_families(ctx.world.after(change))
        planned = ctx.path.plan(change, Scope(networks=frozenset({network.id})))
        steps = (*ctx.path.forwarding_steps(families), *planned.steps)
        if not dry_run:
            ctx.path.ensure_forwarding(families)
            ctx.path.carry_out(planned)
            ctx.tell("network", "create", network.id, name=network.name, type=network.driver.value)
        return Outcome(network, steps, warnings)

    def remove(self, reference: str, *, dry_run: bool = False) -> Outcome[Network]:
        """Remove a network without endpoints. Raises NotFound, Forbidden, InUse."""
        ctx = self._ctx
        network = ctx.world.network(reference)
        check_removable(ctx.world, network)
        return Outcome(network, self.erase((network,), dry_run=dry_run))

    def prune(self, keep: Callable[[Network], bool], *, dry_run: bool = False) -> Slices[tuple[Network, ...]]:
        """Remove every network that is neither predefined, nor in use, nor kept, by name."""
        ctx = self._ctx
        networks = sorted(ctx.world.networks.values(), key=lambda network: network.name)
        for part in parts_of([network for network in networks if not network.predefined and not keep(network)]):
            # Each slice sees what became of them meanwhile.
            world = ctx.world
            there = (network for network in part if network.id in world.networks)
            unused = tuple(network for network in there if not world.endpoints_on(network.id))
            yield Outcome(unused, self.erase(unused, dry_run=dry_run))

    def erase(self, networks: Sequence[Network], *, dry_run: bool = False) -> tuple[Step, ...]:
        """Remove networks whatever they are, as far as the kernel lets it; the caller knows that nobody is on them."""
        ctx = self._ctx
        ids = frozenset(network.id for network in networks)
        opened = tuple(a for a in ctx.world.allowances.values() if ids & {a.source_id, a.target_id})
        scope = Scope(networks=ids, allowances=frozenset(a.id for a in opened))
        planned = ctx.path.plan(Change(deletes=(*networks, *opened)), scope)
        if not networks or dry_run:
            return planned.steps
        for step, error in ctx.path.carry_through(planned):
            ctx.troubles.begin("daemon", "", Aspect.REMOVAL, f"remove {_named(networks, step)}: {error}")
        for network in networks:
            ctx.reconciler.forget(network.id)
            ctx.tell("network", "destroy", network.id, name=network.name, type=network.driver.value)
        return planned.steps

    def allow(self, source: str, target: str, *, one_way: bool = False, dry_run: bool = False) -> Outcome[None]:
        """Let members of two networks open connections to each other, or only from `source` to `target`.

        What is allowed already stays. Raises NotFound, InvalidRequest.
        """
        pairs = self._pairs(source, target, one_way=one_way)
        fresh = tuple(pair for pair in pairs if pair.id not in self._ctx.world.allowances)
        return self._change_allowances("allow", Change(puts=fresh), fresh, dry_run=dry_run)

    def disallow(self, source: str, target: str, *, one_way: bool = False, dry_run: bool = False) -> Outcome[None]:
        """Take back what `allow` did. What is not allowed is no error. Raises NotFound, InvalidRequest."""
        pairs = self._pairs(source, target, one_way=one_way)
        there = tuple(pair for pair in pairs if pair.id in self._ctx.world.allowances)
        return self._change_allowances("disallow", Change(deletes=there), there, dry_run=dry_run)

    def _pairs(self, source: str, target: str, *, one_way: bool) -> tuple[Allowance, ...]:
        ends = [self._ctx.world.network(reference) for reference in (source, target)]
        for network in ends:
            if network.driver is not Driver.BRIDGE:
                raise InvalidRequest(f"cannot open network {network.name}: driver {network.driver.value} isn't routed")
        if ends[0].id == ends[1].id:
            raise InvalidRequest(f"{source} and {target} are the same network")
        there = Allowance(ends[0].id, ends[1].id)
        return (there,) if one_way else (there, Allowance(ends[1].id, ends[0].id))

    def _change_allowances(
        self, action: str, change: Change, pairs: tuple[Allowance, ...], *, dry_run: bool
    ) -> Outcome[None]:
        ctx = self._ctx
        planned = ctx.path.plan(change, Scope(allowances=frozenset(pair.id for pair in pairs)))
        if pairs and not dry_run:
            ctx.path.carry_out(planned)
            for pair in pairs:
                names = {
                    end: ctx.world.networks[i].name for end, i in (("name", pair.source_id), ("target", pair.target_id))
                }
                ctx.tell("network", action, pair.source_id, **names)
        return Outcome(None, planned.steps)


def _named(networks: Sequence[Network], step: Step) -> str:
    return f"network {networks[0].name}" if len(networks) == 1 else f"networks: {step.reason}"
