"""Becoming a service: one a path, in a session of its own, with nothing of its parent's left open."""

import argparse
import dataclasses
import fcntl
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def arguments_parser(module: str, description: str | None, limits: Any) -> argparse.ArgumentParser:
    """Options of `python -m MODULE`: where the control socket is, and one for each field of `limits`."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--control", type=Path, required=True, metavar="PATH", help="where to listen for the daemon")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="where a crash is written; emptied first")
    for limit in dataclasses.fields(limits):
        default = getattr(limits, limit.name)
        parser.add_argument(_flag(limit.name), type=type(default), default=default, help="default %(default)s")
    return parser


def limit_arguments(limits: Any) -> list[str]:
    """The limits as such options."""
    return [word for name, value in dataclasses.asdict(limits).items() for word in (_flag(name), str(value))]


def parsed_limits(options: argparse.Namespace, limits: Any) -> Any:
    """The limits that options say; a value of the type of `limits`."""
    return type(limits)(**{limit.name: getattr(options, limit.name) for limit in dataclasses.fields(limits)})


def stay(name: str, control: Path, log: Path, serve: Callable[[socket.socket], None]) -> int:
    """Listen on `control` and call `serve` in a process that stays; the parent returns once that can be asked.

    The exit status: 1 when there is such a service already, which is said on stderr. The process holds a lock on
    CONTROL.lock, lives on when its parent is killed, may open as many files as are allowed, and ends by SIGTERM.
    """
    control = control.absolute()
    lock = os.open(f"{control}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another {name} serves {control}", file=sys.stderr)
        return 1
    sock = _listen(control)
    if os.fork():
        return 0
    _detach(log)
    try:
        serve(sock)
    finally:
        control.unlink(missing_ok=True)
    return 0


def start_command(module: str, control: Path, options: Sequence[str]) -> list[str]:
    """The command that starts `module` as a service; its log stands beside its control socket."""
    log = control.with_suffix(".log")
    return [sys.executable, "-I", "-m", module, "--control", str(control), "--log", str(log), *options]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


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
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
