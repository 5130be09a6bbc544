"""Networks: what a user asked for, with its pools and options parsed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from atoll.model.addresses import Family, IPAddress, IPNetwork, family_of
from atoll.model.options import BridgeOptions

DEFAULT_BRIDGE_NETWORK = "bridge"
PREDEFINED_NETWORKS = ("bridge", "host", "none")


class Driver(StrEnum):
    """The compiler that turns a network into kernel state."""

    BRIDGE = "bridge"
    HOST = "host"
    NULL = "null"


class Scope(StrEnum):
    """Where a network is known: on this host, or on every node of a cluster."""

    LOCAL = "local"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class Pool:
    """One subnet of a network.

    `gateway` lies in `subnet`; `ip_range` (dynamic addresses come from it) and every auxiliary
    address lie in `subnet` too. `automatic` is true when atoll chose the subnet.
    """

    subnet: IPNetwork
    gateway: IPAddress
    ip_range: IPNetwork | None = None
    auxiliary: tuple[tuple[str, IPAddress], ...] = ()
    automatic: bool = False

    @property
    def family(self) -> Family:
        """Family of the subnet."""
        return family_of(self.subnet)


@dataclass(frozen=True, slots=True)
class Network:
    """A network as stored: complete and valid.

    `pools` holds at most one pool a family, IPv4 first (host and null networks have none);
    `ipv4` and `ipv6` say which families are switched on. `options` and `labels` are the caller's
    own strings, kept to be shown; `bridge` is what `options` mean. `created_ns` is Unix time.
    """

    id: str
    name: str
    driver: Driver
    created_ns: int
    pools: tuple[Pool, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ipam_options: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    bridge: BridgeOptions | None = None
    scope: Scope = Scope.LOCAL

    @property
    def predefined(self) -> bool:
        """True of bridge, host and none: they can't be removed."""
        return self.name in PREDEFINED_NETWORKS

    def pool(self, family: Family) -> Pool | None:
        """The pool of one family, if the network has it."""
        return next((pool for pool in self.pools if pool.family is family), None)


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """A pool as asked for; None means "choose"."""

    subnet: IPNetwork | None = None
    ip_range: IPNetwork | None = None
    gateway: IPAddress | None = None
    auxiliary: tuple[tuple[str, IPAddress], ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """A network as asked for: every field parsed, nothing claimed."""

    name: str
    driver: Driver = Driver.BRIDGE
    pools: tuple[PoolRequest, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ipam_options: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
