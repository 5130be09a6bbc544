"""An endpoint's address: the lowest free one of a pool, or a given one if it may be had.

What is never given out, as in Docker: IPv4's network and broadcast address (a /31 or /32 has none), IPv6's
subnet-router anycast address (all host bits zero, RFC 4291 section 2.6.1), the gateway, auxiliary addresses.
"""

from atoll.errors import Conflict, Exhausted, InvalidRequest
from atoll.model.addresses import Family, IPAddress, IPNetwork, family_of
from atoll.model.network import Pool
from atoll.model.runs import Runs


def choose(
    pool: Pool, taken: Runs, *, offset: int | None = None, last: IPAddress | None = None, network: str = ""
) -> IPAddress:
    """The lowest address of the pool's ip_range, or of its subnet, that isn't `taken`: O(log n).

    The one that is `offset` behind the subnet's first goes before all others if it may be had. With `last` the search
    goes on behind that address and comes round, so that a released one rests for a while. Raises Exhausted with the
    numbers, naming `network`.
    """
    within = pool.ip_range or pool.subnet
    first, final = int(within.network_address), int(within.broadcast_address)
    reserved = _reserved(pool)
    found = None
    if offset is not None:
        beside = int(pool.subnet.network_address) + offset
        if first <= beside <= final:
            found = _lowest(taken, reserved, beside, beside)
    if found is None and last is not None and last in within and int(last) < final:
        found = _lowest(taken, reserved, int(last) + 1, final)
    if found is None:
        found = _lowest(taken, reserved, first, final)
    if found is None:
        raise _exhausted(pool, within, reserved, network)
    return type(within.network_address)(found)


def check_static(pool: Pool, address: IPAddress, taken_by: str, *, network: str = "") -> None:
    """Whether `address` may be given to an endpoint that asks for it: any of the subnet, inside of ip_range or not.

    `taken_by` is the name of its holder, "" when it is free. Raises InvalidRequest for an address that no
    endpoint of `network` can have, Conflict naming what has it.
    """
    where = f" of network {network}" if network else ""
    if family_of(address) is not pool.family or address not in pool.subnet:
        raise InvalidRequest(
            f"invalid address {address}: outside of subnet {pool.subnet}{where}",
            hint=f"give an address of {pool.subnet}, or none",
            subject=str(address),
        )
    role = special_role(pool.subnet, address)
    if role:
        raise InvalidRequest(f"invalid address {address}: it is the {role} address of {pool.subnet}{where}")
    if address == pool.gateway:
        raise InvalidRequest(f"invalid address {address}: it is the gateway{where}", subject=str(address))
    for name, auxiliary in pool.auxiliary:
        if address == auxiliary:
            raise Conflict(
                f"address {address} is reserved: it is the auxiliary address {name!r}{where}", subject=str(address)
            )
    if taken_by:
        raise Conflict(
            f"address {address}{where} is already in use by {taken_by}",
            hint=f"atoll sandbox inspect {taken_by}",
            subject=str(address),
        )


def special_role(subnet: IPNetwork, address: IPAddress) -> str:
    """What keeps `address` from being an interface's: "network", "broadcast", "subnet-router anycast", or ""."""
    if family_of(subnet) is Family.V6:
        return "subnet-router anycast" if address == subnet.network_address else ""
    if subnet.num_addresses <= 2:
        return ""
    return {subnet.network_address: "network", subnet.broadcast_address: "broadcast"}.get(address, "")


def _reserved(pool: Pool) -> frozenset[int]:
    edges = (pool.subnet.network_address, pool.subnet.broadcast_address)
    special = [address for address in edges if special_role(pool.subnet, address)]
    return frozenset(map(int, (*special, pool.gateway, *(address for _, address in pool.auxiliary))))


def _lowest(taken: Runs, reserved: frozenset[int], first: int, final: int) -> int | None:
    found = taken.lowest_free(first, final)
    while found is not None and found in reserved:
        found = taken.lowest_free(found + 1, final)
    return found


def _exhausted(pool: Pool, within: IPNetwork, reserved: frozenset[int], network: str) -> Exhausted:
    usable = within.num_addresses - sum(1 for number in reserved if type(within.network_address)(number) in within)
    name = f"--ip-range {within}" if pool.ip_range else str(within)
    where = f" of network {network}" if network else ""
    numbers = f"{usable} of {usable} are in use" if usable else "all it has are reserved"
    hint = "remove an endpoint, or create a network with a larger --subnet"
    if pool.ip_range and pool.ip_range != pool.subnet:
        hint = f"give an address of {pool.subnet} outside of the range with ip="
    return Exhausted(f"no free address in {name}{where}: {numbers}", hint=hint, subject=network)
