"""The daemon's side of the relay: start it, tell it what to serve, get held sockets back."""

import contextlib
import dataclasses
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from atoll.errors import AtollError, InvalidRequest, Unavailable
from atoll.relay.limits import Limits
from atoll.relay.wire import (
    PACKET_BYTES_MAX,
    SOCKETS_MAX,
    WIRE_VERSION,
    Add,
    Hello,
    List,
    RelayEntry,
    RelayTarget,
    Remove,
    Request,
    Stop,
    Take,
    encode_request,
    parse,
    parse_entry,
)

Received = tuple[dict[str, Any], list[socket.socket]]

Lend = Callable[[str], AbstractContextManager[Sequence[socket.socket]]]
"""Gives the bound sockets of a key's ports in a row, at most SOCKETS_MAX, for the relay to have duplicates of them.

May raise AtollError.
"""


class RelayClient:
    """One connection to the relay at `control_path`, made when needed. Used by one thread.

    Nothing here needs the relay to be a child: it is found by its path, also after the daemon was killed.
    Every call waits at most `timeout_s` for each answer, and raises Unavailable when none comes.
    """

    def __init__(self, control_path: Path, *, limits: Limits | None = None, timeout_s: float = 5) -> None:
        self.path = control_path
        self._limits = limits or Limits()
        self._timeout_s = timeout_s
        self._sock: socket.socket | None = None

    def running(self) -> bool:
        """Whether a relay answers that speaks our version. Effects: one that speaks another is told to stop."""
        try:
            body, _ = self._exchange(Hello(WIRE_VERSION))
        except Unavailable:
            return False
        if body.get("version") != WIRE_VERSION:
            self._dismiss()
            return False
        return True

    def pid(self) -> int:
        """The relay's process. Raises Unavailable when none runs."""
        return int(self._ask(Hello(WIRE_VERSION))["pid"])

    def ensure_running(self) -> None:
        """Start the relay unless it runs. Raises Unavailable with the process's words in `detail`."""
        said = ""
        # Twice, as a relay that has been idle for long may be about to end when it is first asked.
        for _ in range(2):
            if self.running():
                return
            said = self._start()
        if not self.running():
            raise Unavailable(f"can't start the relay at {self.path}", detail=said)

    def sync(self, desired: Mapping[str, RelayTarget], lend: Lend) -> dict[str, str]:
        """Make the relay serve exactly `desired`, changing only what differs; gives why not, by key, for what it can't.

        `lend` is called for each key that the relay doesn't serve yet. Starts the relay when there is something to
        serve. Raises Unavailable when it can't be started or doesn't answer.
        """
        if desired:
            self.ensure_running()
        elif not self.running():
            return {}
        served = {key: entry.target for key, entry in self.entries().items()}
        return self._replace(served, desired, lend)

    def change(
        self, served: Mapping[str, RelayTarget], desired: Mapping[str, RelayTarget], lend: Lend
    ) -> dict[str, str]:
        """As `sync`, of some keys: what was `served` of them becomes `desired`, and all others stay as they are.

        Raises Unavailable when no relay runs.
        """
        if not served and not desired:
            return {}
        if not self.running():
            raise Unavailable(f"no relay runs at {self.path}")
        return self._replace(served, desired, lend)

    def _replace(
        self, served: Mapping[str, RelayTarget], desired: Mapping[str, RelayTarget], lend: Lend
    ) -> dict[str, str]:
        failed: dict[str, str] = {}
        for key in served.keys() - desired.keys():
            self._ask(Remove(key))
        for key, target in desired.items():
            there = served.get(key)
            if there == target:
                continue
            try:
                if there is None:
                    self._add(key, target, lend)
                elif there.protocol is target.protocol:
                    self._ask(Add(key, target))
                else:
                    self._ask(Remove(key))
                    self._add(key, target, lend)
            except Unavailable:
                raise
            except AtollError as error:
                failed[key] = error.message
        return failed

    def _add(self, key: str, target: RelayTarget, lend: Lend) -> None:
        with lend(key) as sockets:
            self._ask(Add(key, target), sockets)

    def entries(self) -> dict[str, RelayEntry]:
        """What is served, with counts, by key. Raises Unavailable when no relay runs."""
        found: dict[str, RelayEntry] = {}
        more = True
        while more:
            page = self._ask(List(max(found, default="")))
            entries = [parse_entry(body) for body in page.get("entries", [])]
            found.update((entry.key, entry) for entry in entries)
            more = page.get("more") is True and bool(entries)
        return found

    def take(self, key: str) -> list[socket.socket]:
        """Duplicates of the bound sockets of a key, by port, for a daemon that has lost its own by a restart.

        Raises InvalidRequest when the key isn't served.
        """
        body, sockets = self._exchange(Take(key))
        if not sockets:
            raise InvalidRequest(body.get("error", f"the relay sent no socket for {key!r}"))
        return sockets

    def stop(self) -> None:
        """End the relay and its connections; none running is no error."""
        if self.running():
            self._dismiss()

    def close(self) -> None:
        """Leave the relay: one that serves something runs on, one that has nothing to serve ends."""
        if self._sock is None:
            return
        with contextlib.suppress(AtollError):
            if not self.entries():
                self._dismiss()
        self._disconnect()

    def _start(self) -> str:
        """Start a relay, which returns when it answers; what it said."""
        command = [sys.executable, "-I", "-m", "atoll.relay", "--control", str(self.path)]
        command += ["--log", str(self.path.with_suffix(".log"))]
        for name, value in dataclasses.asdict(self._limits).items():
            command += ["--" + name.replace("_", "-"), str(value)]
        try:
            done = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=4 * self._timeout_s,
                env={},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return done.stderr.strip()

    def _dismiss(self) -> None:
        with contextlib.suppress(Unavailable):
            self._ask(Stop())
            # The end of the connection is the end of the process: only then is its lock free.
            if self._sock is not None:
                with contextlib.suppress(OSError):
                    self._sock.recv(1)
        self._disconnect()

    def _disconnect(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(self._timeout_s)
        try:
            sock.connect(str(self.path))
        except OSError as error:
            sock.close()
            raise Unavailable(f"no relay answers on {self.path}", detail=str(error)) from error
        self._sock = sock

    def _ask(self, request: Request, sockets: Sequence[socket.socket] = ()) -> dict[str, Any]:
        body, received = self._exchange(request, sockets)
        for extra in received:
            extra.close()
        if "error" in body:
            raise InvalidRequest(f"relay: {body['error']}")
        return body

    def _exchange(self, request: Request, sockets: Sequence[socket.socket] = ()) -> Received:
        if self._sock is None:
            self._connect()
        assert self._sock is not None
        try:
            socket.send_fds(self._sock, [encode_request(request)], [sock.fileno() for sock in sockets])
            packet, descriptors, flags, _address = socket.recv_fds(self._sock, PACKET_BYTES_MAX, SOCKETS_MAX)
            if not packet:
                raise ConnectionResetError("the relay has ended")
        except OSError as error:
            self._disconnect()
            raise Unavailable(f"the relay at {self.path} doesn't answer", detail=str(error)) from error
        received = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if flags & socket.MSG_CTRUNC:
            for extra in received:
                extra.close()
            raise Unavailable(f"the relay at {self.path} sent more sockets than files can be opened")
        return parse(packet), received
