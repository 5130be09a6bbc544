"""`atoll daemon`, `up`, `down` and `purge`: the daemon's life."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from atoll.cli.changes import change, confirm
from atoll.cli.command import Command
from atoll.cli.http import Client
from atoll.cli.parser import RUN_DIRECTORY, changing, common, confirmed
from atoll.errors import AtollError, Conflict, Unavailable

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any, BinaryIO

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
_ASK_INTERVAL_S = 0.02
_LOG_LINES_MAX = 10

_OPTIONS = (
    ("state_directory", "--state", "DIR", "where networks are remembered (default: /var/lib/atoll)"),
    ("run_directory", "--run", "DIR", f"socket, lock and log; empty after a reboot (default: {RUN_DIRECTORY})"),
    ("netns_directory", "--netns-dir", "DIR", "where namespaces are mounted (default: /run/netns)"),
    (
        "resolv_conf",
        "--resolv-conf",
        "FILE",
        "the resolvers for names that are none of ours (default: /etc/resolv.conf)",
    ),
    ("log_level", "--log-level", "LEVEL", "debug, info, warning or error (default: info)"),
)
_SHARED, _SHARED_TEXT = "--shared-tables", "let other programs change the nftables tables: what they do is mended"


def add_daemon(command: Command) -> None:
    """The daemon itself, in the foreground: what an init system runs."""
    command.examples = ("atoll daemon", "atoll daemon --state /tmp/a/state --run /tmp/a/run --log-level debug")
    common(command)
    _daemon_options(command)
    command.set_defaults(run=_daemon)


def add_up(command: Command) -> None:
    """Start the daemon in the background."""
    command.examples = ("atoll up", "atoll up --state /tmp/a/state --run /tmp/a/run")
    changing(command)
    _daemon_options(command)
    command.set_defaults(run=_up)


def add_down(command: Command) -> None:
    """Stop the daemon."""
    command.examples = ("atoll down",)
    changing(command)
    _run_option(command)
    command.set_defaults(run=_down)


def add_purge(command: Command) -> None:
    """Remove everything."""
    command.examples = ("atoll purge", "atoll purge --dry-run", "atoll purge --force")
    confirmed(command)
    _daemon_options(command)
    command.set_defaults(run=_purge)


def _daemon_options(command: Command) -> None:
    for dest, flag, metavar, text in _OPTIONS:
        command.add_argument(flag, dest=dest, metavar=metavar, help=text)
    command.add_argument(_SHARED, dest="shared_tables", action="store_true", help=_SHARED_TEXT)


def _run_option(command: Command) -> None:
    command.add_argument(
        "--run", dest="run_directory", metavar="DIR", help="the daemon's run directory, for its socket"
    )


def _daemon_arguments(args: argparse.Namespace, client: Client) -> list[str]:
    """The options given, with absolute paths, as the daemon's working directory is another one."""
    words: list[str] = []
    for dest, flag, metavar, _ in _OPTIONS:
        value = getattr(args, dest)
        if value is not None:
            words += (flag, str(Path(value).absolute()) if metavar == "DIR" else value)
    if args.shared_tables:
        words.append(_SHARED)
    return [*words, "--socket", str(Path(client.socket_path).absolute())]


def _daemon(args: argparse.Namespace, client: Client) -> int:
    from atoll.daemon.main import main

    return main(_daemon_arguments(args, client))


def _up(args: argparse.Namespace, client: Client) -> int:
    status = _status(client)
    if status is None and args.dry_run:
        print("# start the daemon in the background; it makes what is stored and missing")
        print(f"{' '.join(['atoll', 'daemon', *_daemon_arguments(args, client)])} >>{_log_path(args)} 2>&1 &")
        return 0
    if status is None:
        _start(args, client)
    elif args.state_directory and Path(args.state_directory).resolve() != Path(status["StateDir"]).resolve():
        raise Conflict(
            f"a daemon with the state directory {status['StateDir']} answers at {client.socket_path} already",
            hint="atoll down",
        )
    print(client.socket_path)
    return 0


