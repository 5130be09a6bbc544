"""Between the engine, which says what the relay has to serve, and the relay's process, which knows keys and sockets.

A key stands for at most KEY_PORTS_MAX ports in a row of one host address: `tcp :: 8080`, `udp fd00::1 13000-13063`.
A range that the holder has sockets of is one key, and the relay gets them. A longer one is cut into several, whose
ports the relay opens itself: it is in our network namespace.
"""

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from atoll.engine.relays import Answer
from atoll.errors import AtollError
from atoll.kernel.holder import SocketHolder, taken
from atoll.kernel.portsocket import bind_port, show_port
from atoll.model.addresses import Family, IPAddress
from atoll.model.ports import PortBinding, PortRange, Protocol
from atoll.plan.publish import RelayNeed
from atoll.relay.client import Offer, RelayClient
from atoll.relay.messages import KEY_PORTS_MAX, Opened, RelayTarget

SECOND_TRIES_MAX = 64
"""Keys of which it is found out who has their ports, which may take a walk through all processes."""


class _Part(NamedTuple):
    """Ports of a binding under one key, and where they lead."""

    key: str
    binding: PortBinding
    address: IPAddress
    ports: PortRange
    target: RelayTarget


class Relaying:
    """Makes the relay serve what the engine says; a SyncRelay."""

    def __init__(self, client: RelayClient, holder: SocketHolder) -> None:
        self._client = client
        self._holder = holder

    def __call__(self, needs: tuple[RelayNeed, ...], gone: tuple[RelayNeed, ...] | None = None) -> Answer:
        """Serve exactly `needs`, or change what is served; why not, by sandbox id, for what can't be served.

        A binding that isn't held is left out: whoever has its ports was named when they could not be held. Raises
        Unavailable.
        """
        desired = {key: offer for need in needs for key, offer in self._offers(need)}
        if gone is None:
            failed = self._client.sync(desired)
            return lambda: self._problems(needs, failed)
        change = self._client.change({part.key: part.target for need in gone for part in _parts(need)}, desired)
        return lambda: self._problems(needs, change.finish())

    def _offers(self, need: RelayNeed) -> Iterator[tuple[str, Offer]]:
        for part in _parts(need):
            held = self._holder.sockets_of(need.sandbox_id, part.binding)
            if held:
                yield part.key, Offer(part.target, [each for each in held if each.family is socket.AF_INET6])
            elif held is not None:
                yield part.key, Offer(part.target, Opened(part.address, part.ports))

    def _problems(self, needs: Iterable[RelayNeed], failed: Mapping[str, str]) -> Mapping[str, str]:
        """Why not, by sandbox id, after a second try for what the relay could not open."""
        if not failed:
            return {}
        refused = {part.key: (need, part) for need in needs for part in _parts(need) if part.key in failed}
        reasons = {
            **failed,
            **self._lend({key: part for key, (need, part) in refused.items() if self._bare(need, part)}),
        }
        problems: dict[str, str] = {}
        for key, (need, part) in refused.items():
            if reasons[key]:
                shown = show_port(part.binding.protocol, part.address, part.ports)
                problems.setdefault(need.sandbox_id, f"{shown} is not served: {reasons[key]}")
        return problems

    def _bare(self, need: RelayNeed, part: _Part) -> bool:
        """Whether a binding is held without sockets."""
        return not self._holder.sockets_of(need.sandbox_id, part.binding)

    def _lend(self, parts: Mapping[str, _Part]) -> dict[str, str]:
        """Lend the relay sockets that are ours only until it has them; why not by key, "" when they are served.

        Ours are bound over what is left of others' connections, and who has a port is named. Raises Unavailable.
        """
        reasons: dict[str, str] = {}
        with ExitStack() as stack:
            offers: dict[str, Offer] = {}
            for key in list(parts)[:SECOND_TRIES_MAX]:
                try:
                    offers[key] = Offer(parts[key].target, [stack.enter_context(each) for each in _opened(parts[key])])
                except AtollError as error:
                    reasons[key] = error.message
            served = self._client.change({}, offers).finish()
            return {**reasons, **{key: served.get(key, "") for key in offers}}


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

    def parts(self, claimed: Iterable[tuple[Protocol, IPAddress, PortRange]]) -> Iterator[tuple[IPAddress, PortRange]]:
        """Those of these ports that the relay serves, with their address."""
        try:
            served = self._client.entries()
        except AtollError:
            return
        for protocol, address, ports in claimed if served else ():
            yield from ((address, part) for part in _cut(ports) if _key(protocol, address, part) in served)


def _parts(need: RelayNeed) -> Iterator[_Part]:
    # Thousands of ports mostly have one address and lead to one port: what is made of these is made once.
    unspecified = Family.V6.unspecified
    target = RelayTarget(Protocol.TCP, need.target, 1)
    asked: tuple[Protocol, IPAddress] | None = None
    address_key = ""
    for binding in need.bindings:
        protocol = binding.protocol
        # Only IPv6 clients need the relay.
        address = binding.host_address or unspecified
        if asked is None or asked[0] is not protocol or asked[1] is not address:
            asked, address_key = (protocol, address), _address_key(protocol, address)
        for ports in _cut(binding.host):
            first = binding.container.first + ports.first - binding.host.first
            if first != target.port or protocol is not target.protocol:
                target = RelayTarget(protocol, need.target, first)
            yield _Part(f"{address_key} {ports}", binding, address, ports, target)


def _cut(ports: PortRange) -> Iterable[PortRange]:
    if len(ports) <= KEY_PORTS_MAX:
        return (ports,)
    starts = range(ports.first, ports.last + 1, KEY_PORTS_MAX)
    return [PortRange(first, min(first + KEY_PORTS_MAX - 1, ports.last)) for first in starts]


def _key(protocol: Protocol, address: IPAddress, ports: PortRange) -> str:
    return f"{_address_key(protocol, address)} {ports}"


def _address_key(protocol: Protocol, address: IPAddress) -> str:
    return f"{protocol.word} {address}"


def _opened(part: _Part) -> Iterator[socket.socket]:
    """Sockets bound to the ports of a part. Raises PortTaken."""
    for port in range(part.ports.first, part.ports.last + 1):
        sock = bind_port(part.binding.protocol, part.address, port)
        if sock is None:
            raise taken(part.binding.protocol, part.address, port)
        yield sock
