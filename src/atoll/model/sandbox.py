"""Sandboxes and endpoints: who is on which network, under which addresses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from atoll.model.addresses import Family, IPAddress, IPInterface, family_of
from atoll.model.ports import PortBinding, PortMapping


class SandboxKind(StrEnum):
    """Whose network namespace a sandbox is.

    MADE: ours, mounted under the netns directory and rebuilt after a reboot. ATTACHED: somebody
    else's, by path or pid, never pinned. JOINED: another sandbox's. HOST: the daemon's own.
    """

    MADE = "made"
    ATTACHED = "attached"
    JOINED = "joined"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class NetnsEvidence:
    """What tells that a network namespace is still the one we mean.

    `cookie` is SO_NETNS_COOKIE, unique in one boot (`boot_id`); inode numbers are reused at once
    and prove nothing. `pid` and `pid_start_ticks` (field 22 of /proc/PID/stat) are set when the
    namespace was named by a process.
    """

    path: str
    boot_id: str
    cookie: int
    pid: int | None = None
    pid_start_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A network namespace with endpoints, as stored.

    `netns` is None for HOST and JOINED. `owner_id` names the sandbox whose namespace a JOINED one
    shares. `mappings` is what was asked, `bindings` what is held; bindings lead to the endpoint
    that gives the default gateway. `resolves`: names are answered inside, at 127.0.0.11. `released`:
    it is there only for those that are joined to it, and goes with the last of them.
    """

    id: str
    name: str
    kind: SandboxKind
    created_ns: int
    netns: NetnsEvidence | None = None
    owner_id: str | None = None
    mappings: tuple[PortMapping, ...] = ()
    bindings: tuple[PortBinding, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    resolves: bool = False
    released: bool = False


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """How a sandbox asks to be on a network; None and "" mean "choose"."""

    network: str
    addresses: tuple[IPAddress, ...] = ()
    mac: str = ""
    aliases: tuple[str, ...] = ()
    ifname: str = ""
    gateway_priority: int = 0
    driver_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A sandbox's place on a network, as stored.

    `addresses` holds at most one a family, IPv4 first, with the subnet's prefix length; host and
    null networks have none, and neither interface names nor a MAC. `static` are the addresses that were
    asked for. `sysctls` are (path below /proc/sys with IFNAME in it, value): see `endpoint_options.py`. `segment`
    says on which of the network's bridges the endpoint is, 0 being the first: see `plan/segments.py`.
    """

    id: str
    network_id: str
    sandbox_id: str
    addresses: tuple[IPInterface, ...] = ()
    mac: str = ""
    host_ifname: str = ""
    ifname: str = ""
    aliases: tuple[str, ...] = ()
    gateway_priority: int = 0
    static: tuple[IPAddress, ...] = ()
    static_mac: bool = False
    sysctls: tuple[tuple[str, str], ...] = ()
    driver_options: Mapping[str, str] = field(default_factory=dict)
    segment: int = 0

    def address(self, family: Family) -> IPInterface | None:
        """The endpoint's address of one family, if it has one."""
        return next((address for address in self.addresses if family_of(address) is family), None)


@dataclass(frozen=True, slots=True)
class SandboxRequest:
    """A sandbox as asked for: every field parsed, nothing claimed.

    `netns_path` or `pid` attach an existing namespace; `join` names a sandbox to share one with;
    `host` means the daemon's own. With none of them a namespace is made. `endpoints` are networks
    to connect, in order. `resolves` is for one that is made. `id` "" means "choose".
    """

    name: str
    endpoints: tuple[EndpointRequest, ...] = ()
    netns_path: str = ""
    pid: int | None = None
    join: str = ""
    host: bool = False
    mappings: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    resolves: bool = False
    id: str = ""
