"""What a specification needs to know of the host: values, read by `runtime/facts.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A device node of the host: `kind` is c or b."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class HostAbilities:
    """`machine` is `uname -m`'s. `cgroup_version` is 2 only where v1 has no controllers.

    `swap_limit`: the memory controller counts swap. `seccomp_profile` is the default one's JSON, "" where there is
    none. `capabilities` are those that the daemon has itself and may give, as /proc/PID/status has them.
    """

    machine: str = "x86_64"
    cgroup_version: int = 1
    swap_limit: bool = False
    seccomp_profile: str = ""
    capabilities: int = (1 << 41) - 1
    devices: Mapping[str, tuple[HostDevice, ...]] = field(default_factory=dict)
    """By the path that was asked for; a directory has several."""
