"""The pools of a new network: what was asked is checked, the rest is chosen."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network

from atoll.errors import InvalidRequest
from atoll.ipam.addresses import special_role
from atoll.ipam.subnets import (
    DEFAULT_POOLS,
    AutomaticPool,
    Surroundings,
    check_free,
    choose_subnet,
    look_around,
    routed_overlaps,
    unique_local_pool,
)
from atoll.model.addresses import Family, IPAddress, IPNetwork, family_of
from atoll.model.network import Pool, PoolRequest

ADDRESSES_MIN = 2
"""Usable addresses of a network: its gateway's and an endpoint's."""

_UNUSABLE: tuple[tuple[IPNetwork, str], ...] = (
    (IPv4Network("0.0.0.0/8"), '"this network" addresses'),
    (IPv4Network("127.0.0.0/8"), "loopback addresses"),
    (IPv4Network("224.0.0.0/4"), "multicast addresses"),
    (IPv4Network("255.255.255.255/32"), "the broadcast address"),
    (IPv6Network("::/127"), "the unspecified and the loopback address"),
    (IPv6Network("::ffff:0:0/96"), "IPv4-mapped addresses"),
    (IPv6Network("fe80::/10"), "link-local addresses, which every interface has"),
    (IPv6Network("ff00::/8"), "multicast addresses"),
)
"""Ranges that no network can have. Source: IANA's special-purpose address registries (RFC 6890)."""


def complete_pools(
    requests: Sequence[PoolRequest],
    *,
    ipv4: bool,
    ipv6: bool,
    held: Iterable[tuple[str, Pool]],
    onlink: Iterable[IPNetwork],
    routed: Iterable[IPNetwork],
    host_key: str,
    default_pools: Sequence[AutomaticPool] = DEFAULT_POOLS,
) -> tuple[tuple[Pool, ...], tuple[str, ...]]:
    """One pool for each family that is switched on, IPv4 first, and warnings.

    `held` are the pools of other networks with the networks' names; `onlink` the prefixes of the host's
    interfaces, `routed` those behind a gateway; `host_key` makes the host's IPv6 prefix. Raises
    InvalidRequest, PoolOverlap, Exhausted.
    """
    wanted = {family: on for family, on in ((Family.V4, ipv4), (Family.V6, ipv6)) if on}
    if not wanted:
        raise InvalidRequest("a network needs IPv4, IPv6 or both", hint="leave out --ipv4=false, or add --ipv6")
    asked = _by_family(requests)
    automatic = {Family.V4: tuple(default_pools), Family.V6: (unique_local_pool(host_key),)}
    around = look_around(((name, pool.subnet) for name, pool in held), onlink, routed)
    warnings = [_unused(request) for family, request in asked.items() if family not in wanted]
    pools: list[Pool] = []
    for family in wanted:
        if family in asked:
            pool = _requested_pool(asked[family], around)
        else:
            subnet = choose_subnet(automatic[family], around)
            pool = Pool(subnet, _first_usable(subnet, ()), automatic=True)
        pools.append(pool)
        warnings += routed_overlaps(pool.subnet, around)
    return tuple(pools), tuple(warnings)


def _by_family(requests: Sequence[PoolRequest]) -> dict[Family, PoolRequest]:
    """Requests that name a subnet. One that names nothing at all (compose sends such) is no request."""
    asked: dict[Family, PoolRequest] = {}
    for request in requests:
        if request.subnet is None:
            _check_nothing(request)
            continue
        family = family_of(request.subnet)
        if family in asked:
            raise InvalidRequest(
                f"bridge driver doesn't support multiple subnets: {asked[family].subnet} and {request.subnet} "
                f"are both IPv{family}",
                hint="give at most one IPv4 and one IPv6 --subnet, or create two networks",
                subject=str(request.subnet),
            )
        asked[family] = request
    return asked


def _check_nothing(request: PoolRequest) -> None:
    given: list[tuple[str, object]] = [("gateway", request.gateway), ("ip-range", request.ip_range)]
    given += [(f"auxiliary address {name!r}", address) for name, address in request.auxiliary]
    for what, value in given:
        if value is not None:
            raise InvalidRequest(
                f"invalid {what} {value}: it comes without a subnet", hint="add --subnet ADDRESS/LENGTH around it"
            )


