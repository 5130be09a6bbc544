"""Kernel state as values: one frozen class a kind of thing, each with a key.

A state is a mapping from key to item. Items of one key are the same thing in the kernel; when
they compare unequal, it has to be changed. Every field that is set is ours to enforce; what the
kernel adds of its own is not described here, so it can't make a difference.

`netns` is "" for the daemon's own namespace (the host) and a sandbox id for a sandbox's.

`rank` is the order in which items are added (removal goes the other way): a namespace before the
link whose peer goes into it; sysctls before addresses (an interface with disable_ipv6 refuses
them); an interface goes up with its addresses on; routes need it up; what lets packets in comes last, but
what keeps them out is there before the link.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

from atoll.model.addresses import IPAddress, IPInterface, IPNetwork

HOST = ""
"""The netns of the daemon itself."""

OURS = "atoll:"
"""What the alias of every link of ours starts with."""

FAR = ":far"
"""What the alias of a joint's far end ends with."""

ROUTE_PROTOCOL = 0xA7
"""rtm_protocol of every route of ours; free in include/uapi/linux/rtnetlink.h."""

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace that we made, mounted at `path`, loopback up.

    `ipv6` is what interfaces begin with that come into it: see `model/fresh.py`. Once it is made that is not looked at.
    """

    rank: ClassVar[int] = 0
    id: str
    path: str
    ipv6: bool = False

    @property
    def key(self) -> Key:
        """Identity in a state."""
        return ("netns", self.id)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A Linux bridge on the host, up. `alias` marks it as ours: see `owner_alias`.

    `mac` keeps the bridge's address from following its ports. `mtu_bytes` 0: not enforced.
    """

    rank: ClassVar[int] = 1
    ifname: str
    alias: str
    mac: str
    mtu_bytes: int = 0

    @property
    def key(self) -> Key:
        """Identity in a state."""
        return ("link", HOST, self.ifname)


@dataclass(frozen=True, slots=True)
class Veth:
    """A veth pair: `ifname` on the host, up, a port of `bridge`; `peer_ifname` in `netns`.

    Made in one message, the peer straight in its namespace. `isolated` ports reach only ports
    that are not; `hairpin` ones send a frame back where it came from.

    No port has neigh_suppress: the kernel then answers ARP and ND for the endpoints behind it, but only what
    arrives at ports that don't have it, and keeps announcements of addresses from it (br_arp_nd_proxy.c). So it
    is of no use on all ports, and on some it leaves their neighbours with stale addresses.
    """

    rank: ClassVar[int] = 2
    ifname: str
    alias: str
    bridge: str
    netns: str
    peer_ifname: str
    peer_mac: str
    mtu_bytes: int = 0
    isolated: bool = False
    hairpin: bool = True

    @property
    def key(self) -> Key:
        """Identity in a state."""
        return ("link", HOST, self.ifname)


@dataclass(frozen=True, slots=True)
class Joint:
    """A veth pair on the host that joins two bridges, up: `ifname` a port of `bridge`, `far_ifname` of `far_bridge`.

    `alias` is that of the near end; the far one's is `far_alias`. `isolated` is a flag of the near port alone: what is
    isolated on the near bridge then doesn't reach what is behind the joint, while that bridge itself, which is no
    port, reaches everybody. Neither end is a hairpin: it would send a broadcast back, and the bridge behind it would
    look for the sender at the joint from then on.
    """

    rank: ClassVar[int] = 2
    ifname: str
    alias: str
    bridge: str
    far_ifname: str
    far_bridge: str
    mtu_bytes: int = 0
    isolated: bool = False

    @property
    def key(self) -> Key:
        """Identity in a state."""
        return ("link", HOST, self.ifname)

    @property
    def far_alias(self) -> str:
        """What marks the far end as ours; it goes with the near one, and is no item of its own."""
        return f"{self.alias}{FAR}"


