"""Between the engine, which says what the relay has to serve, and the relay's process, which knows ports one by one."""

import socket
from collections.abc import Callable, Sequence

from atoll.errors import AtollError
from atoll.kernel.holder import SocketHolder
from atoll.model.addresses import IPAddress
from atoll.model.ports import Protocol
from atoll.plan.publish import RelayNeed
from atoll.relay.client import RelayClient
from atoll.relay.wire import RelayTarget


def sync_relay(client: RelayClient, holder: SocketHolder) -> Callable[[tuple[RelayNeed, ...]], None]:
    """What makes the relay serve exactly the needs it is called with.

    It passes on the sockets by which `holder` has the ports; a binding that is held without sockets (a long range)
    can't be relayed and is left out.
    """

    def sync(needs: tuple[RelayNeed, ...]) -> None:
        desired: dict[str, RelayTarget] = {}
        sockets: dict[str, socket.socket] = {}
        for need in needs:
            for held in _sockets_of(holder, need):
                address, port = held.getsockname()[:2]
                key = _key(need.binding.protocol, address, port)
                inner = need.binding.container.first + port - need.binding.host.first
                desired[key] = RelayTarget(need.binding.protocol, need.target, inner)
                sockets[key] = held
        client.sync(desired, sockets)

    return sync


def inherit_from_relay(client: RelayClient) -> Callable[[Protocol, IPAddress, int], socket.socket | None]:
    """What asks the relay for a port's socket: it outlives the daemon, and so has ports that nobody else can bind."""

    def inherit(protocol: Protocol, address: IPAddress, port: int) -> socket.socket | None:
        try:
            return client.take(_key(protocol, str(address), port))
        except AtollError:
            return None

    return inherit


def _sockets_of(holder: SocketHolder, need: RelayNeed) -> Sequence[socket.socket]:
    held = holder.sockets(need.sandbox_id)
    return [each for binding, each in held if binding == need.binding and each.family is socket.AF_INET6]


def _key(protocol: Protocol, address: str, port: int) -> str:
    return f"{protocol.word} {address} {port}"
