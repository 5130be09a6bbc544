"""Between the runtime, which belongs to the event loop, and the engine, which has the store and the networks."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from atoll.engine.engine import Engine
from atoll.engine.names import NameOptions
from atoll.model.addresses import Family, parse_address
from atoll.model.container import Container
from atoll.model.names import short_id
from atoll.model.network import DEFAULT_BRIDGE_NETWORK
from atoll.model.sandbox import SandboxKind
from atoll.model.world import World
from atoll.runtime.parts import SandboxView
from atoll.runtime.preparing import hostname_of

P = ParamSpec("P")
T = TypeVar("T")

NAME_SERVER = "127.0.0.11"
"""Where a container asks for names. Source: Docker."""
_RESOLV_CONF_BYTES_MAX = 65536


class Queue(Protocol):
    """The way into the engine's thread."""

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in the engine's thread. Raises Unavailable when too much waits."""
        ...


class EngineRecords:
    """Records of containers in the engine's store; a ContainerRecords."""

    def __init__(self, engine: Engine, queue: Queue) -> None:
        self._engine = engine
        self._queue = queue

    def load(self) -> Iterable[Container]:
        """All of them."""
        return tuple(self._engine.world.containers.values())

    async def put(self, container: Container) -> None:
        """Add or replace a record. Raises NameTaken (a sandbox has the name), StoreFull, StoreError."""
        await self._queue.run(self._engine.keep_container, container)

    async def delete(self, container: Container) -> None:
        """Remove a record. Raises StoreError."""
        await self._queue.run(self._engine.drop_container, container)


class EngineNetwork:
    """Sandboxes of containers, by the engine; a ContainerNetwork. `resolv_conf` is the host's file."""

    def __init__(self, engine: Engine, queue: Queue, resolv_conf: Path) -> None:
        self._engine = engine
        self._queue = queue
        self._resolv_conf = resolv_conf

    async def make_sandbox(self, container: Container) -> SandboxView:
        """The sandbox of a container, made when it is not there. Raises AtollError."""
        await self._queue.run(self._engine.create_container_sandbox, container)
        return view_of(self._engine.world, container, _text(self._resolv_conf))

    async def remove_sandbox(self, container: Container) -> None:
        """Take it away, or once nobody is joined to it any more."""
        await self._queue.run(self._engine.release_container_sandbox, container.id)


def view_of(world: World, container: Container, resolv_conf: str) -> SandboxView:
    """What a container is told of its sandbox, which is there. `resolv_conf` is the text of the host's. Effects: none.

    Who is in the host's namespace, or on no network, asks the host's resolvers, as in Docker.
    """
    sandbox = world.root_of(world.sandboxes[container.id])
    host = container.host
    own = sandbox.netns.path if sandbox.netns is not None else f"/proc/{os.getpid()}/ns/net"
    owner = world.containers.get(sandbox.id, container)
    addresses = [address.ip for each in world.endpoints_of(sandbox.id) for address in each.addresses]
    answered = sandbox.kind is SandboxKind.MADE and sandbox.resolves and bool(addresses)
    hostname = hostname_of(owner)
    domain = owner.config.domainname
    names = (f"{hostname}.{domain}", hostname) if domain else (hostname,)
    told = _words(resolv_conf)
    servers = (NAME_SERVER,) if answered else host.dns or told.get("nameserver", ())
    options = host.dns_options or told.get("options", ())
    bridge = world.network_named(DEFAULT_BRIDGE_NETWORK)
    pool = bridge.pool(Family.V4) if bridge is not None else None
    return SandboxView(
        own,
        hosts=tuple((str(address), names) for address in addresses),
        nameservers=tuple(servers),
        search=() if host.dns_search == (".",) else host.dns_search or told.get("search", ()),
        options=(*options, "ndots:0") if answered and not any(o.startswith("ndots:") for o in options) else options,
        host_gateway=str(pool.gateway) if pool is not None else "",
    )


def name_options(world: World, sandbox_id: str) -> NameOptions:
    """What a container wants of names; nothing of a sandbox that is none's."""
    container = world.containers.get(sandbox_id)
    if container is None:
        return NameOptions()
    hostname = container.config.hostname
    return NameOptions(
        hostnames=(hostname,) if hostname and hostname != short_id(sandbox_id) else (),
        servers=tuple(parse_address("DNS server", text) for text in container.host.dns),
        search=tuple(domain for domain in container.host.dns_search if domain != "."),
    )


def _words(resolv_conf: str) -> dict[str, tuple[str, ...]]:
    """`nameserver`, `search` and `options` of a resolv.conf; of the last two the last line counts, resolv.conf(5)."""
    found: dict[str, tuple[str, ...]] = {}
    for line in resolv_conf.splitlines():
        keyword, *values = line.split() or [""]
        if keyword == "nameserver":
            found[keyword] = (*found.get(keyword, ()), *values[:1])
        elif keyword in ("search", "options"):
            found[keyword] = tuple(values)
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_RESOLV_CONF_BYTES_MAX).decode("latin-1")
    except OSError:
        return ""
