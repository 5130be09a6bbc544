"""The host ports of one key: ports in a row, each with a listener, that are served and end together."""

import socket
from collections.abc import Callable, Sequence

from atoll.errors import InvalidRequest
from atoll.model.ports import PORT_MAX, Protocol
from atoll.relay.tcp import TcpListener
from atoll.relay.udp import UdpListener
from atoll.relay.wire import RelayEntry, RelayTarget

Listener = TcpListener | UdpListener


class ServedRange:
    """Listeners on ports in a row; the first port leads to the target's port, the next ones to those after it.

    `listen` makes a listener of one socket and becomes its owner; an OSError of it ends those made before.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        target: RelayTarget,
        listen: Callable[[socket.socket, RelayTarget], Listener],
    ) -> None:
        self.target = target
        self._listeners: list[Listener] = []
        try:
            for offset, sock in enumerate(sockets):
                self._listeners.append(listen(sock, _target_at(target, offset)))
        except BaseException:
            self.close()
            raise

    @property
    def sockets(self) -> list[socket.socket]:
        """The bound sockets, by port. They stay the listeners'."""
        return [listener.sock for listener in self._listeners]

    def entry(self, key: str) -> RelayEntry:
        """What is served, with the counts of all ports together."""
        counts = [listener.counts for listener in self._listeners]
        open_, total, failed = (sum(one) for one in zip(*counts, strict=True))
        return RelayEntry(key, self.target, open_, total, failed)

    def retarget(self, target: RelayTarget) -> None:
        """Carry to another target from now on; those of the old one are ended."""
        self.target = target
        for offset, listener in enumerate(self._listeners):
            listener.retarget(_target_at(target, offset))

    def close(self) -> None:
        """Stop serving."""
        for listener in self._listeners:
            listener.close()

    def tick(self, now: float) -> bool:
        """End what is late. True while anything waits for time to pass."""
        waiting = [listener.tick(now) for listener in self._listeners]
        return any(waiting)


def in_a_row(key: str, sockets: Sequence[socket.socket], target: RelayTarget) -> list[socket.socket]:
    """The sockets by port. Raises InvalidRequest unless they are bound sockets of the target's protocol, on one
    address, with no port between them left out, and the target has as many ports."""
    kind = socket.SOCK_STREAM if target.protocol is Protocol.TCP else socket.SOCK_DGRAM
    if not sockets:
        raise InvalidRequest(f"relay key {key!r} is new, and no socket came with it")
    for sock in sockets:
        right = sock.family in (socket.AF_INET, socket.AF_INET6) and (sock.type, sock.proto) == (kind, target.protocol)
        if not right or not sock.getsockname()[1]:
            raise InvalidRequest(f"a socket of relay key {key!r} is not a bound {target.protocol.word} socket")
    found = sorted((sock.getsockname()[:2] for sock in sockets), key=lambda name: name[1])
    address, first = found[0]
    if found != [(address, first + offset) for offset in range(len(found))]:
        raise InvalidRequest(f"the sockets of relay key {key!r} are not one address's ports in a row")
    if target.port + len(found) - 1 > PORT_MAX:
        raise InvalidRequest(f"relay key {key!r} leads to ports above {PORT_MAX}")
    return sorted(sockets, key=lambda sock: sock.getsockname()[1])


def _target_at(target: RelayTarget, offset: int) -> RelayTarget:
    return RelayTarget(target.protocol, target.address, target.port + offset)
