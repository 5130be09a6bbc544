"""The API's unix socket, and telling the service manager that it is served."""

import errno
import grp
import os
import socket
from contextlib import suppress
from pathlib import Path

from atoll.errors import InvalidRequest, Unavailable

GROUP = "atoll"
"""Members may use the socket, and are thereby root on this host."""
_MODE = 0o660
BACKLOG = 128
"""Clients that may wait to be accepted."""
_PATH_BYTES_MAX = 107
"""sizeof(sun_path) less the zero byte, linux/un.h."""


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0660, group `atoll` where there is one.

    The caller holds the namespace and the state, so a socket file that is there is a dead daemon's and replaced.
    Raises InvalidRequest when the path is too long, Unavailable when it can't be made or somebody listens there.
    """
    if len(os.fsencode(path)) > _PATH_BYTES_MAX:
        raise InvalidRequest(f"socket path {path} is longer than {_PATH_BYTES_MAX} bytes", hint="--socket PATH")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove_dead(path)
        # Nobody may connect before the mode is right.
        before = os.umask(0o777)
        try:
            listening.bind(os.fspath(path))
        finally:
            os.umask(before)
        with suppress(KeyError):
            os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
        path.chmod(_MODE)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        reason = os.strerror(error.errno or 0).lower()
        raise Unavailable(f"cannot listen on {path}: {reason}", hint=f"ls -ld {path.parent} {path}") from error
    return listening


def notify_manager(address: str, state: str) -> None:
    """Tell the service manager a state, `READY=1`. `address` is NOTIFY_SOCKET, "" for none. Source: man 3 sd_notify."""
    if not address:
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as telling, suppress(OSError):
        telling.connect(name)
        telling.send(state.encode())


def _remove_dead(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        if asking.connect_ex(os.fspath(path)) in (0, errno.EAGAIN):
            raise OSError(errno.EADDRINUSE, "somebody listens there")
    path.unlink()
