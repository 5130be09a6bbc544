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
        world = self._engine.world
        network = world.network(reference)
        if container.network is not None and (container.network.join or container.network.host):
            raise Conflict(
                "container sharing network namespace with another container or host cannot be connected to any other "
                "network"
            )
        if container.id in world.sandboxes:
            await self._leave_none(container)
            await self._queue.run(self._engine.connect, network.id, container.id, wanted)
        elif any(_means(each, network) for each in _asked(container).endpoints):
            raise Conflict(f"endpoint with name {container.name} already exists in network {network.name}")
        fresh = replace(wanted, network=network.name)

        def joined(record: Container) -> Container:
            asked = _asked(record)
            # One that was taken off its last network is on none only until the next.
            kept = tuple(each for each in asked.endpoints if each.network != _NONE or _wants_none(record))
            return replace(record, network=replace(asked, endpoints=(*kept, fresh)))

        await self._runtime.containers.set_network(container.id, joined)
        await self._runtime.renew_files(container.id)

    async def _leave_none(self, container: Container) -> None:
        """Take one off the network none that is there only because it was started without any other."""
        world = self._engine.world
        there = [world.networks[endpoint.network_id].name for endpoint in world.endpoints_of(container.id)]
        if _NONE in there and not _wants_none(container):
            await self._queue.run(self._engine.disconnect, _NONE, container.id)

    async def disconnect(self, reference: str, container: Container, *, force: bool) -> None:
        """Take a container off a network. Raises NotFound, Conflict and what the engine raises."""
        world = self._engine.world
        network = world.network(reference)
        if container.id in world.sandboxes:
            await self._queue.run(self._engine.disconnect, network.id, container.id, force=force)
        elif not any(_means(each, network) for each in _asked(container).endpoints):
            raise Conflict(f"container {container.name} is not connected to network {network.name}")

        def left(record: Container) -> Container:
            asked = _asked(record)
            kept = tuple(each for each in asked.endpoints if not _means(each, network))
            # None at all would mean the default one.
            return replace(record, network=replace(asked, endpoints=kept or (EndpointRequest(_NONE),)))

        await self._runtime.containers.set_network(container.id, left)
        await self._runtime.renew_files(container.id)


def _wants_none(container: Container) -> bool:
    return container.host.network_mode == _NONE


def _asked(container: Container) -> SandboxRequest:
    return container.network or SandboxRequest("")


def _means(asked: EndpointRequest, network: Network) -> bool:
    """Whether an endpoint was asked for on this network, by its name or its id."""
    return asked.network in (network.name, network.id) or (
        len(asked.network) >= 12 and network.id.startswith(asked.network)
    )
