"""Host ports held by sockets that are bound and never listen.

A port that the kernel's DNAT takes needs no listener, but without a socket on it another program could
bind it later, and would wait for connections that never reach it. Everything is of the network namespace of
the thread that calls.
"""

import socket
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from atoll.errors import PortTaken
from atoll.kernel.listeners import BoundSocket, first_in, holder_of, listeners, sockets_at
from atoll.kernel.portsocket import SOCKET_TYPES, addresses_to_bind, bind_port, require_local, show_port
from atoll.model.addresses import IPAddress
from atoll.model.heldports import HeldPorts
from atoll.model.names import short_id
from atoll.model.ports import PortBinding, PortRange, Protocol, addresses_meet

SOCKETS_PER_BINDING_MAX = 64
"""Longer ranges are claimed without sockets. A family counts apart."""

_Addresses = Mapping[IPAddress | None, Sequence[IPAddress]]
"""The addresses to bind by the host's address that was asked for."""

PORTS_BOUND_MAX = 256
"""Ports of one call beyond which none is bound. Two sockets a port: a thousand sockets take 7 ms to bind and 5 to
close, and a process may have as few as 20,000 files."""


class Survivor(typing.Protocol):
    """Another process of ours, which has sockets of held ports and may have outlived an earlier holder of them."""

    def sockets(self, protocol: Protocol, address: IPAddress, ports: PortRange) -> Sequence[socket.socket]:
        """Duplicates of its sockets of exactly these ports, by port; none when it hasn't all of them."""
        ...

    def parts(self, claimed: Iterable[tuple[Protocol, IPAddress, PortRange]]) -> Iterable[tuple[IPAddress, PortRange]]:
        """The parts of these ports that it has sockets of, with their address."""
        ...


