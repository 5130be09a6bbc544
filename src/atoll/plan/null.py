"""The drivers that own no kernel state: `host` (the daemon's own namespace) and `null` (only loopback)."""

from atoll.model.facts import HostFacts
from atoll.model.items import Item
from atoll.model.network import Network
from atoll.model.sandbox import Endpoint


class NullCompiler:
    """Compiles to nothing: a member of such a network has what its namespace has anyway."""

    def network(self, network: Network, facts: HostFacts) -> tuple[Item, ...]:
        """Nothing."""
        return ()

    def endpoint(self, network: Network, endpoint: Endpoint, netns: str, facts: HostFacts) -> tuple[Item, ...]:
        """Nothing."""
        return ()
