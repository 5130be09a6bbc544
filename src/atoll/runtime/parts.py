"""What containers need of others: a network, and a place for their records. The engine gives both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from atoll.model.container import Container


@dataclass(frozen=True, slots=True)
class SandboxView:
    """A sandbox as a container sees it: the path of its network namespace, and what its files in /etc say.

    `hosts` are addresses, each with its names; `host_gateway` is what `host-gateway` means as an extra host's address.
    """

    netns: str
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    host_gateway: str = ""


class ContainerNetwork(Protocol):
    """The network of containers."""

    async def make_sandbox(self, container: Container) -> SandboxView:
        """The sandbox of a container, made when it is not there: one that restarts keeps its own. Raises AtollError."""
        ...

    async def remove_sandbox(self, container: Container) -> None:
        """Take it away; one that isn't there is no error. Called when a container has ended and will not restart."""
        ...


class ContainerRecords(Protocol):
    """The records of containers in the engine's store. What `put` and `delete` did is there after a crash."""

    def load(self) -> Iterable[Container]:
        """All of them, at the start. Raises StoreCorrupt."""
        ...

    async def put(self, container: Container) -> None:
        """Add or replace a record: the commit point of a request. Raises StoreFull, StoreError."""
        ...

    async def delete(self, container: Container) -> None:
        """Remove a record. Raises StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something that happened to a container, in Docker's words: `create`, `start`, `die`, `health_status: healthy`.

    `attributes` are Docker's besides the labels: name, image, exitCode, signal, execID.
    """

    action: str
    container: Container
    time_ns: int
    attributes: Mapping[str, str] = field(default_factory=dict)
