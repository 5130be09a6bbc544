"""Who has which port on this host, from one sock_diag dump a protocol and family.

Source: linux/inet_diag.h, man 7 sock_diag. Everything is of the calling thread's network namespace.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from atoll.errors import KernelError
from atoll.kernel.nlmsg import Exchange, Message, attributes
from atoll.model.addresses import IPAddress, family_of
from atoll.model.ports import PORT_MAX, PortRange, Protocol

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = struct.Struct("=BBBxI")
"""struct inet_diag_req_v2 up to its sockid: family, protocol, extensions, states as bits."""
_SOCKET_ID = struct.Struct(">HH16s16s12x")
"""struct inet_diag_sockid: source and destination port and address; interface and cookie left out."""
_ANSWER = struct.Struct("=BBxx48s4x4x4x4xI")
"""struct inet_diag_msg: family, state, sockid, inode."""
_PORT, _PORT_OFFSET = struct.Struct(">H"), 4
"""The source port in a struct inet_diag_msg."""
_SKV6ONLY = 11

_CLOSE, _LISTEN, _BOUND_INACTIVE = 7, 10, 13
"""TCP_CLOSE, TCP_LISTEN, TCP_BOUND_INACTIVE (since Linux 6.8), net/tcp_states.h."""
_ALL_STATES = 0xFFFFFFFF
_ASKED_STATES = {Protocol.TCP: 1 << _LISTEN | 1 << _BOUND_INACTIVE, Protocol.UDP: 1 << _CLOSE}
_HOLDING_STATES = {Protocol.TCP: (_LISTEN, _CLOSE), Protocol.UDP: (_CLOSE,)}
"""A merely bound TCP socket is asked for as BOUND_INACTIVE and told as CLOSE, as it is for other reasons never.
A connected UDP socket holds nothing: it gets its peer's packets only."""

ALL_PORTS = (1 << PORT_MAX + 1) - 1

LINKS_MAX = 200_000
"""How many descriptors of other processes `holder_of` looks at: about a quarter of a second."""


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A socket that is bound to a port.

    `address` of an IPv6 socket that is bound to an IPv4-mapped address is the IPv4 one. `v6only`
    False on `::` means it takes IPv4 too. `inode` 0: no process has it (TIME_WAIT). `holding`: it
    listens, or could; otherwise it is a connection, or what is left of one.
    """

    protocol: Protocol
    address: IPAddress
    port: int
    inode: int
    v6only: bool
    holding: bool

    def covers(self, address: IPAddress | None) -> bool:
        """True when binding `address` (None: every address of both families) would meet this socket."""
        if address is None:
            return True
        if family_of(self.address) is family_of(address):
            return self.address == address or self.address.is_unspecified or address.is_unspecified
        return self.address == IPv6Address(0) and not self.v6only


def listeners(
    protocols: tuple[Protocol, ...] = (Protocol.TCP, Protocol.UDP), *, ports: int = ALL_PORTS
) -> list[BoundSocket]:
    """Listening or merely bound TCP sockets, unconnected UDP sockets, of both families, on `ports` (bit N is port N).

    Merely bound TCP sockets are told from Linux 6.8 on. SCTP has none to tell of. Raises KernelError.
    """
    with Exchange(_NETLINK_SOCK_DIAG) as kernel:
        return [
            found
            for protocol in protocols
            if protocol in _ASKED_STATES
            for found in _dump(kernel, protocol, _ASKED_STATES[protocol], ports)
        ]


def sockets_at(protocol: Protocol, port: int) -> list[BoundSocket]:
    """Every socket with this local port, connections and TIME_WAIT included. Raises KernelError."""
    if protocol not in _ASKED_STATES:
        return []
    with Exchange(_NETLINK_SOCK_DIAG) as kernel:
        return list(_dump(kernel, protocol, _ALL_STATES, 1 << port, port=port))


def first_in(
    sockets: Iterable[BoundSocket], protocol: Protocol, address: IPAddress | None, ports: PortRange
) -> BoundSocket | None:
    """The holding socket with the lowest port of `ports` that binding `address` would meet."""
    met = (
        found
        for found in sockets
        if found.holding
        and found.protocol is protocol
        and ports.first <= found.port <= ports.last
        and found.covers(address)
    )
    return min(met, key=lambda found: found.port, default=None)


def holder_of(inode: int, *, proc: Path = Path("/proc")) -> str:
    """The process that has a socket, as `nginx (pid 123)`; "" when /proc doesn't tell.

    Costs a walk through the descriptors of every process, at most LINKS_MAX of them: for errors only.
    """
    if inode == 0:
        return ""
    wanted = f"socket:[{inode}]"
    looked_at = 0
    for pid in sorted(int(entry.name) for entry in os.scandir(proc) if entry.name.isdigit()):
        for link in _links(f"{proc}/{pid}/fd"):
            if link == wanted:
                return f"{_name_of(proc / str(pid))} (pid {pid})"
            looked_at += 1
            if looked_at >= LINKS_MAX:
                return ""
    return ""


def _dump(kernel: Exchange, protocol: Protocol, states: int, ports: int, *, port: int = 0) -> Iterator[BoundSocket]:
    """Sockets of one protocol with a local port of `ports`. The kernel is asked for `port` unless it is 0."""
    for family in (socket.AF_INET, socket.AF_INET6):
        sockid = _SOCKET_ID.pack(port, 0, b"", b"")
        try:
            answers = kernel.dump(_SOCK_DIAG_BY_FAMILY, _REQUEST.pack(family, protocol, 0, states) + sockid)
        except KernelError as error:
            # The family or the protocol's diagnosis module isn't there: no such sockets can be told of.
            if error.errno in (errno.ENOENT, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
                continue
            raise
        # The kernel's own filter lets merely bound sockets of other ports through. Looked at before they are decoded,
        # as a host may have thousands of them, all but a few of them ours.
        yield from (_decode(protocol, answer) for answer in answers if ports >> _local_port(answer) & 1)


def _local_port(answer: Message) -> int:
    return int(_PORT.unpack_from(answer.payload, _PORT_OFFSET)[0])


def _decode(protocol: Protocol, answer: Message) -> BoundSocket:
    family, state, sockid, inode = _ANSWER.unpack_from(answer.payload)
    port, _, source, _ = _SOCKET_ID.unpack(sockid)
    address = ip_address(source[:4] if family == socket.AF_INET else source)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    v6only = attributes(answer.payload, _ANSWER.size).get(_SKV6ONLY, b"\0")[0] != 0
    return BoundSocket(protocol, address, port, inode, v6only, holding=state in _HOLDING_STATES[protocol])


def _links(folder: str) -> Iterator[str]:
    """Where the descriptors of a process lead; nothing when it ends meanwhile."""
    try:
        descriptors = list(os.scandir(folder))
    except OSError:
        return
    for descriptor in descriptors:
        with suppress(OSError):
            yield os.readlink(descriptor.path)  # noqa: PTH115 - a Path for each would triple the cost


def _name_of(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "a process that just ended"
