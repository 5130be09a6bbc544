"""Forgetting tracked connections over ctnetlink.

Everything is of the calling thread's network namespace. What is forgotten is not cut: the next packet of it
is judged, and translated, by the rules of now.

Source: linux/netfilter/nfnetlink_conntrack.h; filter flags: net/netfilter/nf_internals.h.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import ip_network
from pathlib import Path

from atoll.errors import KernelError
from atoll.kernel.nlmsg import NESTED, Exchange, Message, attribute, attributes
from atoll.model.addresses import Family, IPAddress, IPNetwork, family_of
from atoll.model.heldports import range_bits
from atoll.model.ops import FlushConntrack

_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_CT_GET, _CT_DELETE = 0x101, 0x102
"""NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, and _DELETE."""
_NFGENMSG = struct.Struct("=BBH")
_PORT = struct.Struct(">H")
_FLAGS = struct.Struct("=I")

_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_ID, _CTA_ZONE, _CTA_FILTER = 1, 2, 12, 18, 25
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP_SRC = {Family.V4: 1, Family.V6: 3}
_CTA_IP_DST = {Family.V4: 2, Family.V6: 4}
_CTA_PROTO_NUM, _CTA_PROTO_DST_PORT = 1, 3
_FILTER_IP_SRC, _FILTER_IP_DST, _FILTER_PROTO_NUM, _FILTER_DST_PORT = 1 << 0, 1 << 1, 1 << 3, 1 << 5

_RTM_GETROUTE, _RTA_DST, _RTN_LOCAL = 26, 1, 2
_RTMSG = struct.Struct("=BBBBBBBBI")

_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")

DELETES_PER_DATAGRAM = 128

_Test = Callable[[Family, int], bool]
"""A test of an address, given as a number."""


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction of a connection as the kernel tells it; `port` is -1 where the protocol has none."""

    source: int
    destination: int
    protocol: int
    port: int


@dataclass(frozen=True, slots=True)
class _Tracked:
    """One tracked connection; `handle` are the attributes that delete it and no other."""

    family: Family
    original: _Direction
    reply: _Direction
    handle: bytes