class SocketHolder:
    """HostPorts over real sockets. Used by one thread, in the namespace whose ports it holds.

    Nothing but its own memory says which owner has what: a new process holds anew. Ports that can't be bound because
    `survivor` has them are nobody else's.
    """

    def __init__(self, survivor: Survivor | None = None) -> None:
        self._survivor = survivor
        self._held: dict[str, dict[PortBinding, tuple[socket.socket, ...]]] = {}
        self._ports = HeldPorts()
        """The ports of all that is held."""

    def hold(self, owner: str, bindings: Sequence[PortBinding]) -> None:
        """Hold all of `bindings` for `owner`, or none.

        A binding that this owner has already stays as it is; one that only overlaps it is taken. Raises
        PortTaken naming the holder, InvalidRequest for an address that isn't this host's, Exhausted
        when no file is left to open, KernelError.
        """
        had = self._held.get(owner, {})
        fresh = (binding for binding in bindings if binding not in had) if had else bindings
        new: dict[PortBinding, tuple[socket.socket, ...]] = dict.fromkeys(fresh, ())
        wanted = list(new)
        addresses = {address: addresses_to_bind(address) for address in {binding.host_address for binding in wanted}}
        for address in {address for several in addresses.values() for address in several}:
            require_local(address)
        with_them = self._require_unheld(owner, wanted)
        bound = [] if len(wanted) > PORTS_BOUND_MAX else [binding for binding in wanted if _is_bindable(binding)]
        if sum(len(binding.host) for binding in bound) > PORTS_BOUND_MAX:
            bound = []
        try:
            unbound = [binding for binding in wanted if not _is_bindable(binding)] if bound else wanted
            self._require_silence(unbound, addresses)
            for binding in bound:
                new[binding] = self._bind(binding, addresses[binding.host_address])
        except BaseException:
            for sockets in new.values():
                _close(sockets)
            raise
        if new:
            self._held.setdefault(owner, {}).update(new)
            self._ports = with_them

    def release(self, owner: str, bindings: Sequence[PortBinding] | None = None) -> None:
        """Let go of an owner's bindings, all of them by default. What is not held is no error."""
        held = self._held.get(owner, {})
        gone = [binding for binding in (tuple(held) if bindings is None else bindings) if binding in held]
        for binding in gone:
            _close(held.pop(binding))
        self._ports = self._ports.after(gone=gone)
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

    def _bind(self, binding: PortBinding, addresses: Sequence[IPAddress]) -> tuple[socket.socket, ...]:
        """The sockets of one binding. Raises PortTaken."""
        opened: list[socket.socket] = []
        try:
            for address in addresses:
                opened += self._bind_at(binding.protocol, address, binding.host)
        except BaseException:
            _close(opened)
            raise
        return tuple(opened)

    def _bind_at(self, protocol: Protocol, address: IPAddress, ports: PortRange) -> Sequence[socket.socket]:
        """The sockets of some ports of one address, ours or those of the survivor. Raises PortTaken."""
        opened: list[socket.socket] = []
        try:
            for port in range(ports.first, ports.last + 1):
                holding = bind_port(protocol, address, port, over_leftovers=False)
                if holding is None:
                    inherited = self._survivor.sockets(protocol, address, ports) if self._survivor is not None else ()
                    if inherited:
                        _close(opened)
                        return inherited
                    holding = bind_port(protocol, address, port)
                if holding is None:
                    raise taken(protocol, address, port)
                opened.append(holding)
        except BaseException:
            _close(opened)
            raise
        return opened

    def _require_unheld(self, owner: str, wanted: Sequence[PortBinding]) -> HeldPorts:
        """The held ports with these, none of which meets what is held here, or another of them."""
        with_them = self._ports.taking(wanted)
        if with_them is not None:
            return with_them
        earlier = [(other, each) for each, held in self._held.items() for other in held]
        for binding in wanted:
            for other, other_owner in earlier:
                if _overlap(binding, other):
                    port = max(binding.host.first, other.host.first)
                    address = binding.host_address or other.host_address
                    raise _taken_by_sandbox(binding.protocol, address, port, other_owner)
            earlier.append((binding, owner))
        raise AssertionError(f"{wanted} can't be had, and nobody has them")

    def _require_silence(self, claimed: Sequence[PortBinding], addresses: _Addresses) -> None:
        """No socket of the host has a port of these, which are claimed without sockets."""
        for protocol in {binding.protocol for binding in claimed}:
            mine = [binding for binding in claimed if binding.protocol is protocol]
            bits = HeldPorts().after(come=mine).meeting(protocol, None)
            near = self._strangers(listeners((protocol,), ports=bits), mine, addresses)
            by_port: dict[int, list[BoundSocket]] = {}
            for found in near:
                by_port.setdefault(found.port, []).append(found)
            for binding in mine if near else ():
                _require_silent(binding, by_port)

    def _strangers(
        self, there: list[BoundSocket], claimed: Sequence[PortBinding], addresses: _Addresses
    ) -> list[BoundSocket]:
        """Sockets that aren't the survivor's. It is asked once: it may have thousands."""
        if self._survivor is None or not there:
            return there
        places = ((each.protocol, address, each.host) for each in claimed for address in addresses[each.host_address])
        parts = self._survivor.parts(places)
        own = {(address, port) for address, part in parts for port in range(part.first, part.last + 1)}
        return [each for each in there if (each.address, each.port) not in own]


def taken(protocol: Protocol, address: IPAddress, port: int) -> PortTaken:
    """The error for a port that could not be bound, naming the process that has it."""
    found = [each for each in sockets_at(protocol, port) if each.covers(address)]
    # A connected UDP socket stands in the way too, a TCP connection doesn't.
    found.sort(key=lambda each: (not each.holding, each.inode == 0))
    return _taken_by_process(protocol, address, port, found[0] if found else None)


def _is_bindable(binding: PortBinding) -> bool:
    return binding.protocol in SOCKET_TYPES and len(binding.host) <= SOCKETS_PER_BINDING_MAX


def _require_silent(binding: PortBinding, by_port: Mapping[int, Sequence[BoundSocket]]) -> None:
    """None of these sockets, by their port, is in the way of a binding. Raises PortTaken."""
    ports = binding.host
    if len(ports) == 1:
        near = by_port.get(ports.first, ())
    else:
        near = [each for port, there in by_port.items() if ports.first <= port <= ports.last for each in there]
    found = first_in(near, binding.protocol, binding.host_address, ports)
    if found is not None:
        raise _taken_by_process(binding.protocol, binding.host_address or found.address, found.port, found)


def _overlap(one: PortBinding, other: PortBinding) -> bool:
    """True when both can't be held at once."""
    return (
        one.protocol is other.protocol
        and one.host.overlaps(other.host)
        and addresses_meet(one.host_address, other.host_address)
    )


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
