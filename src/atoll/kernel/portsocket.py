"""One socket bound to one host port, to keep others from it.

Everything is of the network namespace of the thread that calls.
"""

import errno
import os
import resource
import socket
from ipaddress import IPv6Address

from atoll.errors import Exhausted, InvalidRequest, KernelError
from atoll.kernel.listeners import sockets_at
from atoll.model.addresses import Family, IPAddress, family_of, never_local
from atoll.model.ports import PortRange, Protocol

SOCKET_TYPES = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM}
"""Protocols that a port can be held in by a socket."""

_TCP_REPAIR = 19
"""linux/tcp.h; while it is on, bind() asks nobody (SK_FORCE_REUSE, net/ipv4/tcp.c). Needs CAP_NET_ADMIN."""

_SOCKET_FAMILIES = {Family.V4: socket.AF_INET, Family.V6: socket.AF_INET6}


def show_port(protocol: Protocol, address: IPAddress | None, port: int | PortRange) -> str:
    """A port or a range as people write it, `[::1]:8080/tcp`; None is shown as 0.0.0.0."""
    shown = address or Family.V4.unspecified
    host = f"[{shown}]" if isinstance(shown, IPv6Address) else str(shown)
    return f"{host}:{port}/{protocol.word}"


def addresses_to_bind(host_address: IPAddress | None) -> list[IPAddress]:
    """The addresses that hold `host_address`, None being every address of the host.

    Raises InvalidRequest for an IPv6 address on a host without IPv6.
    """
    if host_address is None:
        return [family.unspecified for family in Family if family is Family.V4 or _has_ipv6()]
    if family_of(host_address) is Family.V6 and not _has_ipv6():
        raise InvalidRequest(f"cannot publish on {host_address}: this host has no IPv6", hint="use an IPv4 address")
    return [host_address]


def require_local(address: IPAddress) -> None:
    """Raise InvalidRequest unless the kernel lets a socket have this address."""
    if address.is_unspecified:
        return
    reason = never_local(address)
    if reason:
        raise InvalidRequest(f"cannot publish on {address}: {reason} is no host's own")
    with _open(Protocol.UDP, family_of(address)) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError as error:
            raise _unbindable(Protocol.UDP, address, 0, error) from error
        if _is_broadcast(probe, address):
            raise InvalidRequest(
                f"cannot publish on {address}: the broadcast address of a network of this host is nobody's own",
                hint="ip -brief address",
            )


def _is_broadcast(probe: socket.socket, address: IPAddress) -> bool:
    """Whether a subnet's hosts all have the address: the kernel binds it, but doesn't connect without SO_BROADCAST."""
    try:
        probe.connect((str(address), 9))
    except OSError as error:
        return error.errno == errno.EACCES
    return False


def bind_port(
    protocol: Protocol, address: IPAddress, port: int, *, over_leftovers: bool = True
) -> socket.socket | None:
    """A socket that holds the port and never listens; None when another socket has it.

    Connections of a listener that is gone, and what TIME_WAIT keeps of them, are in nobody's way, which it takes a dump
    of the host's sockets to know; without `over_leftovers` they are in the way. An IPv6 socket leaves IPv4 alone.
    Raises InvalidRequest for an address that isn't this host's, Exhausted when no file is left to open, KernelError.
    """
    holding = _open(protocol, family_of(address))
    try:
        if _bind(holding, protocol, address, port, over_leftovers):
            return holding
    except BaseException:
        holding.close()
        raise
    holding.close()
    return None


def _bind(holding: socket.socket, protocol: Protocol, address: IPAddress, port: int, over_leftovers: bool) -> bool:
    try:
        holding.bind((str(address), port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise _unbindable(protocol, address, port, error) from error
        return over_leftovers and protocol is Protocol.TCP and _bind_over_leftovers(holding, address, port)
    return True


def _has_ipv6() -> bool:
    try:
        _open(Protocol.UDP, Family.V6).close()
    except KernelError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return False
        raise
    return True


def _open(protocol: Protocol, family: Family) -> socket.socket:
    """An unbound socket that, once bound, keeps packets and other programs away from its port."""
    try:
        holding = socket.socket(_SOCKET_FAMILIES[family], SOCKET_TYPES[protocol])
    except OSError as error:
        if error.errno != errno.EMFILE or not _raise_file_limit():
            raise _no_socket(error) from error
        return _open(protocol, family)
    if family is Family.V6:
        holding.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if protocol is Protocol.UDP:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    return holding


def _raise_file_limit() -> bool:
    """Raise the soft limit of open files to the hard one; False when it is there already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return True


def _bind_over_leftovers(holding: socket.socket, address: IPAddress, port: int) -> bool:
    """Bind a TCP port that only connections and TIME_WAIT remains of another socket have.

    SO_REUSEADDR can't do it: it fails where the other socket was without it, and as long as ours has it,
    any program that has it too may listen on our port. Looking comes after binding: who binds from then on
    meets this socket.
    """
    try:
        holding.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        holding.bind((str(address), port))
        holding.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 0)
    except OSError:
        return False
    inode = os.fstat(holding.fileno()).st_ino
    found = sockets_at(Protocol.TCP, port)
    others = [each for each in found if each.inode != inode and each.covers(address)]
    if any(each.holding for each in others):
        return False
    # Before Linux 6.8 bound sockets can't be seen, ours neither: then it needs a visible leftover to believe in one.
    return bool(others) or any(each.inode == inode for each in found)


def _unbindable(protocol: Protocol, address: IPAddress, port: int, error: OSError) -> InvalidRequest | KernelError:
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidRequest(f"cannot publish on {address}: not an address of this host", hint="ip -brief address")
    if error.errno == errno.EINVAL and address.is_link_local:
        return InvalidRequest(f"cannot publish on {address}: a link-local address belongs to one interface only")
    code = error.errno or 0
    return KernelError(
        f"cannot publish {show_port(protocol, address, port)}: {os.strerror(code).lower()}",
        errno=code,
        detail=f"bind: {errno.errorcode.get(code, code)}",
    )


def _no_socket(error: OSError) -> Exhausted | KernelError:
    code = error.errno or 0
    if code in (errno.EMFILE, errno.ENFILE):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return Exhausted(
            f"cannot hold another port: no file can be opened any more, the limit is {limit}",
            hint="raise LimitNOFILE of the service",
            detail=errno.errorcode[code],
        )
    return KernelError(f"cannot open a socket: {os.strerror(code).lower()}", errno=code)
