"""What a transition does besides state: tracked connections to forget, addresses to announce."""

from collections.abc import Container, Iterator

from atoll.model.addresses import IPAddress, IPInterface, mac_of
from atoll.model.items import Interface
from atoll.model.ops import Announce, FlushConntrack, Op, Verb
from atoll.model.ports import PortBinding, Protocol
from atoll.model.sandbox import Endpoint, Sandbox
from atoll.model.world import World
from atoll.plan.compile import Scope
from atoll.plan.publish import opened, targets
from atoll.plan.segments import SEGMENTS_MAX


def flushes(before: World, after: World, scope: Scope) -> tuple[FlushConntrack, ...]:
    """Connections whose verdict was made under the old state and would outlive it.

    A published port that appears, goes or leads elsewhere; one that is closed again at its own address; an endpoint
    that goes (its address will be another's); a pair of networks that is closed again.
    """
    return (
        *(flush for sandbox_id in sorted(scope.sandboxes) for flush in _of_sandbox(before, after, sandbox_id)),
        *(flush for allowance_id in sorted(scope.allowances) for flush in _of_allowance(before, after, allowance_id)),
    )


Place = tuple[str, IPAddress]
"""An address on a network, by the network's id."""


def announcements(ops: tuple[Op, ...], world: World, scope: Scope, stale: Container[Place]) -> tuple[Announce, ...]:
    """Addresses of endpoints whose cable these ops plug in, and which others may know elsewhere: see `left_stale`.

    Others are right already, or know nothing of them, and every port of the network would be told.
    """
    fresh = {
        (op.item.netns, op.item.ifname) for op in ops if isinstance(op.item, Interface) and op.verb is not Verb.REMOVE
    }
    return tuple(
        Announce(sandbox_id, endpoint.ifname, address.ip, endpoint.mac, reason=_of_endpoint(world, endpoint))
        for sandbox_id in sorted(scope.sandboxes)
        if sandbox_id in world.sandboxes
        for endpoint in world.endpoints_of(sandbox_id)
        if (sandbox_id, endpoint.ifname) in fresh
        for address in endpoint.addresses
        if (endpoint.network_id, address.ip) in stale or not _is_usual(endpoint, address)
    )


def left_stale(world: World, endpoint: Endpoint) -> tuple[Place, ...]:
    """Addresses that others may look for in the wrong place when `endpoint` of `world` is gone.

    Neighbours remember its MAC, which is another's than that of the next who gets the address; and where a network has
    several bridges they remember at which of them a MAC was.
    """
    elsewhere = any(world.count_on(endpoint.network_id, segment) for segment in range(1, SEGMENTS_MAX))
    return tuple(
        (endpoint.network_id, address.ip)
        for address in endpoint.addresses
        if elsewhere or not _is_usual(endpoint, address)
    )


def _is_usual(endpoint: Endpoint, address: IPInterface) -> bool:
    """True when whoever gets this address has this MAC, unless somebody asks for another."""
    first = endpoint.addresses[0]
    return endpoint.mac == mac_of(first.ip) and _offset(address) == _offset(first)


def _offset(address: IPInterface) -> int:
    return int(address.ip) - int(address.network.network_address)


def _of_endpoint(world: World, endpoint: Endpoint) -> str:
    return f"endpoint of {world.sandboxes[endpoint.sandbox_id].name} on {world.networks[endpoint.network_id].name}"


def _of_sandbox(before: World, after: World, sandbox_id: str) -> Iterator[FlushConntrack]:
    old, new = before.sandboxes.get(sandbox_id), after.sandboxes.get(sandbox_id)
    name = next((sandbox.name for sandbox in (new, old) if sandbox), sandbox_id)
    if old is None and (new is None or not new.bindings):
        return
    gone = _endpoints(before, old).keys() - _endpoints(after, new).keys()
    free = frozenset(address.ip for endpoint_id in gone for address in before.endpoints[endpoint_id].addresses)
    for binding in _moved(before, old, after, new, free):
        yield FlushConntrack(
            binding.protocol, address=binding.host_address, ports=binding.host, reason=f"published port of {name}"
        )
    for address in sorted(_opened_at(before, old) - _opened_at(after, new), key=str):
        yield FlushConntrack(address=address, reason=f"own address of {name} is closed again")
    for address in sorted(free, key=str):
        why = f"address of {name} is free again"
        yield FlushConntrack(address=address, reason=why)
        yield FlushConntrack(source=address, reason=why)


def _moved(
    before: World, old: Sandbox | None, after: World, new: Sandbox | None, free: frozenset[IPAddress]
) -> tuple[PortBinding, ...]:
    """Bindings that appear, go, or lead elsewhere."""
    was, now = _led_to(before, old), _led_to(after, new)
    had, has = old.bindings if old else (), new.bindings if new else ()
    gone, fresh = _less(had, has), _less(has, had)
    # What was led to an address that is free again is forgotten with that.
    lost = gone if not was <= free else ()
    # A fresh TCP port needs none: its connections begin with a SYN, which is looked at anew.
    found = tuple(binding for binding in fresh if binding.protocol is not Protocol.TCP)
    return (*lost, *found, *(_less(has, fresh) if was != now else ()))


def _less(these: tuple[PortBinding, ...], others: tuple[PortBinding, ...]) -> tuple[PortBinding, ...]:
    """Those of `these` that aren't in `others`."""
    # The usual cases without hashing each, which for a thousand takes milliseconds.
    if not these or not others:
        return these
    if these == others:
        return ()
    known = frozenset(others)
    return tuple(binding for binding in these if binding not in known)


def _endpoints(world: World, sandbox: Sandbox | None) -> dict[str, Endpoint]:
    return {endpoint.id: endpoint for endpoint in world.endpoints_of(sandbox.id)} if sandbox else {}


def _led_to(world: World, sandbox: Sandbox | None) -> frozenset[IPAddress]:
    """Addresses that the sandbox's bindings lead to."""
    return frozenset(targets(world, sandbox).values()) if sandbox is not None else frozenset()


def _opened_at(world: World, sandbox: Sandbox | None) -> frozenset[IPAddress]:
    """Addresses at which ports are reached without translation."""
    return frozenset(target for _, target in opened(world, sandbox)) if sandbox is not None else frozenset()


def _of_allowance(before: World, after: World, allowance_id: str) -> Iterator[FlushConntrack]:
    closed = before.allowances.get(allowance_id)
    if closed is None or allowance_id in after.allowances:
        return
    source, target = before.networks.get(closed.source_id), before.networks.get(closed.target_id)
    if source is None or target is None:
        return
    for origin in source.pools:
        destination = target.pool(origin.family)
        if destination is not None:
            yield FlushConntrack(
                source=origin.subnet, address=destination.subnet, reason=f"{source.name} may not open to {target.name}"
            )
