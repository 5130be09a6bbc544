"""`atoll daemon`: from arguments to an exit status."""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Sequence

from atoll.daemon.arguments import parse_arguments
from atoll.daemon.serve import serve
from atoll.errors import AtollError

_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"

ALLOCATIONS_PER_COLLECTION = 50_000
"""Python looks for cycles after 700 by default; we make next to none, and a thousand ports are many objects."""


def main(argv: Sequence[str]) -> int:
    """Run a daemon in the calling process's network namespace; its exit status: 0 ended as told, 1 broken start."""
    arguments = parse_arguments(argv)
    _log_to_stderr(arguments.log_level)
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION)
    try:
        asyncio.run(serve(arguments))
    except AtollError as error:
        print(f"atoll daemon: {error.message}", file=sys.stderr)
        for label, text in (("detail", error.detail), ("try", error.hint)):
            if text:
                print(f"  {label}: {text}", file=sys.stderr)
        return 1
    return 0


def _log_to_stderr(level: str) -> None:
    formatter = logging.Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler])
