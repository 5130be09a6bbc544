"""Host ports held by sockets that are bound and never listen.

A port that the kernel's DNAT takes needs no listener, but without a socket on it another program could
bind it later, and would wait for connections that never reach it. Everything is of the network namespace of
the thread that calls.
"""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from atoll.errors import PortTaken
from atoll.kernel.listeners import BoundSocket, first_in, holder_of, listeners, sockets_at
from atoll.kernel.portsocket import SOCKET_TYPES, addresses_to_bind, bind_port, require_local, show_port
from atoll.model.addresses import IPAddress, family_of
from atoll.model.names import short_id
from atoll.model.ports import PortBinding, PortRange, Protocol

SOCKETS_PER_BINDING_MAX = 64
"""Longer ranges are claimed without sockets. A family counts apart."""

Inherit = Callable[[Protocol, IPAddress, int], socket.socket | None]
"""Gives the bound socket of a port, or None."""


class SocketHolder:
    """HostPorts over real sockets. Used by one thread, in the namespace whose ports it holds.

    Nothing but its own memory says which owner has what: a new process holds anew. `inherit` is asked for the
    socket of a port that can't be bound: another process of ours may have outlived an earlier holder with it.
    """

    def __init__(self, inherit: Inherit | None = None) -> None:
        self._inherit = inherit
        self._held: dict[str, dict[PortBinding, tuple[socket.socket, ...]]] = {}
        self._claims: dict[PortBinding, str] = {}
        """Owners of the bindings that have no sockets: they are found by looking, not by binding."""

    def hold(self, owner: str, bindings: Sequence[PortBinding]) -> None:
        """Hold all of `bindings` for `owner`, or none.

        A binding that this owner has already stays as it is; one that only overlaps it is taken. Raises
        PortTaken naming the holder, InvalidRequest for an address that isn't this host's, Exhausted
        when no file is left to open, KernelError.
        """
        had = self._held.get(owner, {})
        new: dict[PortBinding, tuple[socket.socket, ...]] = {}
        try:
            for binding in dict.fromkeys(bindings):
                if binding not in had:
                    new[binding] = self._take(binding)
                    self._held.setdefault(owner, {})[binding] = new[binding]
                    if not new[binding]:
                        self._claims[binding] = owner
        except BaseException:
            self.release(owner, tuple(new))
            raise

    def release(self, owner: str, bindings: Sequence[PortBinding] | None = None) -> None:
        """Let go of an owner's bindings, all of them by default. What is not held is no error."""
        held = self._held.get(owner, {})
        for binding in tuple(held) if bindings is None else bindings:
            for each in held.pop(binding, ()):
                each.close()
            if self._claims.get(binding) == owner:
                del self._claims[binding]
        if not held:
            self._held.pop(owner, None)

    def sockets(self, owner: str) -> list[tuple[PortBinding, socket.socket]]:
        """The sockets that hold an owner's bindings, by binding, IPv4 before IPv6, by port.

        They stay this holder's; one may be passed on (SCM_RIGHTS). The receiver of a TCP socket sets
        SO_REUSEADDR to listen in spite of remains of earlier connections, that of a UDP socket sets
        SO_RCVBUF: until then it holds nearly nothing. Bindings without sockets have none.
        """
        return [(binding, each) for binding, held in self._held.get(owner, {}).items() for each in held]

    def ephemeral(self) -> PortRange:
        """The host's range for automatic ports: net/ipv4/ip_local_port_range."""
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return PortRange(int(first), int(last))

    def _take(self, binding: PortBinding) -> tuple[socket.socket, ...]:
        """The sockets of one binding, none for one that is claimed by looking."""
        addresses = addresses_to_bind(binding.host_address)
        for address in addresses:
            require_local(address)
        self._require_unclaimed(binding)
        if binding.protocol not in SOCKET_TYPES or len(binding.host) > SOCKETS_PER_BINDING_MAX:
            self._require_silence(binding)
            return ()
        opened: list[socket.socket] = []
        try:
            for address in addresses:
                for port in range(binding.host.first, binding.host.last + 1):
                    holding = bind_port(binding.protocol, address, port)
                    if holding is None and self._inherit is not None:
                        holding = self._inherit(binding.protocol, address, port)
                    if holding is None:
                        raise self._taken(binding.protocol, address, port)
                    opened.append(holding)
        except BaseException:
            for each in opened:
                each.close()
            raise
        return tuple(opened)

    def _require_unclaimed(self, binding: PortBinding) -> None:
        """Against claims without sockets; those with sockets are met by binding."""
        for claim, owner in self._claims.items():
            if _overlap(binding, claim):
                port = max(binding.host.first, claim.host.first)
                raise _taken_by_sandbox(binding.protocol, binding.host_address or claim.host_address, port, owner)

    def _require_silence(self, binding: PortBinding) -> None:
        """Nobody has a port of `binding`: neither an owner here nor a socket of the host."""
        for owner, held in self._held.items():
            for other in held:
                if _overlap(binding, other):
                    port = max(binding.host.first, other.host.first)
                    raise _taken_by_sandbox(binding.protocol, binding.host_address or other.host_address, port, owner)
        found = first_in(listeners((binding.protocol,)), binding.protocol, binding.host_address, binding.host)
        if found is not None:
            raise _taken_by_process(binding.protocol, binding.host_address or found.address, found.port, found)

    def _taken(self, protocol: Protocol, address: IPAddress, port: int) -> PortTaken:
        """The error for a port that could not be bound, naming who has it."""
        one = PortRange(port, port)
        wanted = PortBinding(protocol, address, one, one)
        for owner, held in self._held.items():
            if any(_overlap(wanted, binding) for binding in held):
                return _taken_by_sandbox(protocol, address, port, owner)
        found = [each for each in sockets_at(protocol, port) if each.covers(address)]
        # A connected UDP socket stands in the way too, a TCP connection doesn't.
        found.sort(key=lambda each: (not each.holding, each.inode == 0))
        return _taken_by_process(protocol, address, port, found[0] if found else None)


def _overlap(one: PortBinding, other: PortBinding) -> bool:
    """True when both can't be held at once."""
    return (
        one.protocol is other.protocol
        and one.host.overlaps(other.host)
        and _addresses_meet(one.host_address, other.host_address)
    )


def _addresses_meet(one: IPAddress | None, other: IPAddress | None) -> bool:
    if one is None or other is None or one == other:
        return True
    return family_of(one) is family_of(other) and (one.is_unspecified or other.is_unspecified)


def _taken_by_sandbox(protocol: Protocol, address: IPAddress | None, port: int, owner: str) -> PortTaken:
    return PortTaken(
        f"cannot publish {show_port(protocol, address, port)}: the port is held by sandbox {short_id(owner)}",
        hint=f"atoll sandbox inspect {short_id(owner)}",
        subject=owner,
    )


def _taken_by_process(protocol: Protocol, address: IPAddress, port: int, found: BoundSocket | None) -> PortTaken:
    holder = holder_of(found.inode) if found else ""
    kinds = {Protocol.TCP: "t", Protocol.UDP: "u", Protocol.SCTP: "S"}
    return PortTaken(
        f"cannot publish {show_port(protocol, address, port)}: the port is held by {holder or 'an unknown process'}",
        hint=f"ss -a{kinds[protocol]}np sport = :{port}",
    )
