"""Host ports held by sockets that are bound and never listen.

A port that the kernel's DNAT takes needs no listener, but without a socket on it another program could
bind it later, and would wait for connections that never reach it. Everything is of the network namespace of
the thread that calls.
"""

import socket
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path

from atoll.errors import PortTaken
from atoll.kernel.listeners import BoundSocket, first_in, holder_of, listeners, sockets_at
from atoll.kernel.portsocket import SOCKET_TYPES, addresses_to_bind, bind_port, require_local, show_port
from atoll.model.addresses import IPAddress, family_of
from atoll.model.names import short_id
from atoll.model.ports import PortBinding, PortRange, Protocol

SOCKETS_PER_BINDING_MAX = 64
"""Longer ranges are claimed without sockets. A family counts apart."""


class Survivor(typing.Protocol):
    """Another process of ours, which has sockets of held ports and may have outlived an earlier holder of them."""

    def sockets(self, protocol: Protocol, address: IPAddress, ports: PortRange) -> Sequence[socket.socket]:
        """Duplicates of its sockets of exactly these ports, by port; none when it hasn't all of them."""
        ...

    def parts(self, protocol: Protocol, address: IPAddress, ports: PortRange) -> Iterable[PortRange]:
        """The parts of these ports that it has sockets of."""
        ...


class SocketHolder:
    """HostPorts over real sockets. Used by one thread, in the namespace whose ports it holds.

    Nothing but its own memory says which owner has what: a new process holds anew. Ports that can't be bound because
    `survivor` has them are nobody else's.
    """

    def __init__(self, survivor: Survivor | None = None) -> None:
        self._survivor = survivor
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

    def sockets_of(self, owner: str, binding: PortBinding) -> tuple[socket.socket, ...] | None:
        """Those of `sockets` that hold one binding; empty when it is held without sockets, None when it isn't held."""
        return self._held.get(owner, {}).get(binding)

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
                opened += self._bind(binding.protocol, address, binding.host)
        except BaseException:
            _close(opened)
            raise
        return tuple(opened)

    def _bind(self, protocol: Protocol, address: IPAddress, ports: PortRange) -> Sequence[socket.socket]:
        """The sockets of some ports of one address, ours or those of an heir. Raises PortTaken."""
        opened: list[socket.socket] = []
        try:
            for port in range(ports.first, ports.last + 1):
                holding = bind_port(protocol, address, port)
                if holding is None:
                    inherited = self._inherit(protocol, address, ports, port)
                    _close(opened)
                    return inherited
                opened.append(holding)
        except BaseException:
            _close(opened)
            raise
        return opened

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
        there = listeners((binding.protocol,))
        found = first_in(there, binding.protocol, binding.host_address, binding.host)
        if found is not None:
            found = first_in(self._strangers(there, binding), binding.protocol, binding.host_address, binding.host)
        if found is not None:
            raise _taken_by_process(binding.protocol, binding.host_address or found.address, found.port, found)

    def _strangers(self, there: Iterable[BoundSocket], binding: PortBinding) -> list[BoundSocket]:
        """Sockets that aren't the survivor's, as far as they are in the way of `binding`."""
        if self._survivor is None:
            return list(there)
        own = {
            (address, port)
            for address in addresses_to_bind(binding.host_address)
            for part in self._survivor.parts(binding.protocol, address, binding.host)
            for port in range(part.first, part.last + 1)
        }
        return [each for each in there if (each.address, each.port) not in own]

    def _inherit(self, protocol: Protocol, address: IPAddress, ports: PortRange, busy: int) -> Sequence[socket.socket]:
        """The survivor's sockets of `ports`, of which `busy` can't be bound. Raises PortTaken naming who has that."""
        one = PortRange(busy, busy)
        wanted = PortBinding(protocol, address, one, one)
        for owner, held in self._held.items():
            if any(_overlap(wanted, binding) for binding in held):
                raise _taken_by_sandbox(protocol, address, busy, owner)
        inherited = self._survivor.sockets(protocol, address, ports) if self._survivor is not None else ()
        if not inherited:
            raise taken(protocol, address, busy)
        return inherited


def taken(protocol: Protocol, address: IPAddress, port: int) -> PortTaken:
    """The error for a port that could not be bound, naming the process that has it."""
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


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()


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
