"""What passes an interface, seen by tcpdump: started, waited for, read as packets."""

import ipaddress
import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from atoll.errors import Unavailable

_LINE = re.compile(r"(?P<time>\d+\.\d+) (?:\S+ +(?:In|Out|B|M|P) +)?(?P<kind>IP6?) (?P<rest>.*)\Z")
_ENDS = re.compile(r"(?:\(.*?\) )?(?P<source>[0-9a-f:.]+) > (?P<target>[0-9a-f:.]+): (?P<what>.*)\Z")

LISTENING = "listening on"
START_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Packet:
    """One line of tcpdump. Ports are 0 for protocols without; `what` is the text after the addresses."""

    time_s: float
    source: str
    source_port: int
    target: str
    target_port: int
    what: str

    def __str__(self) -> str:
        ends = [_end(self.source, self.source_port), _end(self.target, self.target_port)]
        return f"{ends[0]} > {ends[1]}: {self.what}"


class Capture:
    """A running tcpdump. Also a context manager that stops it."""

    def __init__(self, argv: Callable[[Sequence[str]], list[str]], ifname: str, expression: str) -> None:
        command = ["tcpdump", "-i", ifname, "-n", "-tt", "-l", "-U", "--immediate-mode", *expression.split()]
        self._packets: list[Packet] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            argv(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,  # ^C on the terminal is the lab's to answer
        )
        self._await_listening(ifname)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def packets(self, at_least: int = 0, *, timeout_s: float = 2) -> tuple[Packet, ...]:
        """What was seen so far, after waiting until there are `at_least` so many or the time is over."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while len(self._packets) < at_least and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return tuple(self._packets)

    def stop(self) -> tuple[Packet, ...]:
        """End the capture; everything it saw."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        return tuple(self._packets)

    def __enter__(self) -> "Capture":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _await_listening(self, ifname: str) -> None:
        # tcpdump says so only once the packet socket is bound: what is sent after this line is seen.
        assert self._process.stderr is not None
        timer = threading.Timer(START_TIMEOUT_S, self._process.kill)
        timer.start()
        said = []
        for line in self._process.stderr:
            if LISTENING in line:
                timer.cancel()
                return
            said.append(line.strip())
        timer.cancel()
        self._process.wait()
        raise Unavailable(f"cannot capture on {ifname}: {'; '.join(said)}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            packet = parse_packet(line)
            if packet is not None:
                with self._changed:
                    self._packets.append(packet)
                    self._changed.notify_all()


def parse_packet(line: str) -> Packet | None:
    """Read one line of `tcpdump -n -tt`; None for what isn't IP. With `-i any` the interface is left out."""
    outer = _LINE.match(line.strip())
    if outer is None or (ends := _ENDS.match(outer["rest"])) is None:
        return None
    source, source_port = _split(ends["source"])
    target, target_port = _split(ends["target"])
    return Packet(float(outer["time"]), source, source_port, target, target_port, ends["what"])


def _split(text: str) -> tuple[str, int]:
    # 10.0.0.1.80 and fd00::1.80 carry a port, 10.0.0.1 and fd00::1 don't.
    try:
        return str(ipaddress.ip_address(text)), 0
    except ValueError:
        address, _, port = text.rpartition(".")
        return address, int(port)


def _end(address: str, port: int) -> str:
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
