"""Which subnets are free: overlap with other networks and with the host's prefixes, and automatic choice."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from atoll.errors import Exhausted, PoolOverlap
from atoll.model.addresses import Family, IPNetwork, family_of

_DEFAULT_LIKE_LENGTH_MAX = 1
"""0.0.0.0/0, and the halves of it that VPN clients set (0.0.0.0/1, 128.0.0.0/1), mean "everything else"."""

_ULA_SUBNET_LENGTH = 64
_OVERLAP = "Pool overlaps with other one on this address space"
"""Docker's words, which clients look for."""


@dataclass(frozen=True, slots=True)
class AutomaticPool:
    """A prefix from which automatic subnets of `length` are cut."""

    base: IPNetwork
    length: int


DEFAULT_POOLS = (
    *(AutomaticPool(IPv4Network(f"172.{second}.0.0/16"), 16) for second in range(17, 32)),
    AutomaticPool(IPv4Network("192.168.0.0/16"), 20),
)
"""Docker's default-address-pools, in its order."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a new subnet has to get along with.

    `held` are other networks' subnets with their names, `onlink` prefixes of the host's own interfaces,
    `routed` prefixes that it reaches through a gateway. Default-like prefixes are left out: see `look_around`.
    """

    held: tuple[tuple[str, IPNetwork], ...] = ()
    onlink: tuple[IPNetwork, ...] = ()
    routed: tuple[IPNetwork, ...] = ()


def look_around(
    held: Iterable[tuple[str, IPNetwork]], onlink: Iterable[IPNetwork], routed: Iterable[IPNetwork]
) -> Surroundings:
    """Surroundings without the prefixes that stand for everything."""
    return Surroundings(tuple(held), _definite(onlink), _definite(routed))


def check_free(subnet: IPNetwork, around: Surroundings) -> None:
    """Raise PoolOverlap, naming both sides, when a network or an interface of the host has some of `subnet`."""
    for name, other in around.held:
        if _overlap(subnet, other):
            raise PoolOverlap(
                f"cannot use subnet {subnet}: {_OVERLAP} ({other} of network {name})",
                hint=f"atoll network inspect {name}; then choose another --subnet, or leave it out",
                subject=name,
            )
    for other in around.onlink:
        if _overlap(subnet, other):
            raise PoolOverlap(
                f"cannot use subnet {subnet}: {_OVERLAP} ({other} on an interface of this host)",
                hint=f"ip address show to {other}; then choose another --subnet, or leave it out",
                subject=str(other),
            )


def routed_overlaps(subnet: IPNetwork, around: Surroundings) -> tuple[str, ...]:
    """A warning for each prefix behind a gateway that `subnet` hides."""
    return tuple(
        f"subnet {subnet} overlaps {other}, which this host reaches through a gateway: "
        "addresses that are in both can no longer be reached there"
        for other in around.routed
        if _overlap(subnet, other)
    )


def choose_subnet(pools: Sequence[AutomaticPool], around: Surroundings) -> IPNetwork:
    """The first free subnet of `pools`, in order; one that hides a routed prefix only when no other is left.

    Raises Exhausted.
    """
    taken = (*(subnet for _, subnet in around.held), *around.onlink)
    for avoided in ((*taken, *around.routed), taken):
        for pool in pools:
            subnet = _lowest_block(pool, avoided)
            if subnet is not None:
                return subnet
    count = sum(1 << (pool.length - pool.base.prefixlen) for pool in pools)
    example = "10.200.0.0/24" if pools and family_of(pools[0].base) is Family.V4 else "fd12:3456:789a::/64"
    raise Exhausted(
        f"all predefined address pools have been fully subnetted: each of the {count} default subnets overlaps "
        "a network or an interface of this host",
        hint=f"atoll network create --subnet {example} NAME, or atoll network prune",
    )


def unique_local_pool(host_key: str) -> AutomaticPool:
    """The pool of a host's automatic IPv6 subnets: /64s of a /48 whose global id is derived from `host_key`.

    Source: RFC 4193 section 3.1 (fd00::/8 and 40 bits), with SHA-256 of a random host id for section 3.2.2's.
    """
    global_id = hashlib.sha256(host_key.encode()).digest()[:5]
    return AutomaticPool(IPv6Network((b"\xfd" + global_id + bytes(10), 48)), _ULA_SUBNET_LENGTH)


def _definite(prefixes: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    return tuple(prefix for prefix in prefixes if prefix.prefixlen > _DEFAULT_LIKE_LENGTH_MAX)


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return family_of(one) is family_of(other) and one.overlaps(other)


def _lowest_block(pool: AutomaticPool, avoided: Iterable[IPNetwork]) -> IPNetwork | None:
    """The lowest subnet of a pool that overlaps nothing, found by block numbers: an IPv6 pool has 65,536."""
    shift = pool.base.max_prefixlen - pool.length
    spans = [
        (int(other.network_address) >> shift, int(other.broadcast_address) >> shift)
        for other in avoided
        if family_of(other) is family_of(pool.base)
    ]
    block = lowest_free(int(pool.base.network_address) >> shift, int(pool.base.broadcast_address) >> shift, spans)
    return None if block is None else ip_network((type(pool.base.network_address)(block << shift), pool.length))


def lowest_free(first: int, last: int, spans: Iterable[tuple[int, int]]) -> int | None:
    """The lowest number of `first`..`last` in none of the inclusive `spans`, which may overlap in any order."""
    free = first
    for start, end in sorted(spans):
        if start > free:
            break
        free = max(free, end + 1)
    return free if free <= last else None
