"""`python -m atoll.relay --control PATH`: start the relay, and return once it answers on PATH.

The process that stays has a session of its own and nothing of its parent's: it lives on when the daemon is killed. It
holds a lock on PATH.lock, so there is one relay a path.
"""

import argparse
import dataclasses
import fcntl
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

from atoll.relay.control import Control, Relay
from atoll.relay.limits import Limits
from atoll.relay.loop import Loop


def main(arguments: list[str]) -> int:
    """Start the relay in the background. Exit status 1 when PATH has a relay already."""
    parser = argparse.ArgumentParser(prog="python -m atoll.relay", description=__doc__)
    parser.add_argument("--control", type=Path, required=True, metavar="PATH", help="where to listen for the daemon")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="where a crash is written; emptied first")
    for limit in dataclasses.fields(Limits):
        flag = "--" + limit.name.replace("_", "-")
        parser.add_argument(flag, type=type(limit.default), default=limit.default, help="default %(default)s")
    options = parser.parse_args(arguments)
    limits = Limits(**{limit.name: getattr(options, limit.name) for limit in dataclasses.fields(Limits)})

    lock = os.open(f"{options.control}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another relay serves {options.control}", file=sys.stderr)
        return 1
    sock = _listen(options.control)
    if os.fork():
        return 0
    _detach(options.log)
    try:
        _serve(sock, limits)
    finally:
        options.control.unlink(missing_ok=True)
    return 0


def _listen(control: Path) -> socket.socket:
    # The lock says that nobody listens on what may still lie there.
    control.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    umask = os.umask(0o177)
    try:
        sock.bind(str(control))
    finally:
        os.umask(umask)
    sock.listen()
    return sock


def _detach(log: Path) -> None:
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)


def _serve(sock: socket.socket, limits: Limits) -> None:
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = Loop(time.monotonic)
    relay = Relay(loop, limits)
    control = Control(loop, limits, relay, sock)
    try:
        loop.run(control.tick)
    finally:
        relay.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
