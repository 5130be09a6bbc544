"""Limits of a container as the OCI writes them; the runtime translates to cgroup v1 or v2. Law: pure."""

from collections.abc import Iterable
from typing import Any

from atoll.errors import InvalidRequest, Unsupported
from atoll.model.container import Limits, Ulimit
from atoll.runtime.bundle.host import HostDevice

CPU_PERIOD_US = 100_000
"""The kernel's default for cpu.cfs_period_us."""

_RLIMITS = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
RLIMITS: tuple[str, ...] = tuple(_RLIMITS.split(" "))
"""Names of getrlimit(2)."""

ALLOWED_DEVICES: tuple[tuple[str, int | None, int | None, str], ...] = (
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", 1, 3, "rwm"),
    ("c", 1, 5, "rwm"),
    ("c", 1, 7, "rwm"),
    ("c", 1, 8, "rwm"),
    ("c", 1, 9, "rwm"),
    ("c", 5, 0, "rwm"),
    ("c", 5, 1, "rwm"),
    ("c", 5, 2, "rwm"),
    ("c", 136, None, "rwm"),
)
"""null, zero, full, random, urandom, tty, console, ptmx and pts may be used; any node may be made.

Source: Documentation/admin-guide/devices.txt."""


def resources(
    limits: Limits, *, devices: Iterable[tuple[HostDevice, str]], privileged: bool, swap_limit: bool
) -> dict[str, Any]:
    """`linux.resources` of a specification. `devices` are further ones, each with its permissions.

    Raises InvalidRequest, Unsupported.
    """
    allowed: list[dict[str, Any]] = [{"allow": privileged, "access": "rwm"}]
    if not privileged:
        allowed += [_rule(kind, major, minor, access) for kind, major, minor, access in ALLOWED_DEVICES]
        allowed += [_rule(device.kind, device.major, device.minor, access) for device, access in devices]
    found: dict[str, Any] = {"devices": allowed}
    memory, cpu = _memory(limits, swap_limit=swap_limit), _cpu(limits)
    if memory:
        found["memory"] = memory
    if cpu:
        found["cpu"] = cpu
    if limits.pids_max > 0:
        found["pids"] = {"limit": limits.pids_max}
    return found


def rlimits(ulimits: Iterable[Ulimit]) -> list[dict[str, Any]]:
    """`process.rlimits`; -1 is without limit. Raises InvalidRequest for a name that is none."""
    found = []
    for ulimit in ulimits:
        if ulimit.name not in RLIMITS:
            raise InvalidRequest(f"invalid ulimit {ulimit.name!r}", hint="man 2 getrlimit")
        unlimited = (1 << 64) - 1
        hard = unlimited if ulimit.hard < 0 else ulimit.hard
        soft = unlimited if ulimit.soft < 0 else ulimit.soft
        if soft > hard:
            raise InvalidRequest(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
        found.append({"type": f"RLIMIT_{ulimit.name.upper()}", "hard": hard, "soft": soft})
    return found


def _memory(limits: Limits, *, swap_limit: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if limits.memory_bytes:
        found["limit"] = limits.memory_bytes
    if limits.memory_reservation_bytes:
        found["reservation"] = limits.memory_reservation_bytes
    # The OCI's `swap` is memory and swap together, as Docker's.
    if limits.memory_swap_bytes and not swap_limit and limits.memory_swap_bytes > 0:
        raise Unsupported(
            "cannot limit swap: the kernel does not count it", hint="add swapaccount=1 to its command line"
        )
    if swap_limit and limits.memory_bytes:
        found["swap"] = limits.memory_swap_bytes or 2 * limits.memory_bytes
        if 0 < found["swap"] < limits.memory_bytes:
            raise InvalidRequest("minimum memoryswap limit should be larger than memory limit")
    if limits.oom_kill_disable:
        found["disableOOMKiller"] = True
    return found


def _cpu(limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if limits.nano_cpus:
        if limits.cpu_period_us or limits.cpu_quota_us:
            raise InvalidRequest("conflicting options: Nano CPUs and CPU Period or Quota cannot both be set")
        found["period"] = CPU_PERIOD_US
        found["quota"] = limits.nano_cpus * CPU_PERIOD_US // 1_000_000_000
    if limits.cpu_period_us:
        found["period"] = limits.cpu_period_us
    if limits.cpu_quota_us:
        found["quota"] = limits.cpu_quota_us
    if limits.cpu_shares:
        found["shares"] = limits.cpu_shares
    if limits.cpuset_cpus:
        found["cpus"] = limits.cpuset_cpus
    if limits.cpuset_mems:
        found["mems"] = limits.cpuset_mems
    return found


def _rule(kind: str, major: int | None, minor: int | None, access: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule
