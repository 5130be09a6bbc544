"""The host ports of one key: ports in a row, each with a listener, that are served and end together."""

import socket
from collections.abc import Callable, Iterable, Sequence

from atoll.errors import InvalidRequest
from atoll.model.addresses import Family, family_of
from atoll.model.ports import PORT_MAX, Protocol
from atoll.relay.messages import Opened, RelayEntry, RelayTarget
from atoll.relay.tcp import TcpListener
from atoll.relay.udp import UdpListener

Listener = TcpListener | UdpListener

_KINDS = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM}
_FAMILIES = {Family.V4: socket.AF_INET, Family.V6: socket.AF_INET6}


class ServedRange:
    """Listeners on ports in a row; the first port leads to the target's port, the next ones to those after it.

    `listen` makes a listener of one socket and becomes its owner, also when it raises. Owns the `sockets`: an OSError
    ends them all.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        target: RelayTarget,
        listen: Callable[[socket.socket, RelayTarget], Listener],
    ) -> None:
        self.target = target
        self._listeners: list[Listener] = []
        left = iter(sockets)
        try:
            for offset, sock in enumerate(left):
                self._listeners.append(listen(sock, _target_at(target, offset)))
        except BaseException:
            self.close()
            _close_all(left)
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


def open_row(protocol: Protocol, source: Opened, host: str) -> list[socket.socket]:
    """Sockets bound to ports of this process's network namespace, by port. `host` is the address as text.

    A TCP port of which only connections of an earlier listener of ours remain is free: ours let it be reused. An IPv6
    socket leaves IPv4 alone. Raises OSError; then none is open.
    """
    family = _FAMILIES[family_of(source.address)]
    opened: list[socket.socket] = []
    try:
        for port in range(source.ports.first, source.ports.last + 1):
            sock = socket.socket(family, _KINDS[protocol], 0)
            opened.append(sock)
            if family is socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if protocol is Protocol.TCP:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
    except BaseException:
        _close_all(opened)
        raise
    return opened


def in_a_row(sockets: Sequence[socket.socket], protocol: Protocol) -> list[socket.socket]:
    """The sockets by port. Raises InvalidRequest unless they are bound sockets of the protocol, on one address, with no
    port between them left out."""
    if not sockets:
        raise InvalidRequest("the key is new, and no socket came with it")
    for sock in sockets:
        right = sock.family in _FAMILIES.values() and (sock.type, sock.proto) == (_KINDS[protocol], protocol)
        if not right or not sock.getsockname()[1]:
            raise InvalidRequest(f"a socket is not a bound {protocol.word} socket")
    found = sorted((sock.getsockname()[:2] for sock in sockets), key=lambda name: name[1])
    address, first = found[0]
    if found != [(address, first + offset) for offset in range(len(found))]:
        raise InvalidRequest("the sockets are not one address's ports in a row")
    return sorted(sockets, key=lambda sock: sock.getsockname()[1])


def require_ports(target: RelayTarget, count: int) -> None:
    """Raise InvalidRequest unless the target has `count` ports."""
    if target.port + count - 1 > PORT_MAX:
        raise InvalidRequest(f"the ports lead to ports above {PORT_MAX}")


def duplicates(sockets: Sequence[socket.socket]) -> list[socket.socket]:
    """The same sockets once more. Raises OSError; then none is open."""
    made: list[socket.socket] = []
    try:
        for sock in sockets:
            made.append(sock.dup())
    except OSError:
        _close_all(made)
        raise
    return made


def _close_all(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _target_at(target: RelayTarget, offset: int) -> RelayTarget:
    return RelayTarget(target.protocol, target.address, target.port + offset) if offset else target
