"""Between the engine, which says what the relay has to serve, and the relay's process, which knows keys and sockets.

A key stands for at most SOCKETS_MAX ports in a row of one host address: `tcp :: 8080`, `udp fd00::1 13000-13063`.
A range that the holder has sockets of is one key. A longer one is cut into several; their sockets are opened for the
relay alone.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from atoll.errors import AtollError
from atoll.kernel.holder import SocketHolder, taken
from atoll.kernel.portsocket import bind_port, show_port
from atoll.model.addresses import Family, IPAddress
from atoll.model.ports import PortRange, Protocol
from atoll.plan.publish import RelayNeed
from atoll.relay.client import RelayClient
from atoll.relay.wire import RelayTarget
from atoll.service.packet import SOCKETS_MAX


@dataclass(frozen=True, slots=True)
class _Part:
    """Ports of a need under one key."""

    need: RelayNeed
    address: IPAddress
    ports: PortRange

    @property
    def key(self) -> str:
        return _key(self.need.binding.protocol, self.address, self.ports)

    @property
    def target(self) -> RelayTarget:
        binding = self.need.binding
        first = binding.container.first + self.ports.first - binding.host.first
        return RelayTarget(binding.protocol, self.need.target, first)


class Relaying:
    """Makes the relay serve what the engine says; a SyncRelay."""

    def __init__(self, client: RelayClient, holder: SocketHolder) -> None:
        self._client = client
        self._holder = holder

    def __call__(self, needs: tuple[RelayNeed, ...], gone: tuple[RelayNeed, ...] | None = None) -> Mapping[str, str]:
        """Serve exactly `needs`, or change what is served; why not, by sandbox id, for what can't be served.

        A binding that isn't held is left out: whoever has its ports was named when they could not be held. Raises
        Unavailable.
        """
        held = (need for need in needs if self._holder.sockets_of(need.sandbox_id, need.binding) is not None)
        parts = {part.key: part for need in held for part in _parts(need)}
        wanted = {key: part.target for key, part in parts.items()}

        def lend(key: str) -> AbstractContextManager[Sequence[socket.socket]]:
            return self._lend(parts[key])

        if gone is None:
            failed = self._client.sync(wanted, lend)
        else:
            served = {part.key: part.target for need in gone for part in _parts(need)}
            failed = self._client.change(served, wanted, lend)
        problems: dict[str, str] = {}
        for key, reason in failed.items():
            part = parts[key]
            shown = show_port(part.need.binding.protocol, part.address, part.ports)
            problems.setdefault(part.need.sandbox_id, f"{shown} is not served: {reason}")
        return problems

    @contextmanager
    def _lend(self, part: _Part) -> Iterator[Sequence[socket.socket]]:
        """The holder's sockets of a part, or some that are ours only until the relay has them. Raises PortTaken."""
        held = self._holder.sockets_of(part.need.sandbox_id, part.need.binding)
        if held:
            yield [each for each in held if each.family is socket.AF_INET6]
            return
        with ExitStack() as stack:
            yield [stack.enter_context(_open(part, port)) for port in range(part.ports.first, part.ports.last + 1)]


class RelayedPorts:
    """The sockets of the relay, which outlives the daemon with ports that nobody else can bind; a Survivor."""

    def __init__(self, client: RelayClient) -> None:
        self._client = client

    def sockets(self, protocol: Protocol, address: IPAddress, ports: PortRange) -> Sequence[socket.socket]:
        """Duplicates of the sockets of these ports, none when the relay doesn't serve them."""
        try:
            return self._client.take(_key(protocol, address, ports))
        except AtollError:
            return ()

    def parts(self, protocol: Protocol, address: IPAddress, ports: PortRange) -> list[PortRange]:
        """Those of these ports that the relay serves."""
        try:
            served = self._client.entries()
        except AtollError:
            return []
        return [part for part in _cut(ports) if _key(protocol, address, part) in served]


def _parts(need: RelayNeed) -> Iterator[_Part]:
    # Only IPv6 clients need the relay.
    address = need.binding.host_address or Family.V6.unspecified
    for ports in _cut(need.binding.host):
        yield _Part(need, address, ports)


def _cut(ports: PortRange) -> list[PortRange]:
    starts = range(ports.first, ports.last + 1, SOCKETS_MAX)
    return [PortRange(first, min(first + SOCKETS_MAX - 1, ports.last)) for first in starts]


def _key(protocol: Protocol, address: IPAddress, ports: PortRange) -> str:
    return f"{protocol.word} {address} {ports}"


def _open(part: _Part, port: int) -> socket.socket:
    protocol = part.need.binding.protocol
    opened = bind_port(protocol, part.address, port)
    if opened is None:
        raise taken(protocol, part.address, port)
    return opened
