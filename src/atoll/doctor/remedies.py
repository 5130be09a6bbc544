"""Lines to type that several checks offer."""

import shlex
from collections.abc import Iterator, Mapping

from atoll.doctor.snapshot import Snapshot
from atoll.model.addresses import Family, IPNetwork, family_of
from atoll.model.network import Network
from atoll.model.options import MTU
from atoll.model.sandbox import Endpoint


def set_sysctl(path: str, value: str) -> str:
    """The command for a path below /proc/sys. With a dot in an interface's name sysctl wants slashes."""
    return f"sysctl -w {path if '.' in path else path.replace('/', '.')}={value}"


def make_anew(
    snapshot: Snapshot, network: Network, *, moved: Mapping[Family, IPNetwork] | None = None, mtu_bytes: int = 0
) -> tuple[str, ...]:
    """Remove a network and make it again as it was, but for subnets that are `moved` and an MTU; put all back on it.

    What had an address of its own choice in a moved subnet gets another one.
    """
    moves = moved or {}
    members = [(e, snapshot.world.sandboxes[e.sandbox_id].name) for e in snapshot.world.endpoints_on(network.id)]
    return (
        *(shlex.join(("atoll", "network", "disconnect", network.name, name)) for _, name in members),
        shlex.join(("atoll", "network", "rm", network.name)),
        shlex.join(("atoll", "network", "create", *_network_words(network, moves, mtu_bytes), network.name)),
        *_allowing(snapshot, network),
        *(
            shlex.join(("atoll", "network", "connect", *_endpoint_words(endpoint, moves), network.name, name))
            for endpoint, name in members
        ),
    )


def _network_words(network: Network, moves: Mapping[Family, IPNetwork], mtu_bytes: int) -> Iterator[str]:
    for pool in network.pools:
        yield from ("--subnet", str(moves.get(pool.family, pool.subnet)))
        if pool.family not in moves:
            yield from ("--gateway", str(pool.gateway))
            yield from ("--ip-range", str(pool.ip_range)) if pool.ip_range else ()
            for name, address in pool.auxiliary:
                yield from ("--aux-address", f"{name}={address}")
    yield from ("--ipv6",) if network.ipv6 else ()
    yield from () if network.ipv4 else ("--no-ipv4",)
    yield from ("--internal",) if network.internal else ()
    yield from ("--attachable",) if network.attachable else ()
    for key, value in network.options.items():
        if key != MTU or not mtu_bytes:
            yield from ("-o", f"{key}={value}")
    for key, value in network.labels.items():
        yield from ("--label", f"{key}={value}")
    yield from ("--mtu", str(mtu_bytes)) if mtu_bytes else ()


def _endpoint_words(endpoint: Endpoint, moves: Mapping[Family, IPNetwork]) -> Iterator[str]:
    for address in endpoint.static:
        if family_of(address) not in moves:
            yield from ("--ip" if address.version == 4 else "--ip6", str(address))
    for alias in endpoint.aliases:
        yield from ("--alias", alias)
    yield from ("--mac-address", endpoint.mac) if endpoint.static_mac else ()
    yield from ("--gw-priority", str(endpoint.gateway_priority)) if endpoint.gateway_priority else ()
    for key, value in endpoint.driver_options.items():
        yield from ("--driver-opt", f"{key}={value}")


def _allowing(snapshot: Snapshot, network: Network) -> Iterator[str]:
    """One line for each direction that was open."""
    for allowance in snapshot.world.allowances.values():
        if network.id in (allowance.source_id, allowance.target_id):
            names = (snapshot.world.networks[i].name for i in (allowance.source_id, allowance.target_id))
            yield shlex.join(("atoll", "network", "allow", "--one-way", *names))
