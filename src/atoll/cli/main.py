"""The command `atoll`: parse, run, and turn errors into two lines and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from atoll.cli.http import Client
from atoll.cli.parser import build_parser, socket_path
from atoll.cli.render import report
from atoll.errors import AtollError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and return its exit status.

    0: done. 1: the daemon or the host refused. 130: interrupted. Raises SystemExit with status 2
    when the command line can't be used, and with 0 after `-h`.
    """
    args = build_parser().parse_args(argv)
    try:
        status: int = args.run(args, Client(socket_path(args)))
        sys.stdout.flush()
        return status
    except AtollError as error:
        report(error, verbose=args.verbose)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away (`atoll events | head`). Python flushes stdout once more at exit: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
