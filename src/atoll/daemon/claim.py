"""One daemon a network namespace: an abstract unix socket, which lives in the namespace and ends with the process."""

import errno
import socket
import struct

from atoll.errors import Unavailable

_NAME = "\0atoll/daemon"
"""Abstract names are the network namespace's own, man 7 unix."""
_UCRED = struct.Struct("3i")


class NamespaceClaim:
    """Holds the network namespace of the calling thread against a second daemon."""

    def __init__(self) -> None:
        """Take it at once. Raises Unavailable naming the pid that has it."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(_NAME)
            # Connecting tells the holder's credentials; nobody ever accepts.
            self._socket.listen(0)
        except OSError as error:
            self._socket.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise _held(_holder()) from None

    def release(self) -> None:
        """Let go of it."""
        self._socket.close()


def _holder() -> int:
    """The holder's pid, 0 when it can't be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(_NAME)
        except OSError:
            return 0
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(credentials)[0])


def _held(pid: int) -> Unavailable:
    who = f"process {pid}" if pid else "another process"
    return Unavailable(
        f"a daemon serves this network namespace already: {who}",
        hint=f"ps -p {pid}; then: atoll down" if pid else "atoll down",
        subject=str(pid),
    )
