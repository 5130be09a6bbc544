"""Capabilities of containers. Source: linux/capability.h; Docker's default list. Law: pure."""

from collections.abc import Iterable

from atoll.errors import InvalidRequest
from atoll.model.names import shown

_ALL = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
_DEFAULT = """
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
AUDIT_WRITE
"""

ALL: tuple[str, ...] = tuple(f"CAP_{name}" for name in _ALL.split())
"""By number, from 0."""
DEFAULT: tuple[str, ...] = tuple(f"CAP_{name}" for name in _DEFAULT.split())


def capabilities(add: Iterable[str], drop: Iterable[str], *, privileged: bool, available: int) -> tuple[str, ...]:
    """The capabilities of a container, in the order of their numbers.

    `available` are those that the daemon may give, as /proc/PID/status has them: bit 0 is CAP_CHOWN. Raises
    InvalidRequest for a name that is none.
    """
    added, dropped = [parse_capability(name) for name in add], [parse_capability(name) for name in drop]
    wanted = set(ALL if privileged else DEFAULT)
    if "ALL" in dropped:
        wanted = set()
    if "ALL" in added:
        wanted = set(ALL)
    wanted |= {name for name in added if name != "ALL"}
    wanted -= {name for name in dropped if name != "ALL"}
    return tuple(name for number, name in enumerate(ALL) if name in wanted and available >> number & 1)


def parse_capability(text: str) -> str:
    """The kernel's name of a capability, or ALL. Raises InvalidRequest."""
    name = text.upper()
    if name == "ALL":
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in ALL:
        raise InvalidRequest(f"unknown capability {shown(text)}", hint="man 7 capabilities")
    return name
