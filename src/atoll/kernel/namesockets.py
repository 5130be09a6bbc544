"""The sockets at which a sandbox asks for names."""

import errno
import os
import socket

from atoll.errors import Conflict, KernelError

NAME_SERVER = "127.0.0.11"
"""Where Docker's containers ask; it stands in their resolv.conf."""
NAME_PORT = 53


def open_name_sockets() -> tuple[socket.socket, socket.socket]:
    """UDP and TCP, bound at 127.0.0.11:53 in the calling thread's network namespace, which they keep while open.

    Raises Conflict when the port is taken, KernelError.
    """
    opened: list[socket.socket] = []
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
            opened.append(sock)
            if kind == socket.SOCK_STREAM:
                # Connections of an earlier name service may be in TIME_WAIT.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((NAME_SERVER, NAME_PORT))
    except OSError as error:
        for sock in opened:
            sock.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"{NAME_SERVER}:{NAME_PORT} is taken by a program in the sandbox", hint=f"ss -lnp sport = {NAME_PORT}"
            ) from error
        code = error.errno or 0
        raise KernelError(
            f"cannot answer at {NAME_SERVER}:{NAME_PORT}: {os.strerror(code).lower()}", errno=code
        ) from error
    udp, tcp = opened
    return udp, tcp