@dataclass(frozen=True, slots=True)
class Interface:
    """The inner end of a veth pair, up. It comes and goes with its Veth; adding it sets it up."""

    rank: ClassVar[int] = 5
    netns: str
    ifname: str
    mac: str
    mtu_bytes: int = 0

    @property
    def key(self) -> Key:
        """Identity in a state."""
        return ("interface", self.netns, self.ifname)


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A value below /proc/sys that we need. Ensured and logged, never reverted.

    `path` is relative to /proc/sys with slashes, `net/ipv4/conf/atoll0/forwarding`.
    """

    rank: ClassVar[int] = 3
    netns: str
    path: str
    value: str

    @property
    def key(self) -> Key:
        """Identity in a state."""
        return ("sysctl", self.netns, self.path)


@dataclass(frozen=True, slots=True)
class Address:
    """An address with its prefix length on an interface; IPv6 without duplicate detection."""

    rank: ClassVar[int] = 4
    netns: str
    ifname: str
    address: IPInterface

    @property
    def key(self) -> Key:
        """Identity in a state."""
        return ("address", self.netns, self.ifname, self.address)


@dataclass(frozen=True, slots=True)
class Route:
    """A route with our protocol number. `gateway` None: on-link. `local`: type local in table local."""

    rank: ClassVar[int] = 6
    netns: str
    destination: IPNetwork
    ifname: str
    gateway: IPAddress | None = None
    metric: int = 0
    local: bool = False

    @property
    def key(self) -> Key:
        """Identity in a state: one default route a family, metric and table."""
        if self.local:
            return ("route", self.netns, self.destination, self.metric, "local", self.ifname)
        return ("route", self.netns, self.destination, self.metric)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent neighbour entry."""

    rank: ClassVar[int] = 7
    netns: str
    ifname: str
    address: IPAddress
    mac: str

    @property
    def key(self) -> Key:
        """Identity in a state."""
        return ("neighbour", self.netns, self.ifname, self.address)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """An inclusive interval as one part of an element's key: addresses of a prefix, or ports."""

    first: IPAddress | int
    last: IPAddress | int


FENCES = frozenset({"segments", "guarded", "arp4", "nd6", "nd6t"})
"""Sets that limit what comes from a link. Nothing comes from one before they hold it."""

Part = str | int | IPAddress | Span
"""One part of a key or a value: interface name, number (port, protocol, family), address, interval."""


class _Fields(NamedTuple):
    set: str
    parts: tuple[Part, ...]
    data: tuple[Part, ...] = ()


class Element(_Fields):
    """An element of a set or map of one of our tables. `data` is empty for a set.

    Parts are in the order of the set's type; see `SETS` in `model/firewall.py` for the types. A tuple, as a request
    may want thousands.
    """

    __slots__ = ()

    def __new__(cls, set: str, parts: tuple[Part, ...], data: tuple[Part, ...] = ()) -> Self:
        """One element has one spelling, so that keys compare: an interval of one value is that value."""
        for part in parts:
            if part.__class__ is Span:
                parts = tuple(one.first if isinstance(one, Span) and one.first == one.last else one for one in parts)
                break
        return tuple.__new__(cls, (set, parts, data))

    @property
    def rank(self) -> int:
        """Place in the order: before any link that it fences in, otherwise the last."""
        return 1 if self.set in FENCES else 8

    @property
    def key(self) -> Key:
        """Identity in a state."""
        return ("element", self.set, self.parts)


Item = Netns | Bridge | Veth | Joint | Interface | Sysctl | Address | Route | Neighbour | Element
State = dict[Key, Item]


def state_of(*items: Item) -> State:
    """A state from items; asserts that no two of different content share a key."""
    state: State = {item.key: item for item in items}
    if len(state) < len(items):
        for item in items:
            assert state[item.key] == item, f"two states for {item.key}"
    return state


def owner_alias(kind: str, object_id: str) -> str:
    """The interface alias (IFLA_IFALIAS) that marks a link as ours: `atoll:network:ID`."""
    return f"{OURS}{kind}:{object_id}"
