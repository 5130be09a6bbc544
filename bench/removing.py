"""Somebody else at work: `python -m bench.removing SOCKET` serves `remove` in a process of its own."""

import sys
from pathlib import Path

from bench.client import Client
from bench.worker import serve


def main(socket: Path) -> None:
    """Serve `remove`: sandboxes by name, one after another."""
    client = Client(socket)

    def remove(names: list[str]) -> None:
        for name in names:
            client.timed("DELETE", f"/atoll/sandboxes/{name}")

    serve({"remove": remove})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