@dataclass(frozen=True, slots=True)
class _Filter:
    """What the kernel itself compares of one direction (CTA_TUPLE_ORIG or _REPLY), since Linux 5.8.

    Older kernels ignore it and tell everything: it saves work and decides nothing. IPv6 addresses stay
    out of it: the kernel compares them the wrong way round (ctnetlink_filter_match_tuple).
    """

    direction: int
    source: IPAddress | None = None
    destination: IPAddress | None = None
    protocol: int | None = None
    port: int | None = None

    def encode(self, family: Family) -> bytes:
        """The payload of a dump of one family."""
        flags, ip, proto = 0, b"", b""
        if family is Family.V4:
            for flag, kind, address in (
                (_FILTER_IP_SRC, _CTA_IP_SRC[family], self.source),
                (_FILTER_IP_DST, _CTA_IP_DST[family], self.destination),
            ):
                if address is not None:
                    flags |= flag
                    ip += attribute(kind, address.packed)
        if self.protocol is not None:
            flags |= _FILTER_PROTO_NUM
            proto += attribute(_CTA_PROTO_NUM, bytes([self.protocol]))
            if self.port is not None:
                flags |= _FILTER_DST_PORT
                proto += attribute(_CTA_PROTO_DST_PORT, _PORT.pack(self.port))
        if not flags:
            return _nfgenmsg(family)
        parts = attribute(NESTED | _CTA_TUPLE_IP, ip) if ip else b""
        parts += attribute(NESTED | _CTA_TUPLE_PROTO, proto) if proto else b""
        # CTA_FILTER_ORIG_FLAGS and _REPLY_FLAGS have the numbers of the tuples that they are about.
        compared = attribute(NESTED | _CTA_FILTER, attribute(self.direction, _FLAGS.pack(flags)))
        return _nfgenmsg(family) + attribute(NESTED | self.direction, parts) + compared


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A request, or several that differ in their ports only: bit N of `ports` stands for port N, None for any."""

    protocol: int | None
    address: IPAddress | IPNetwork | None
    source: IPAddress | IPNetwork | None
    ports: int | None


def flush(*requests: FlushConntrack) -> int:
    """Forget the connections that match every given field of a request, of both families; return how many there were.

    * `protocol`: the transport protocol.
    * `ports`: the original destination port lies in it. Then the original destination is `address`;
      without one (or with 0.0.0.0 or ::) it is any address of this host, for a port of somebody else's
      address is no host port.
    * `source`: the original source, that is before any translation.
    * `address` without `ports`: the original destination. When `source` is not given either, also where
      translation led to: the source of the reply direction, an endpoint's address behind a published port.

    `source` and `address` may be prefixes. Connections that appear meanwhile may be missed: change the
    rules first. Raises KernelError, after all that could be deleted are.
    """
    for request in requests:
        assert request.ports or request.source or request.address, f"would forget everything: {request}"
    if _nothing_is_tracked():
        return 0
    with Exchange(_NETLINK_NETFILTER) as kernel, Exchange(_NETLINK_ROUTE) as routes:
        is_local = _locality(routes)
        found: dict[bytes, _Tracked] = {}
        for wanted in _together(requests):
            found |= _find(kernel, wanted, is_local)
        return _delete(kernel, list(found.values()))


def _together(requests: Iterable[FlushConntrack]) -> list[_Wanted]:
    """The requests, as few as there can be: each is a dump of its own, and a request may be about a thousand ports."""
    ports: dict[_Wanted, int] = {}
    for request in requests:
        wanted = _Wanted(request.protocol, request.address, request.source, 0 if request.ports else None)
        ports[wanted] = ports.get(wanted, 0) | (range_bits(request.ports) if request.ports else 0)
    return [wanted if wanted.ports is None else replace(wanted, ports=bits) for wanted, bits in ports.items()]


def _nothing_is_tracked() -> bool:
    """A dump walks the whole table, some 10 ms for an empty one of the usual size."""
    try:
        return _COUNT.read_text().strip() == "0"
    except OSError:
        return False


def _find(kernel: Exchange, wanted: _Wanted, is_local: _Test) -> dict[bytes, _Tracked]:
    """The connections that match, by handle."""
    given = {family_of(value) for value in (wanted.address, wanted.source) if value is not None}
    matches = _matcher(wanted, is_local)
    found: dict[bytes, _Tracked] = {}
    for family in (family for family in Family if given in (set(), {family})):
        for payload in dict.fromkeys(each.encode(family) for each in _filters(wanted)):
            for answer in kernel.dump(_CT_GET, payload):
                tracked = _decode(family, answer)
                if tracked is not None and matches(tracked):
                    found[tracked.handle] = tracked
    return found


def _delete(kernel: Exchange, doomed: list[_Tracked]) -> int:
    """Delete what is still there and return how much it was. Raises KernelError when all have been tried."""
    results: list[int] = []
    for start in range(0, len(doomed), DELETES_PER_DATAGRAM):
        batch = doomed[start : start + DELETES_PER_DATAGRAM]
        results += kernel.change(_CT_DELETE, [_nfgenmsg(each.family) + each.handle for each in batch])
    refused = [code for code in results if code not in (0, errno.ENOENT)]
    if refused:
        raise KernelError(
            f"cannot forget {len(refused)} of {len(results)} tracked connections: {os.strerror(refused[0]).lower()}",
            errno=refused[0],
        )
    return results.count(0)


def _nfgenmsg(family: Family) -> bytes:
    """The header of every ctnetlink message. Without a family the kernel refuses to filter."""
    return _NFGENMSG.pack(family.nfproto, 0, 0)


def _filters(wanted: _Wanted) -> Iterator[_Filter]:
    """The dumps that together have all that match, each as narrow as the kernel can make it."""
    source, address, ports = _single(wanted.source), _single(wanted.address), wanted.ports
    port = ports.bit_length() - 1 if ports is not None and ports.bit_count() == 1 else None
    yield _Filter(_CTA_TUPLE_ORIG, source, address, wanted.protocol, port)
    if ports is None and wanted.source is None:
        yield _Filter(_CTA_TUPLE_REPLY, address, None, wanted.protocol)


def _single(value: IPAddress | IPNetwork | None) -> IPAddress | None:
    """The one address that `value` means, None for "any" and for more than one."""
    if value is None:
        return None
    network = ip_network(value)
    one = network.num_addresses == 1 and not network.network_address.is_unspecified
    return network.network_address if one else None


def _matcher(wanted: _Wanted, is_local: _Test) -> Callable[[_Tracked], bool]:
    """The rules of `flush` for one connection of a family that the request is about."""
    from_source, to_address = _within(wanted.source), _within(wanted.address)
    ports = wanted.ports

    def matches(tracked: _Tracked) -> bool:
        original = tracked.original
        if wanted.protocol is not None and original.protocol != wanted.protocol:
            return False
        if not from_source(original.source):
            return False
        if ports is None:
            through = wanted.source is None and to_address(tracked.reply.source)
            return through or to_address(original.destination)
        if original.port < 0 or not ports >> original.port & 1 or not to_address(original.destination):
            return False
        return _single(wanted.address) is not None or is_local(tracked.family, original.destination)

    return matches


def _within(value: IPAddress | IPNetwork | None) -> Callable[[int], bool]:
    """Whether an address, as a number, is in `value`; None and an unspecified address hold all."""
    if value is None:
        return lambda _: True
    network = ip_network(value)
    if network.network_address.is_unspecified:
        return lambda _: True
    first, mask = int(network.network_address), int(network.netmask)
    return lambda number: number & mask == first


def _locality(routes: Exchange) -> _Test:
    """Whether an address is one of this host's, as `fib daddr type local` sees it: the kernel is asked."""

    @cache
    def is_local(family: Family, number: int) -> bool:
        rtmsg = _RTMSG.pack(family.nfproto, family.bits, 0, 0, 0, 0, 0, 0, 0)
        destination = attribute(_RTA_DST, number.to_bytes(family.bits // 8, "big"))
        try:
            answer = routes.request(_RTM_GETROUTE, rtmsg + destination)
        except KernelError as error:
            if error.errno == errno.ETIMEDOUT:
                raise
            return False  # no route leads there
        return bool(_RTMSG.unpack_from(answer.payload)[7] == _RTN_LOCAL)

    return is_local


def _decode(family: Family, answer: Message) -> _Tracked | None:
    """One entry of a dump; None when it lacks a tuple."""
    found = attributes(answer.payload, _NFGENMSG.size)
    original, reply = found.get(_CTA_TUPLE_ORIG), found.get(_CTA_TUPLE_REPLY)
    if original is None or reply is None:
        return None
    handle = attribute(NESTED | _CTA_TUPLE_ORIG, original)
    handle += b"".join(attribute(kind, found[kind]) for kind in (_CTA_ID, _CTA_ZONE) if kind in found)
    return _Tracked(family, _decode_direction(family, original), _decode_direction(family, reply), handle)


def _decode_direction(family: Family, value: bytes) -> _Direction:
    parts = attributes(value)
    ip, proto = attributes(parts[_CTA_TUPLE_IP]), attributes(parts[_CTA_TUPLE_PROTO])
    port = proto.get(_CTA_PROTO_DST_PORT)
    return _Direction(
        source=int.from_bytes(ip[_CTA_IP_SRC[family]], "big"),
        destination=int.from_bytes(ip[_CTA_IP_DST[family]], "big"),
        protocol=proto[_CTA_PROTO_NUM][0],
        port=-1 if port is None else _PORT.unpack(port)[0],
    )
