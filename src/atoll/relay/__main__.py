"""`python -m atoll.relay --control PATH`: start the relay, and return once it answers on PATH.

The process that stays has a session of its own and nothing of its parent's: it lives on when the daemon is killed. It
holds a lock on PATH.lock, so there is one relay a path.
"""

import socket
import sys
import time

from atoll.relay.control import Relay
from atoll.relay.limits import Limits
from atoll.service.control import ControlLimits, ControlSocket
from atoll.service.loop import Loop
from atoll.service.process import arguments_parser, parsed_limits, stay


def main(arguments: list[str]) -> int:
    """Start the relay in the background. Exit status 1 when PATH has a relay already."""
    options = arguments_parser("atoll.relay", __doc__, Limits()).parse_args(arguments)
    limits = parsed_limits(options, Limits())
    return stay("relay", options.control, options.log, lambda sock: _serve(sock, limits))


def _serve(sock: socket.socket, limits: Limits) -> None:
    loop = Loop(time.monotonic)
    relay = Relay(loop, limits)
    # Answers wait until what a request closed is closed: its ports can be bound again by then.
    control = ControlSocket(loop, ControlLimits(limits.controllers_max, limits.idle_exit_s), relay, sock, soon=True)
    try:
        loop.run(control.tick)
    finally:
        relay.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
