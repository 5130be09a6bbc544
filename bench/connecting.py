"""Both ends of connections: `python -m bench.connecting` serves `listen` and `connect` where it runs."""

import socket
import statistics
import struct
import threading
import time

from bench.worker import serve

BACKLOG = 1024
_RESET_AT_ONCE = struct.pack("ii", 1, 0)
"""struct linger: no TIME_WAIT, so that thousands of connections never lack a port."""


def listen(port: int) -> None:
    """Accept whoever comes, and let go at once."""
    listener = socket.create_server(("0.0.0.0", port), backlog=BACKLOG)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()


def connect(address: str, port: int, count: int) -> float:
    """The median of the seconds that `connect` takes, of so many connections one after another."""
    return statistics.median(_connect(address, port) for _ in range(count))


def _accept(listener: socket.socket) -> None:
    while True:
        listener.accept()[0].close()


def _connect(address: str, port: int) -> float:
    with socket.socket() as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
        begun = time.perf_counter()
        trying.connect((address, port))
        return time.perf_counter() - begun


if __name__ == "__main__":
    serve({"listen": listen, "connect": connect})
