"""Small worlds for tests of the pure rooms."""

import ipaddress

from atoll.model.addresses import interface_of, mac_of
from atoll.model.network import Driver, Network, Pool
from atoll.model.options import parse_bridge_options
from atoll.model.sandbox import Endpoint, NetnsEvidence, Sandbox, SandboxKind


def an_id(seed: int) -> str:
    """64 hex digits whose first 12 tell `seed` apart."""
    return f"{seed:012x}" + "0" * 52


def a_network(seed: int, name: str, *subnets: str, internal: bool = False, **options: str) -> Network:
    """A bridge network; the gateway is the first address of each subnet."""
    pools = []
    for text in subnets:
        subnet = ipaddress.ip_network(text)
        pools.append(Pool(subnet, subnet[1]))
    network_id = an_id(seed)
    return Network(
        network_id,
        name,
        Driver.BRIDGE,
        created_ns=seed,
        pools=tuple(pools),
        ipv4=any(pool.subnet.version == 4 for pool in pools),
        ipv6=any(pool.subnet.version == 6 for pool in pools),
        internal=internal,
        options=options,
        bridge=parse_bridge_options(options, ifname=f"at-{network_id[:12]}"),
    )


def a_sandbox(seed: int, name: str, **fields: object) -> Sandbox:
    """A made sandbox."""
    netns = NetnsEvidence(f"/run/netns/atoll-{an_id(seed)[:12]}", "", 0)
    return Sandbox(an_id(seed), name, SandboxKind.MADE, created_ns=seed, netns=netns, **fields)  # type: ignore[arg-type]


def an_endpoint(seed: int, network: Network, sandbox: Sandbox, host: int = 2, ifname: str = "eth0") -> Endpoint:
    """An endpoint with the `host`-th address of each pool."""
    addresses = tuple(interface_of(pool.subnet[host], pool.subnet) for pool in network.pools)
    endpoint_id = an_id(seed)
    return Endpoint(
        endpoint_id,
        network.id,
        sandbox.id,
        addresses=addresses,
        mac=mac_of(addresses[0].ip),
        host_ifname=f"av{endpoint_id[:12]}",
        ifname=ifname,
    )