def _unused(request: PoolRequest) -> str:
    assert request.subnet is not None
    family = family_of(request.subnet)
    return f"subnet {request.subnet} is not used: IPv{family} is off for this network (--ipv{family} switches it on)"


def _requested_pool(request: PoolRequest, around: Surroundings) -> Pool:
    subnet = request.subnet
    assert subnet is not None
    for unusable, what in _UNUSABLE:
        if family_of(unusable) is family_of(subnet) and subnet.overlaps(unusable):
            raise InvalidRequest(
                f"invalid subnet {subnet}: it holds {what} ({unusable})",
                hint="use a private range, such as 10.200.0.0/24 or fd12:3456:789a::/64",
                subject=str(subnet),
            )
    _check_room(subnet)
    _check_ip_range(subnet, request.ip_range)
    _check_auxiliary(subnet, request.auxiliary)
    auxiliary = {address: name for name, address in request.auxiliary}
    gateway = request.gateway or _first_usable(subnet, auxiliary)
    _check_member(subnet, gateway, "gateway")
    if gateway in auxiliary:
        raise InvalidRequest(
            f"invalid auxiliary address {gateway} ({auxiliary[gateway]}): it is the gateway", subject=str(gateway)
        )
    check_free(subnet, around)
    return Pool(subnet, gateway, request.ip_range, request.auxiliary)


def _check_room(subnet: IPNetwork) -> None:
    """Whether there is an address for the gateway and one for an endpoint; an IPv4 /31 has both (RFC 3021)."""
    edges = {subnet.network_address, subnet.broadcast_address}
    usable = subnet.num_addresses - sum(bool(special_role(subnet, address)) for address in edges)
    if usable < ADDRESSES_MIN:
        longest = 31 if family_of(subnet) is Family.V4 else 126
        raise InvalidRequest(
            f"invalid subnet {subnet}: it has no room for a gateway and an endpoint",
            hint=f"give a prefix length of at most {longest}",
            subject=str(subnet),
        )


def _check_ip_range(subnet: IPNetwork, ip_range: IPNetwork | None) -> None:
    if ip_range is None:
        return
    start, end = ip_range.network_address, ip_range.broadcast_address
    if family_of(ip_range) is not family_of(subnet) or start not in subnet or end not in subnet:
        raise InvalidRequest(
            f"invalid ip-range {ip_range}: not inside of subnet {subnet}",
            hint=f"give an --ip-range that is part of {subnet}",
            subject=str(ip_range),
        )


def _check_auxiliary(subnet: IPNetwork, auxiliary: Sequence[tuple[str, IPAddress]]) -> None:
    names: dict[str, IPAddress] = {}
    addresses: dict[IPAddress, str] = {}
    for name, address in auxiliary:
        _check_member(subnet, address, f"auxiliary address {name!r}")
        if name in names:
            raise InvalidRequest(f"auxiliary address {name!r} is given twice: {names[name]} and {address}")
        if address in addresses:
            raise InvalidRequest(f"auxiliary addresses {addresses[address]!r} and {name!r} are both {address}")
        names[name], addresses[address] = address, name


def _check_member(subnet: IPNetwork, address: IPAddress, what: str) -> None:
    if family_of(address) is not family_of(subnet) or address not in subnet:
        raise InvalidRequest(
            f"invalid {what} {address}: not inside of subnet {subnet}",
            hint=f"give an address of {subnet}, or leave it out",
            subject=str(address),
        )
    role = special_role(subnet, address)
    if role:
        raise InvalidRequest(f"invalid {what} {address}: it is the {role} address of {subnet}", subject=str(address))


def _first_usable(subnet: IPNetwork, without: Iterable[IPAddress]) -> IPAddress:
    """The default gateway: the lowest address that can be an interface's. Raises InvalidRequest when there is none."""
    reserved = set(without)
    address = subnet.network_address
    while address in reserved or special_role(subnet, address):
        if address == subnet.broadcast_address:
            raise InvalidRequest(
                f"invalid subnet {subnet}: it has no address left for a gateway",
                hint="give a larger --subnet",
                subject=str(subnet),
            )
        address += 1
    return address