def _down(args: argparse.Namespace, client: Client) -> int:
    status = _status(client)
    if status is None:
        print("atoll: the daemon is not running", file=sys.stderr)
    elif args.dry_run:
        print("# stop the daemon; networks and sandboxes stay as they are")
        print(f"kill -TERM {status['Pid']}")
    else:
        import signal

        pidfd = _pidfd(status["Pid"])
        if pidfd is not None:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            _await_exit(pidfd, status["Pid"])
    return 0


def _purge(args: argparse.Namespace, client: Client) -> int:
    status = _status(client)
    question = (
        "This removes every network, sandbox, container, image and volume that atoll made, with all that is "
        "remembered of them. Go on?"
    )
    if args.dry_run:
        return _purge_steps(args, client, status)
    if not args.force and not confirm(question, "atoll purge"):
        return 1
    if status is None:
        _start(args, client)
        status = client.get("/atoll/status")
    pidfd = _pidfd(status["Pid"])
    removed = client.request("POST", "/atoll/purge")
    print(f"removed {removed['Networks']} networks and {removed['Sandboxes']} sandboxes")
    if removed.get("Containers") or removed.get("Images"):
        print(f"removed {removed['Containers']} containers and {removed['Images']} images")
    if pidfd is not None:
        _await_exit(pidfd, status["Pid"])
    return 0


def _purge_steps(args: argparse.Namespace, client: Client, status: dict[str, Any] | None) -> int:
    """Print what a purge would do. Raises Unavailable when there is no daemon to ask: starting one makes things."""
    if status is None:
        raise Unavailable("the daemon is not running, so it is not known what would be removed", hint="atoll up")
    change(client, args, "POST", "/atoll/purge")
    print("# the rules")
    for table in client.get("/atoll/rules")["Tables"]:
        print(f"nft delete table {table}")
    print(f"# the daemon, with all that it remembers\nkill -TERM {status['Pid']}")
    return 0


def _start(args: argparse.Namespace, client: Client) -> None:
    """Start a daemon of its own session and wait until it is ready.

    Raises Unavailable when it does not get there, after the last lines of its log on stderr.
    """
    import subprocess

    log_path = _log_path(args)
    try:
        log_path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        log_path.touch(mode=0o640)
        log = log_path.open("a+b")
    except OSError as error:
        raise AtollError(f"cannot write {log_path}: {error.strerror}", hint="run it as root") from None
    with log:
        begin = log.seek(0, os.SEEK_END)
        # -P: the working directory is / and no place to import from.
        command = [sys.executable, "-P", "-m", "atoll", "daemon", *_daemon_arguments(args, client)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (_status(client) or {}).get("Ready"):
            ended = process.poll()
            if ended is None and time.monotonic() < deadline:
                time.sleep(_ASK_INTERVAL_S)
            elif ended is None:
                raise Unavailable(f"the daemon is not ready after {START_TIMEOUT_S} s", hint=f"less {log_path}")
            elif _status(client) is None:
                _print_log(log, begin)
                raise Unavailable(f"the daemon ended with status {ended}", hint=f"less {log_path}")


def _print_log(log: BinaryIO, begin: int) -> None:
    log.seek(begin)
    for line in log.read().decode(errors="replace").splitlines()[-_LOG_LINES_MAX:]:
        print(f"  {line}", file=sys.stderr)


def _log_path(args: argparse.Namespace) -> Path:
    return Path(args.run_directory or RUN_DIRECTORY).absolute() / "daemon.log"


def _status(client: Client) -> dict[str, Any] | None:
    """The daemon's status, None when there is no daemon. Raises Unavailable when the socket may not be opened."""
    try:
        status: dict[str, Any] = client.get("/atoll/status")
    except Unavailable:
        if Path(client.socket_path).exists() and not os.access(client.socket_path, os.W_OK):
            raise
        return None
    return status


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _await_exit(pidfd: int, pid: int) -> None:
    """Wait for the end of a process. Raises Unavailable after STOP_TIMEOUT_S."""
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(STOP_TIMEOUT_S * 1000):
        raise Unavailable(f"the daemon (process {pid}) has not ended in {STOP_TIMEOUT_S} s")
