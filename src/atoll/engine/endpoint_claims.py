"""Claims for endpoints: an address a family, a MAC, a name inside. Pure."""

from atoll.engine.host import Host
from atoll.errors import Conflict, Exhausted, Forbidden, InvalidRequest
from atoll.ipam.addresses import check_static, choose
from atoll.model.addresses import Family, IPAddress, IPInterface, family_of, interface_of, macs_of, parse_mac
from atoll.model.endpoint_options import IFNAME, parse_sysctls
from atoll.model.names import parse_ifname, parse_name
from atoll.model.network import Driver, Network, Pool
from atoll.model.sandbox import Endpoint, EndpointRequest, Sandbox, SandboxKind
from atoll.model.world import World
from atoll.plan.bridge import bridge_mac
from atoll.plan.driver import Naming
from atoll.plan.segments import SEGMENTS_MAX


def claim_endpoint(
    world: World,
    network: Network,
    sandbox: Sandbox,
    request: EndpointRequest,
    *,
    host: Host,
    naming: Naming,
    used_ifnames: frozenset[str],
) -> Endpoint:
    """The endpoint of `sandbox` on `network`, with what was asked and the rest chosen.

    `used_ifnames` are interfaces that the namespace has already. Raises InvalidRequest, Conflict
    (address, name or MAC in use, connected already), Forbidden (a shared namespace), Exhausted.
    """
    _check_mode(world, network, sandbox)
    endpoint_id = host.new_id()
    aliases = tuple(dict.fromkeys(parse_name("alias", alias) for alias in request.aliases))
    if network.driver is not Driver.BRIDGE:
        _check_bare(network, request)
        return Endpoint(endpoint_id, network.id, sandbox.id, aliases=aliases)
    addresses = _addresses(world, network, request)
    mac = _mac(world, network, request, addresses[0].ip)
    return Endpoint(
        id=endpoint_id,
        network_id=network.id,
        sandbox_id=sandbox.id,
        addresses=addresses,
        mac=mac,
        host_ifname=naming.host_ifname(endpoint_id),
        ifname=_ifname(network, sandbox, request, used_ifnames),
        aliases=aliases,
        gateway_priority=request.gateway_priority,
        static=request.addresses,
        static_mac=bool(request.mac),
        sysctls=parse_sysctls(request.driver_options),
        driver_options=request.driver_options,
        segment=_segment(world, network, naming.endpoints_max),
    )


def _check_mode(world: World, network: Network, sandbox: Sandbox) -> None:
    mine = world.endpoints_of(sandbox.id)
    if any(endpoint.network_id == network.id for endpoint in mine):
        raise Conflict(
            f"endpoint with name {sandbox.name} already exists in network {network.name}", subject=sandbox.name
        )
    if sandbox.kind is SandboxKind.JOINED:
        owner = world.root_of(sandbox).name
        raise Forbidden(
            f"{sandbox.name} shares the namespace of {owner} and can't be connected by itself",
            hint=f"atoll network connect {network.name} {owner}",
        )
    if sandbox.kind is SandboxKind.HOST and network.driver is not Driver.HOST:
        raise Forbidden(f"{sandbox.name} uses the host's own namespace and can't be connected to {network.name}")
    if network.driver is Driver.HOST and sandbox.kind is not SandboxKind.HOST:
        raise InvalidRequest(
            "container cannot be disconnected from host network or connected to host network",
            hint=f"atoll sandbox create NAME --network {network.name}",
        )
    drivers = {world.networks[endpoint.network_id].driver for endpoint in mine}
    if Driver.NULL in drivers or (network.driver is Driver.NULL and mine):
        raise InvalidRequest(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            hint=f"atoll network disconnect none {sandbox.name}",
        )


def _check_bare(network: Network, request: EndpointRequest) -> None:
    asked = [str(address) for address in request.addresses] + [text for text in (request.mac, request.ifname) if text]
    if asked:
        raise InvalidRequest(f"cannot use {asked[0]} on network {network.name}: it has no addresses or interfaces")


def _addresses(world: World, network: Network, request: EndpointRequest) -> tuple[IPInterface, ...]:
    asked: dict[Family, IPAddress] = {}
    for address in request.addresses:
        if family_of(address) in asked:
            raise InvalidRequest(f"two addresses of one family are asked: {asked[family_of(address)]} and {address}")
        if network.pool(family_of(address)) is None:
            raise InvalidRequest(
                f"invalid address {address}: network {network.name} has no IPv{address.version} subnet",
                hint=f"atoll network inspect {network.name}",
            )
        asked[family_of(address)] = address
    found: list[IPInterface] = []
    for pool in network.pools:
        # An IPv6 address that stands where the IPv4 one does has the same MAC whenever it is given out. Beside one that
        # was asked for it is the lowest, as Docker's.
        chosen = found and family_of(found[0]) not in asked
        offset = int(found[0].ip) - int(found[0].network.network_address) if chosen else None
        address = _one_address(world, network, pool, asked.get(pool.family), offset)
        found.append(interface_of(address, pool.subnet))
    return tuple(found)


def _one_address(world: World, network: Network, pool: Pool, asked: IPAddress | None, offset: int | None) -> IPAddress:
    taken = world.addresses_on(network.id, pool.family)
    if asked is None:
        return choose(pool, taken, offset=offset, network=network.name)
    holder = _holder(world, network, asked) if int(asked) in taken else ""
    check_static(pool, asked, holder, network=network.name)
    return asked


def _holder(world: World, network: Network, address: IPAddress) -> str:
    """The name of the sandbox that has an address."""
    return next(
        world.sandboxes[endpoint.sandbox_id].name
        for endpoint in world.endpoints_on(network.id)
        if any(interface.ip == address for interface in endpoint.addresses)
    )


def _mac(world: World, network: Network, request: EndpointRequest, address: IPAddress) -> str:
    if not request.mac:
        # IPv6 addresses that end alike have the same MAC derived.
        return next(mac for mac in macs_of(address) if not _mac_holder(world, network, mac))
    mac = parse_mac(request.mac)
    holder = _mac_holder(world, network, mac)
    if holder:
        raise Conflict(f"MAC address {mac} is in use on network {network.name} by {holder}", subject=mac)
    return mac


def _mac_holder(world: World, network: Network, mac: str) -> str:
    if mac == bridge_mac(network):
        return "its bridge"
    other = world.endpoint_with(network.id, mac)
    return world.sandboxes[other.sandbox_id].name if other is not None else ""


def _segment(world: World, network: Network, endpoints_max: int) -> int:
    """The lowest segment with room."""
    for segment in range(SEGMENTS_MAX):
        if world.count_on(network.id, segment) < endpoints_max:
            return segment
    raise Exhausted(
        f"network {network.name} has {SEGMENTS_MAX * endpoints_max} endpoints, as many as its bridges have ports for",
        hint="atoll network create ANOTHER",
        subject=network.name,
    )


def _ifname(network: Network, sandbox: Sandbox, request: EndpointRequest, used: frozenset[str]) -> str:
    asked = request.ifname or request.driver_options.get(IFNAME, "")
    if asked:
        if parse_ifname(asked) in used:
            raise Conflict(f"interface name {asked} is in use in sandbox {sandbox.name}", subject=asked)
        return asked
    assert network.bridge is not None, f"bridge network {network.name} without parsed options"
    prefix = network.bridge.ifname_prefix
    return next(name for index in range(len(used) + 1) if (name := f"{prefix}{index}") not in used)
