"""The daemon's side of a service: start it, find it again, ask it."""

import contextlib
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atoll.errors import InvalidRequest, Unavailable
from atoll.service.packet import PACKET_BYTES_MAX, SOCKETS_MAX, encode, parse
from atoll.service.process import start_command

Received = tuple[dict[str, Any], list[socket.socket]]


class ServiceClient:
    """One connection to the service at `path`, made when needed. Used by one thread.

    Nothing here needs the service to be a child: it is found by its path, also after the daemon was killed.
    Every call waits at most `timeout_s` for each answer, and raises Unavailable when none comes. `name` is the
    service's in messages; `version` that of its requests, of which {"op": "hello"} and {"op": "stop"} are all
    services'; `options` are given to `python -m MODULE` when it is started. `netns` is the inode of the network
    namespace that it has to say it is in; 0 is any.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        module: str,
        version: int,
        options: Sequence[str],
        timeout_s: float,
        netns: int = 0,
    ) -> None:
        self.path = path
        self._name = name
        self._module = module
        self._version = version
        self._options = options
        self._timeout_s = timeout_s
        self._netns = netns
        self._sock: socket.socket | None = None

    def running(self) -> bool:
        """Whether a service answers that speaks our version, where it has to be. Effects: another is told to stop."""
        try:
            body = self._hello()
        except Unavailable:
            return False
        if body.get("version") != self._version or self._netns not in (0, body.get("netns")):
            self.dismiss()
            return False
        return True

    def pid(self) -> int:
        """The service's process. Raises Unavailable when none runs."""
        return int(self._hello()["pid"])

    def ensure_running(self) -> None:
        """Start the service unless it runs. Raises Unavailable with the process's words in `detail`."""
        said = ""
        # Twice, as one that has been idle for long may be about to end when it is first asked.
        for _ in range(2):
            if self.running():
                return
            said = self._start()
        if not self.running():
            raise Unavailable(f"can't start the {self._name} at {self.path}", detail=said)

    def stop(self) -> None:
        """End the service; none running is no error."""
        if self.running():
            self.dismiss()

    def dismiss(self) -> None:
        """End the service that is there, and wait until its path is free."""
        with contextlib.suppress(Unavailable):
            self.ask(encode({"op": "stop"}))
            # The end of the connection is the end of the process: only then is its lock free.
            if self._sock is not None:
                with contextlib.suppress(OSError):
                    self._sock.recv(1)
        self.disconnect()

    def disconnect(self) -> None:
        """Leave the service as it is."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    @property
    def connected(self) -> bool:
        """Whether a connection is open; the service may have ended since."""
        return self._sock is not None

    def ask(self, packet: bytes, sockets: Sequence[socket.socket] = ()) -> dict[str, Any]:
        """The answer to a request. Raises InvalidRequest with the service's words when it can't be done."""
        body, received = self.exchange(packet, sockets)
        for extra in received:
            extra.close()
        if "error" in body:
            raise InvalidRequest(f"{self._name}: {body['error']}")
        return body

    def exchange(self, packet: bytes, sockets: Sequence[socket.socket] = ()) -> Received:
        """The answer to a request as it is, with the sockets that came along."""
        self.send(packet, sockets)
        return self.receive()

    def send(self, packet: bytes, sockets: Sequence[socket.socket] = ()) -> None:
        """Send a request without waiting; answers come in the same order. A service ends a connection whose answers
        wait in numbers."""
        sock = self._sock or self._connect()
        try:
            socket.send_fds(sock, [packet], [each.fileno() for each in sockets])
        except OSError as error:
            self.disconnect()
            raise self._silent(error) from error

    def receive(self) -> Received:
        """The next answer as it is, with the sockets that came along."""
        try:
            if self._sock is None:
                raise ConnectionResetError("the connection has ended")
            answer, descriptors, flags, _address = socket.recv_fds(self._sock, PACKET_BYTES_MAX, SOCKETS_MAX)
            if not answer:
                raise ConnectionResetError(f"the {self._name} has ended")
        except OSError as error:
            self.disconnect()
            raise self._silent(error) from error
        received = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if flags & socket.MSG_CTRUNC:
            for extra in received:
                extra.close()
            raise Unavailable(f"the {self._name} at {self.path} sent more sockets than files can be opened")
        return parse(answer), received

    def _silent(self, error: OSError) -> Unavailable:
        return Unavailable(f"the {self._name} at {self.path} doesn't answer", detail=str(error))

    def _hello(self) -> dict[str, Any]:
        body, received = self.exchange(encode({"op": "hello", "version": self._version}))
        for extra in received:
            extra.close()
        return body

    def _start(self) -> str:
        """Start a service, which returns when it answers; what it said."""
        try:
            done = subprocess.run(
                start_command(self._module, self.path, self._options),
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

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(self._timeout_s)
        try:
            sock.connect(str(self.path))
        except OSError as error:
            sock.close()
            raise Unavailable(f"no {self._name} answers on {self.path}", detail=str(error)) from error
        self._sock = sock
        return sock
