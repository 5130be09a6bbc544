"""Running a command in a sandbox's network namespace.

The mount namespace stays the caller's: unlike `ip netns exec`, which mounts a new /sys and thereby hides cgroups.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from atoll.cli.http import Client, quote
from atoll.errors import AtollError, NotFound

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWNET = 0x40000000
"""Source: linux/sched.h."""

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
"""Exit statuses of a shell whose command can't be run; POSIX, section 2.8.2."""


def run_inside(client: Client, name: str, command: Sequence[str]) -> int:
    """Become `command` inside the namespace of the sandbox `name`; returns only when it can't be run.

    Raises NotFound when the namespace is gone, AtollError when it may not be entered.
    """
    sandbox = client.get(f"/atoll/sandboxes/{quote(name)}")
    _enter(name, sandbox.get("NetnsPath") or _daemon_netns(client), sandbox.get("NetnsInode") or 0)
    sys.stdout.flush()
    try:
        os.execvp(command[0], list(command))
    except OSError as error:
        print(f"atoll: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE


def _enter(name: str, path: str, inode: int) -> None:
    import ctypes

    try:
        netns = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(
            f"the namespace of {name} is gone: cannot open {path} ({error.strerror})",
            hint=f"atoll sandbox inspect {name}",
        ) from None
    # A pid, and with it /proc/PID/ns/net, may belong to another process by now.
    if inode and os.fstat(netns).st_ino != inode:
        raise NotFound(
            f"the namespace of {name} is gone: {path} is another one now", hint=f"atoll sandbox inspect {name}"
        )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(netns, CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise AtollError(f"cannot enter the namespace of {name}: {reason}", hint="run it as root")


def _daemon_netns(client: Client) -> str:
    status: dict[str, Any] = client.get("/atoll/status")
    return f"/proc/{status['Pid']}/ns/net"
