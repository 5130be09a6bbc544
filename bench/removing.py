"""Somebody else at work: `python -m bench.removing SOCKET` serves `remove` in a process of its own."""

import socket
import sys
import time
from pathlib import Path

from bench.client import Client
from bench.worker import serve

PATIENCE_S = 5.0
LOOK_S = 0.01


class Remover:
    """Removes sandboxes of the daemon in whose namespace it runs."""

    def __init__(self, path: Path) -> None:
        self._client = Client(path)

    def remove(self, names: list[str]) -> bool:
        """Remove sandboxes one after another; whether their cables are gone PATIENCE_S after the last answer, too."""
        cables = {cable for name in names for cable in self._cables(name)}
        for name in names:
            self._client.timed("DELETE", f"/atoll/sandboxes/{name}")
        deadline = time.monotonic() + PATIENCE_S
        while there := cables & {name for _, name in socket.if_nameindex()}:
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_S)
        return not there

    def _cables(self, name: str) -> list[str]:
        found = self._client.ask("GET", f"/atoll/sandboxes/{name}")
        return [str(each["HostIfname"]) for each in found["Networks"].values()]


if __name__ == "__main__":
    serve({"remove": Remover(Path(sys.argv[1])).remove})
