"""A fresh host for tests in this process: the main thread moves into a network namespace of its own, and back."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CDLL, get_errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.kernel import netns

_LIBC = CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class FreshHost:
    """The namespace that the calling thread is in; namespaces made below `directory` are deleted with it."""

    directory: Path

    def path(self, name: str) -> str:
        """Where a namespace of this name is, or may be made."""
        return str(self.directory / name)

    def run(self, *command: str, at: str = "", check: bool = True) -> str:
        """Output of a command on the host, or in the namespace at the path `at`."""
        enter = ["nsenter", f"--net={at}"] if at else []
        done = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=20, check=False)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def ip(self, *arguments: str, at: str = "") -> list[dict[str, Any]]:
        """What `ip -j` tells."""
        return json.loads(self.run("ip", "-j", *arguments, at=at) or "[]")  # type: ignore[no-any-return]

    def link(self, ifname: str, at: str = "") -> dict[str, Any]:
        """One link with its details; empty when there is none."""
        found = [link for link in self.ip("-d", "link", at=at) if link["ifname"] == ifname]
        return found[0] if found else {}


@contextmanager
def fresh_host(directory: Path) -> Iterator[FreshHost]:
    """Move the calling thread into a new namespace, loopback up, and back at the end."""
    directory.mkdir()
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if _LIBC.unshare(_CLONE_NEWNET):
        raise OSError(get_errno(), "unshare")
    try:
        host = FreshHost(directory)
        host.run("ip", "link", "set", "lo", "up")
        yield host
    finally:
        if _LIBC.setns(before, _CLONE_NEWNET):
            raise OSError(get_errno(), "setns")
        os.close(before)
        for path in directory.iterdir():
            netns.delete(str(path))
        subprocess.run(["umount", "-q", "--lazy", str(directory)], check=False)
