"""Listening to what changes in the host's network namespace and in those it has numbers for.

A namespace gets its number (nsid) when a veth pair first leads into it, so a sandbox's inside reports as soon
as the sandbox is plugged in. Nothing of a namespace is kept open for that.

Source: man 7 netlink; net/netlink/af_netlink.c (do_one_broadcast); linux/net_namespace.h.
"""

import ctypes
import errno
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from atoll.errors import KernelError
from atoll.kernel import links
from atoll.kernel.nlmsg import HEADER, SOL_NETLINK, Exchange, Message, attribute, attributes, messages
from atoll.kernel.notices import Event, Notice, Subject, Transactions, decode_route, link_told_of
from atoll.kernel.rtnetlink import RouteSocket
from atoll.model.items import ROUTE_PROTOCOL

_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_ADD_MEMBERSHIP, _LISTEN_ALL_NSID = 1, 8
"""NETLINK_ADD_MEMBERSHIP; NETLINK_LISTEN_ALL_NSID, also the type of the control message with the nsid."""
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_ROUTE_GROUPS = (1, 3, 5, 7, 9, 11, 28)
"""RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, NSID, linux/rtnetlink.h."""
_NETFILTER_GROUPS = (7,)
"""NFNLGRP_NFTABLES, linux/netfilter/nfnetlink.h."""

_ELEMENT_KINDS = frozenset({0x0A0C, 0x0A0E})
"""NFT_MSG_NEWSETELEM and DELSETELEM of NFNL_SUBSYS_NFTABLES, linux/netfilter/nf_tables.h."""
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_NEWNEIGH, _RTM_DELNEIGH, _RTM_GETNSID = 24, 25, 28, 29, 90
_NLM_F_REPLACE, _NUD_PERMANENT = 0x100, 0x80
_NETNSA_NSID, _NETNSA_FD = 1, 3
_S32 = struct.Struct("=i")

RECEIVE_BUFFER_BYTES = 16 << 20
"""Some 5,000 link changes; they take memory only while they wait."""
DATAGRAM_BYTES_MAX = 1 << 16
DATAGRAMS_PER_READ_MAX = 512
"""Of each socket, so that a storm doesn't starve the reader's other work; the socket stays readable."""
PORTS_MAX = 4096
"""Port ids of our own that are remembered."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The kernel had more to tell than the buffer holds, so anything may have changed."""


_Received = tuple[bytes, int | None] | Lost
"""A datagram and the nsid it is from, None for our own namespace."""


