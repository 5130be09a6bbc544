"""Which endpoint of a sandbox leads out, per family: it has the default route, and published ports lead to it."""

from atoll.model.addresses import Family
from atoll.model.network import Network
from atoll.model.sandbox import Endpoint
from atoll.model.world import World


def gateway_endpoint(world: World, sandbox_id: str, family: Family) -> tuple[Network, Endpoint] | None:
    """The endpoint with the highest gateway priority, ties by network name; internal networks never lead out.

    Source: Docker 28's rule for `gw-priority`. None when no network of the sandbox leads out.
    """
    best: tuple[Network, Endpoint] | None = None
    for endpoint in world.endpoints_of(sandbox_id):
        network = world.networks[endpoint.network_id]
        if network.internal or endpoint.address(family) is None:
            continue
        if best is None or _order(network, endpoint) < _order(*best):
            best = network, endpoint
    return best


def _order(network: Network, endpoint: Endpoint) -> tuple[int, str]:
    return -endpoint.gateway_priority, network.name
