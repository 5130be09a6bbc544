"""`python -m atoll.dns --control PATH`: start the name service, and return once it answers on PATH.

The process that stays has a session of its own and nothing of its parent's: it lives on when the daemon is killed. It
holds a lock on PATH.lock, so there is one name service a path. It asks other resolvers from the network namespace in
which it was started.
"""

import itertools
import os
import socket
import sys
import time
from pathlib import Path

from atoll.dns.control import NameService
from atoll.dns.hostresolvers import HostResolvers
from atoll.dns.limits import Limits
from atoll.dns.upstream import Forwarder
from atoll.service.control import ControlLimits, ControlSocket
from atoll.service.loop import Loop
from atoll.service.process import arguments_parser, parsed_limits, stay


def main(arguments: list[str]) -> int:
    """Start the name service in the background. Exit status 1 when PATH has one already."""
    parser = arguments_parser("atoll.dns", __doc__, Limits())
    parser.add_argument(
        "--resolv-conf", type=Path, default=Path("/etc/resolv.conf"), help="the host's resolvers; default %(default)s"
    )
    options = parser.parse_args(arguments)
    limits = parsed_limits(options, Limits())
    resolvers = HostResolvers(options.resolv_conf)
    return stay("name service", options.control, options.log, lambda sock: _serve(sock, limits, resolvers))


def _serve(sock: socket.socket, limits: Limits, resolvers: HostResolvers) -> None:
    loop = Loop(time.monotonic)
    forwarder = Forwarder(loop, limits, resolvers, os.urandom)
    turns = itertools.count(int.from_bytes(os.urandom(2), "big"))
    service = NameService(loop, limits, forwarder, turns)
    control = ControlSocket(loop, ControlLimits(limits.controllers_max, limits.idle_exit_s), service, sock)
    try:
        loop.run(control.tick)
    finally:
        service.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
