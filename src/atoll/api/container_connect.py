"""Networks of containers that are there: what is changed holds at once, and at every later start."""

from dataclasses import replace

from atoll.api.backend import Backend
from atoll.errors import Conflict, NotFound
from atoll.model.container import Container
from atoll.model.network import Network
from atoll.model.sandbox import EndpointRequest, SandboxRequest

_NONE = "none"


class ContainerConnections:
    """Connects containers and disconnects them, whether they run or not."""

    def __init__(self, backend: Backend) -> None:
        self._engine = backend.engine
        self._queue = backend.queue
        self._runtime = backend.runtime

    def find(self, reference: str) -> Container | None:
        """The container of that name or id; None when it is none's: sandboxes are connected by the engine alone."""
        try:
            return self._runtime.containers.find(reference)
        except NotFound:
            return None

    async def connect(self, reference: str, container: Container, wanted: EndpointRequest) -> None:
        """Connect a container to a network. Raises NotFound, Conflict and what the engine raises."""
        network = self._engine.world.network(reference)
        if container.network is not None and (container.network.join or container.network.host):
            raise Conflict(
                "container sharing network namespace with another container or host cannot be connected to any other "
                "network"
            )
        fresh = replace(wanted, network=network.name)

        def joined(record: Container) -> Container:
            asked = _asked(record)
            # The engine refuses it for one that has a sandbox, which may be on networks that were made anew.
            if record.id not in self._engine.world.sandboxes and any(_means(each, network) for each in asked.endpoints):
                raise Conflict(f"endpoint with name {record.name} already exists in network {network.name}")
            # One that was taken off its last network is on none only until the next.
            kept = tuple(each for each in asked.endpoints if each.network != _NONE or _wants_none(record))
            return replace(record, network=replace(asked, endpoints=(*kept, fresh)))

        async def commit(record: Container) -> None:
            await self._queue.run(self._engine.connect_container, network.id, fresh, record)

        await self._runtime.containers.change_network(container.id, joined, commit)

    async def disconnect(self, reference: str, container: Container) -> None:
        """Take a container off a network. Raises NotFound, Conflict and what the engine raises."""
        network = self._engine.world.network(reference)

        def left(record: Container) -> Container:
            asked = _asked(record)
            kept = tuple(each for each in asked.endpoints if not _means(each, network))
            if record.id not in self._engine.world.sandboxes and kept == asked.endpoints:
                raise Conflict(f"container {record.name} is not connected to network {network.name}")
            # None at all would mean the default one.
            return replace(record, network=replace(asked, endpoints=kept or (EndpointRequest(_NONE),)))

        async def commit(record: Container) -> None:
            await self._queue.run(self._engine.disconnect_container, network.id, record)

        await self._runtime.containers.change_network(container.id, left, commit)


def _wants_none(container: Container) -> bool:
    return container.host.network_mode == _NONE


def _asked(container: Container) -> SandboxRequest:
    return container.network or SandboxRequest("")


def _means(asked: EndpointRequest, network: Network) -> bool:
    """Whether an endpoint was asked for on this network, by its name or its id."""
    return asked.network in (network.name, network.id) or (
        len(asked.network) >= 12 and network.id.startswith(asked.network)
    )
