"""A thorough look at a host: what a diagnosis needs to know besides what is ours. Read when asked for, never stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from atoll.model.addresses import Family, IPAddress, IPInterface, IPNetwork
from atoll.model.ports import Protocol
from atoll.model.ruleset import Ruleset


class Feature(StrEnum):
    """Something of the kernel that atoll stands on; the value is what people call it."""

    BRIDGE = "bridge interfaces"
    VETH = "veth pairs"
    NFTABLES = "nftables"
    CONNTRACK = "connection tracking in nftables"
    NAT = "address translation in nftables"
    FIB = "route look-ups in nftables (fib)"
    INTERVALS = "interval maps in nftables"
    OWNERSHIP = "nftables tables that are owned and persist"
    IPV6 = "IPv6"


@dataclass(frozen=True, slots=True)
class LinkView:
    """An interface of the host. `master` is the bridge it is a port of, "" without one; `ours`: we made it."""

    ifname: str
    index: int
    mtu_bytes: int
    kind: str = ""
    master: str = ""
    ours: bool = False


@dataclass(frozen=True, slots=True)
class RouteView:
    """A unicast route of the host over an interface that isn't ours; `table` 254 is main."""

    destination: IPNetwork
    ifname: str
    gateway: IPAddress | None = None
    metric: int = 0
    table: int = 254


@dataclass(frozen=True, slots=True)
class AddressView:
    """An address on an interface that isn't ours."""

    ifname: str
    address: IPInterface


@dataclass(frozen=True, slots=True)
class NeighbourTable:
    """The neighbour table of a family, which all network namespaces share.

    `limit` is gc_thresh3; `overflows` counts, since boot, the entries that found no place.
    """

    entries: int
    limit: int
    overflows: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """How many of something are in use, and how many there may be; `limit` 0: nothing limits them, or nobody tells."""

    used: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Manager:
    """A network manager (NetworkManager, systemd-networkd) that runs here, and the interfaces it configures."""

    name: str
    ifnames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortHolder:
    """A socket that listens on the host. `process` is `nginx (pid 123)`, "" when nobody tells."""

    protocol: Protocol
    address: IPAddress
    port: int
    process: str = ""


@dataclass(frozen=True, slots=True)
class HostView:
    """One thorough look at the host.

    `sysctls` has values below /proc/sys by their path there, those that exist. `absent` are the features that
    the kernel was asked for and lacks. `open_files` are this process's descriptors, of pid `pid`.
    """

    links: tuple[LinkView, ...] = ()
    addresses: tuple[AddressView, ...] = ()
    routes: tuple[RouteView, ...] = ()
    ruleset: Ruleset = field(default_factory=Ruleset)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    neighbours: Mapping[Family, NeighbourTable] = field(default_factory=dict)
    absent: frozenset[Feature] = frozenset()
    managers: tuple[Manager, ...] = ()
    listeners: tuple[PortHolder, ...] = ()
    tracked: Usage = field(default_factory=Usage)
    open_files: Usage = field(default_factory=Usage)
    pid: int = 0
