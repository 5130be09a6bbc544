"""Which endpoint of a sandbox leads out, per family: it has the default route, and published ports lead to it."""

from atoll.model.addresses import Family
from atoll.model.network import Network
from atoll.model.sandbox import Endpoint
from atoll.model.world import World


def gateway_endpoint(world: World, sandbox_id: str, family: Family) -> tuple[Network, Endpoint] | None:
    """The endpoint with the highest gateway priority, ties by network name; internal networks never lead out.

    Source: Docker 28's rule for `gw-priority`. None when no network of the sandbox leads out.
    """
    candidates = [
        (world.networks[endpoint.network_id], endpoint)
        for endpoint in world.endpoints_of(sandbox_id)
        if endpoint.address(family) is not None
    ]
    leading_out = [(network, endpoint) for network, endpoint in candidates if not network.internal]
    return min(leading_out, key=lambda pair: (-pair[1].gateway_priority, pair[0].name), default=None)
