"""A UDP host port: a flow for each client, known by its address and the address that it sent to.

Each flow has a connected socket to the target, so that answers find their client and errors of the target end it.
Answers leave from the address that the client sent to (ip(7) IP_PKTINFO, RFC 3542 section 6).
"""

import contextlib
import ipaddress
import select
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from atoll.model.addresses import Family, family_of
from atoll.relay.limits import Limits
from atoll.relay.messages import RelayTarget
from atoll.service.loop import Loop

_DATAGRAMS_A_TURN = 32
_DATAGRAM_BYTES_MAX = 65535
_IP_PKTINFO = 8
"""linux/in.h; the socket module of Python 3.11 has only IPv6's."""
_IN_PKTINFO = struct.Struct("=i4s4s")
_IN6_PKTINFO = struct.Struct("=16si")

_FlowKey = tuple["UdpListener", Any, bytes]
_Ancillary = list[tuple[int, int, bytes]]


@dataclass(slots=True, eq=False)
class _Flow:
    key: _FlowKey
    sock: socket.socket
    used_at: float


class FlowTable:
    """The flows of all listeners, the one idle longest first."""

    def __init__(self, loop: Loop, limits: Limits) -> None:
        self._loop = loop
        self._limits = limits
        self._flows: OrderedDict[_FlowKey, _Flow] = OrderedDict()
        self.buffer = bytearray(_DATAGRAM_BYTES_MAX)

    def flow(self, key: _FlowKey, target: RelayTarget, answer: Callable[[_Flow], None]) -> tuple[_Flow, bool]:
        """The flow of that key, and whether it is new. Raises OSError when there can't be one."""
        flow = self._flows.get(key)
        if flow is not None:
            self.touch(flow)
            return flow, False
        while len(self._flows) >= self._limits.flows_max:
            self.end(next(iter(self._flows.values())))
        family = socket.AF_INET if family_of(target.address) is Family.V4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        flow = self._flows[key] = _Flow(key, sock, self._loop.clock())
        key[0].open += 1
        try:
            sock.connect((str(target.address), target.port))
            self._loop.watch(sock, select.EPOLLIN, lambda _bits: answer(flow))
        except OSError:
            self.end(flow)
            raise
        self._loop.request_tick()
        return flow, True

    def touch(self, flow: _Flow) -> None:
        """Note that a datagram has passed."""
        flow.used_at = self._loop.clock()
        self._flows.move_to_end(flow.key)

    def end(self, flow: _Flow) -> None:
        """Forget a flow."""
        if self._flows.pop(flow.key, None) is not None:
            flow.key[0].open -= 1
        self._loop.close(flow.sock)

    def end_of(self, listener: "UdpListener") -> None:
        """Forget all flows of a listener."""
        for flow in [flow for key, flow in self._flows.items() if key[0] is listener]:
            self.end(flow)

    def tick(self, now: float) -> bool:
        """Forget what has been idle for too long. True while there are flows."""
        while self._flows:
            oldest = next(iter(self._flows.values()))
            if now - oldest.used_at < self._limits.flow_idle_s:
                return True
            self.end(oldest)
        return False


class UdpListener:
    """Carries datagrams of a bound socket to the target, and answers back. Owns the socket."""

    def __init__(self, loop: Loop, limits: Limits, flows: FlowTable, sock: socket.socket, target: RelayTarget) -> None:
        self._loop = loop
        self._flows = flows
        self._total = 0
        self._failed = 0
        self.open = 0
        self.sock = sock
        self.target = target
        sock.setblocking(False)
        # Who only holds a port gives its socket no room. The kernel answers with twice what was set, socket(7).
        self._room_before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.receive_bytes)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        loop.watch(sock, select.EPOLLIN, self._receive)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Flows that are open, that there were in total, and datagrams that failed."""
        return self.open, self._total, self._failed

    def retarget(self, target: RelayTarget) -> None:
        """Carry datagrams to another target from now on."""
        self._flows.end_of(self)
        self.target = target

    def close(self) -> None:
        """Forget the flows and stop receiving."""
        self._flows.end_of(self)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._room_before)
        self._loop.close(self.sock)

    def tick(self, _now: float) -> bool:
        """Nothing of its own to wait for: the flow table ends flows."""
        return False

    def _receive(self, _bits: int) -> None:
        buffer = self._flows.buffer
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                size, ancillary, _flags, client = self.sock.recvmsg_into([buffer], 64)
            except OSError:
                return
            source = _source(ancillary)
            if source is not None:
                self._forward(client, source, memoryview(buffer)[:size])

    def _forward(self, client: Any, source: bytes, datagram: memoryview) -> None:
        try:
            flow, new = self._flows.flow((self, client, source), self.target, self._answer)
        except OSError:
            self._failed += 1
            return
        self._total += new
        try:
            flow.sock.send(datagram)
        except ConnectionRefusedError:
            # The answer to an earlier datagram; this one was not sent. The target may be back by now.
            with contextlib.suppress(OSError):
                flow.sock.send(datagram)
        except OSError:
            self._failed += 1

    def _answer(self, flow: _Flow) -> None:
        buffer = self._flows.buffer
        _listener, client, source = flow.key
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                size = flow.sock.recv_into(buffer)
            except OSError:
                return
            self._flows.touch(flow)
            try:
                self.sock.sendmsg([memoryview(buffer)[:size]], _ancillary(source), 0, client)
            except OSError:
                self._failed += 1


def _source(ancillary: _Ancillary) -> bytes | None:
    """The address a datagram was sent to, as the packet information that an answer leaves with.

    None for a multicast datagram: there is no single host to carry it to. An interface is kept only
    for link-local addresses; for others the routes decide.
    """
    for level, kind, content in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            _ifindex, local, _destination = _IN_PKTINFO.unpack(content)
            return _IN_PKTINFO.pack(0, local, bytes(4))
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            packed, ifindex = _IN6_PKTINFO.unpack(content)
            address = ipaddress.IPv6Address(packed)
            if address.is_multicast:
                return None
            return _IN6_PKTINFO.pack(packed, ifindex if address.is_link_local else 0)
    return b""


def _ancillary(source: bytes) -> _Ancillary:
    match len(source):
        case _IN_PKTINFO.size:
            return [(socket.IPPROTO_IP, _IP_PKTINFO, source)]
        case _IN6_PKTINFO.size:
            return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source)]
        case _:
            return []
