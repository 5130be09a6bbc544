"""The daemon's command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Arguments:
    """Where a daemon keeps things; with other places, and in another namespace, several run on one machine.

    Paths are absolute. `state` outlives a reboot, `run` does not.
    """

    state: Path
    run: Path
    socket: Path
    netns_directory: Path
    log_level: str
    resolv_conf: Path = RESOLV_CONF
    shared_tables: bool = False


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Parse the command line, without the program's name. Exits with status 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="atoll daemon", description="Serve the networks of this host.")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/atoll"), help="kept across reboots")
    parser.add_argument("--run", type=Path, default=Path("/run/atoll"), help="gone after a reboot")
    parser.add_argument("--socket", type=Path, help="where the API is served (RUN/atoll.sock)")
    parser.add_argument(
        "--netns-dir", type=Path, default=Path("/run/netns"), help="where namespaces of sandboxes are mounted"
    )
    parser.add_argument(
        "--resolv-conf",
        type=Path,
        default=RESOLV_CONF,
        help="the resolvers that names of others are asked of",
    )
    parser.add_argument(
        "--shared-tables", action="store_true", help="let others change our nftables tables, as before Linux 6.9"
    )
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info")
    given = parser.parse_args(argv)
    run: Path = given.run.absolute()
    return Arguments(
        state=given.state.absolute(),
        run=run,
        socket=given.socket.absolute() if given.socket else run / "atoll.sock",
        netns_directory=given.netns_dir.absolute(),
        resolv_conf=given.resolv_conf.absolute(),
        shared_tables=given.shared_tables,
        log_level=given.log_level,
    )
