"""Frames sent and heard in the namespaces of a stage."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from atoll.lab.host import Host
from atoll.lab.namespace import PACKAGE_ROOT, Namespace
from tests.e2e.security.frames import Way

PROGRAMS = Path(__file__).parent / "programs"
SETTLE_S = 0.25
"""How long to go on listening for what must not come; every path takes less than a millisecond."""
PATIENCE_S = 5.0


def program(name: str, *arguments: str) -> list[str]:
    """The command of one of the programs beside this file."""
    return ["env", f"PYTHONPATH={PACKAGE_ROOT}", sys.executable, "-S", "-P", str(PROGRAMS / f"{name}.py"), *arguments]


def shoot(space: Namespace, frames: Iterable[bytes], ifname: str = "eth0") -> None:
    """Send frames, in order."""
    space.run(program("shoot", ifname), stdin="\n".join(frame.hex() for frame in frames))


class Listener:
    """Every frame that comes in by an interface, from now on."""

    def __init__(self, space: Namespace, ifname: str = "eth0") -> None:
        self._process = space.start(program("sniff", ifname))
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", self._process.communicate()
        self._frames: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def heard(self, mark: bytes) -> bool:
        """True when a frame with this text in it has come."""
        return any(mark in frame for frame in tuple(self._frames))

    def wait_for(self, marks: Iterable[bytes]) -> None:
        """Wait until all of these have come, or for a while; then a bit longer, for others."""
        deadline, left = time.monotonic() + PATIENCE_S, set(marks)
        while left and time.monotonic() < deadline:
            left = {mark for mark in left if not self.heard(mark)}
            time.sleep(0.01)

    def frames(self) -> tuple[bytes, ...]:
        """What has come so far."""
        return tuple(self._frames)

    def stop(self) -> tuple[bytes, ...]:
        """End it; all that came."""
        self._process.kill()
        self._reader.join()
        return tuple(self._frames)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._frames.append(bytes.fromhex(line))


class Talk:
    """One end of a TCP connection: see `programs/talk.py`."""

    def __init__(self, space: Namespace, role: str, address: str, port: int) -> None:
        self._process: subprocess.Popen[str] = space.start(program("talk", role, address, str(port)))
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", self._process.communicate()

    def say(self, mark: bytes) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(mark.decode() + "\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def mac_of(space: Namespace, ifname: str = "eth0") -> str:
    """MAC address of an interface."""
    (link,) = json.loads(space.out(f"ip -json link show dev {ifname}"))
    return str(link["address"])


def way_from_lan(sender: Host, host: Host, target: str, *, leg: int = 0) -> Way:
    """From a host of a LAN to any address, by way of the host between the LANs."""
    source = str(sender.address(6 if ":" in target else 4))
    return Way(mac_of(sender), mac_of(host, host.legs[leg].ifname), source, target)