class Monitor:
    """Notices of one host: links, addresses, routes, permanent neighbours, namespaces, nftables.

    The host is the namespace of the thread that makes it. Of routes it tells those with our protocol
    number, and any that replaces one; of neighbours no changes but those to permanent, and all removals.

    Read by one thread; `mine` may be called by another.
    """

    def __init__(self, *, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        """Open both sockets. Raises KernelError."""
        self._mine: dict[int, None] = {}
        self._transactions = Transactions()
        self.drained_ns = time.time_ns()
        """When `read` last began and took all there was: what happened before has been told."""
        self._buffer = bytearray(DATAGRAM_BYTES_MAX)
        self._route = _listen(_NETLINK_ROUTE, _ROUTE_GROUPS, receive_buffer_bytes, _route_filter())
        try:
            self._netfilter = _listen(_NETLINK_NETFILTER, _NETFILTER_GROUPS, receive_buffer_bytes, b"")
        except BaseException:
            self._route.close()
            raise
        self._asking = RouteSocket()
        # Read after listening has begun, so that no new link is missed.
        self._names = self._read_names()
        self._names_lost = False

    def filenos(self) -> tuple[int, int]:
        """What to wait on for reading, level-triggered."""
        return self._route.fileno(), self._netfilter.fileno()

    def mine(self, port_ids: Iterable[int]) -> None:
        """Remember netlink port ids (`getsockname()[0]`) of sockets that change things for us.

        Call it before the change. Sockets should have been bound to ids of our choice: the one that the
        kernel chooses is often the process's pid, which a process of another pid namespace may have too.
        """
        for port_id in port_ids:
            if port_id:
                self._mine[port_id] = None
        while len(self._mine) > PORTS_MAX:
            del self._mine[next(iter(self._mine))]

    def read(self) -> list[Notice | Lost]:
        """What has happened, in order for each of the two sockets; never waits.

        After Lost everything has to be looked at anew. At most DATAGRAMS_PER_READ_MAX a socket are taken.
        """
        found: list[Notice | Lost] = []
        begun_ns = time.time_ns()
        taken = list(islice(self._receive(self._route), DATAGRAMS_PER_READ_MAX))
        for received in _latest(taken):
            if isinstance(received, Lost):
                self._names_lost = True
                found.append(received)
                continue
            datagram, nsid = received
            for part in messages(datagram):
                notice = decode_route(part, nsid, own=self._is_mine(part))
                if notice is not None:
                    found.append(self._named(notice))
        if self._names_lost and len(taken) < DATAGRAMS_PER_READ_MAX:
            # Not before the last notice from before the loss, which would bring older names back.
            self._names, self._names_lost = self._read_names(), False
        others = list(islice(self._receive(self._netfilter), DATAGRAMS_PER_READ_MAX))
        if max(len(taken), len(others)) < DATAGRAMS_PER_READ_MAX:
            self.drained_ns = begun_ns
        for received in others:
            if isinstance(received, Lost):
                self._transactions.forget()
                found.append(received)
                continue
            datagram, nsid = received
            if self._is_mine_whole(datagram):
                continue
            for part in messages(datagram):
                found += self._transactions.feed(part, nsid, own=self._is_mine(part))
        return found

    def close(self) -> None:
        """Stop listening."""
        self._route.close()
        self._netfilter.close()
        self._asking.close()

    def _read_names(self) -> dict[int, str]:
        found = (links.decode_link(payload) for payload in self._asking.dump(links.all_links()))
        return {link.index: link.ifname for link in found}

    def _named(self, notice: Notice) -> Notice:
        """The notice with its interface's name, which the kernel tells only of links and IPv4 addresses."""
        if notice.nsid is not None or not notice.ifindex:
            return notice
        if notice.subject is not Subject.LINK:
            return replace(notice, ifname=notice.ifname or self._names.get(notice.ifindex, ""))
        if notice.event is Event.NEW:
            self._names[notice.ifindex] = notice.ifname
        else:
            self._names.pop(notice.ifindex, None)
        return notice

    def _is_mine(self, part: Message) -> bool:
        return part.port in self._mine

    def _is_mine_whole(self, datagram: bytes) -> bool:
        """True for elements of a transaction of ours: there may be thousands, and that it was made is told by its end.

        One datagram never holds parts of two transactions (nft_commit_notify, net/netfilter/nf_tables_api.c).
        """
        if len(datagram) < HEADER.size:
            return False
        _, kind, _, _, port = HEADER.unpack_from(datagram)
        return kind in _ELEMENT_KINDS and port in self._mine

    def _receive(self, source: socket.socket) -> Iterator[_Received]:
        """What waits."""
        view = memoryview(self._buffer)
        while True:
            try:
                size, control, flags, sender = source.recvmsg_into([self._buffer], socket.CMSG_SPACE(_S32.size))
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise _error("cannot read netlink notifications", error) from error
                yield Lost()
                continue
            if flags & socket.MSG_TRUNC:
                yield Lost()
            elif sender[0] == 0:  # port id 0 is the kernel; root of a namespace may send to a group too
                yield bytes(view[:size]), _nsid(control)


def _latest(received: Sequence[_Received]) -> Iterator[_Received]:
    """What was received, less states of links that others follow: a new cable is told of a dozen times."""
    last: dict[object, int] = {}
    for place, one in enumerate(received):
        link = None if isinstance(one, Lost) else link_told_of(one[0])
        last[place if link is None or isinstance(one, Lost) else (one[1], link)] = place
    return (received[place] for place in sorted(last.values()))


def nsid_of(netns_descriptor: int) -> int | None:
    """The number that the calling thread's namespace has for another one; None when it has none.

    Raises KernelError.
    """
    payload = bytes(4) + attribute(_NETNSA_FD, struct.pack("=I", netns_descriptor))
    with Exchange(_NETLINK_ROUTE) as kernel:
        answer = kernel.request(_RTM_GETNSID, payload)
    number = int(_S32.unpack(attributes(answer.payload, 4)[_NETNSA_NSID])[0])
    return number if number >= 0 else None


def _listen(protocol: int, groups: Iterable[int], buffer_bytes: int, bpf: bytes) -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    try:
        listening = socket.socket(socket.AF_NETLINK, kind, protocol)
    except OSError as error:
        raise _error(f"cannot open a netlink socket of protocol {protocol}", error) from error
    try:
        # A user namespace's root may not force it; then it is as large as net.core.rmem_max allows.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        with suppress(PermissionError):
            listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
        if bpf:
            _attach(listening, bpf)
        listening.setsockopt(SOL_NETLINK, _LISTEN_ALL_NSID, 1)
        listening.bind((0, 0))
        for group in groups:
            listening.setsockopt(SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except OSError as error:
        listening.close()
        raise _error("cannot listen to netlink notifications", error) from error
    return listening


def _attach(listening: socket.socket, bpf: bytes) -> None:
    """Attach a classic BPF program of struct sock_filter."""
    program = ctypes.create_string_buffer(bpf, len(bpf))
    listening.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(bpf) // 8, ctypes.addressof(program))
    )


def _route_filter() -> bytes:
    """A BPF program that takes what `Monitor` tells and drops the rest before it is queued.

    Bridges report every learned MAC, routing daemons every route: none of that may cost us a wake-up.
    Loads are big-endian, so host-order fields are compared with swapped numbers.
    """
    byte, half, equal, any_bit, give = 0x30, 0x28, 0x15, 0x45, 0x06  # BPF_LD|B|ABS, _H, BPF_JMP|JEQ, |JSET, BPF_RET
    kind, flags, family, protocol, state = 4, 6, 16, 16 + 5, 16 + 8  # offsets: nlmsghdr, then rtmsg or ndmsg
    swapped = socket.htons
    program = [
        (half, 0, 0, kind),
        (equal, 4, 0, swapped(_RTM_NEWNEIGH)),  # to 6
        (equal, 5, 0, swapped(_RTM_DELNEIGH)),  # to 8
        (equal, 6, 0, swapped(_RTM_NEWROUTE)),  # to 10
        (equal, 7, 0, swapped(_RTM_DELROUTE)),  # to 12
        (give, 0, 0, 0xFFFFFFFF),
        (half, 0, 0, state),
        (any_bit, 0, 7, swapped(_NUD_PERMANENT)),  # else drop
        (byte, 0, 0, family),
        (equal, 5, 4, socket.AF_BRIDGE),  # an FDB entry
        (half, 0, 0, flags),
        (any_bit, 2, 0, swapped(_NLM_F_REPLACE)),
        (byte, 0, 0, protocol),
        (equal, 0, 1, ROUTE_PROTOCOL),
        (give, 0, 0, 0xFFFFFFFF),
        (give, 0, 0, 0),
    ]
    return b"".join(struct.pack("@HBBI", *instruction) for instruction in program)


def _nsid(control: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, value in control:
        if level == SOL_NETLINK and kind == _LISTEN_ALL_NSID:
            return int(_S32.unpack(value)[0])
    return None


def _error(what: str, error: OSError) -> KernelError:
    code = error.errno or 0
    return KernelError(f"{what}: {os.strerror(code).lower()}", errno=code, detail=errno.errorcode.get(code, str(code)))
