"""The daemon's side of the relay: start it, tell it what to serve, get held sockets back."""

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from atoll.errors import AtollError, InvalidRequest, Unavailable
from atoll.relay.limits import Limits
from atoll.relay.wire import (
    WIRE_VERSION,
    Add,
    List,
    RelayEntry,
    RelayTarget,
    Remove,
    Request,
    Take,
    encode_request,
    parse_entry,
)
from atoll.service.client import ServiceClient
from atoll.service.process import limit_arguments

Lend = Callable[[str], AbstractContextManager[Sequence[socket.socket]]]
"""Gives the bound sockets of a key's ports in a row, at most SOCKETS_MAX, for the relay to have duplicates of them.

May raise AtollError.
"""


class RelayClient:
    """One connection to the relay at `control_path`, made when needed. Used by one thread.

    Nothing here needs the relay to be a child: it is found by its path, also after the daemon was killed.
    Every call waits at most `timeout_s` for each answer, and raises Unavailable when none comes.
    """

    def __init__(self, control_path: Path, *, limits: Limits | None = None, timeout_s: float = 5) -> None:
        self.path = control_path
        self._service = ServiceClient(
            control_path,
            name="relay",
            module="atoll.relay",
            version=WIRE_VERSION,
            options=limit_arguments(limits or Limits()),
            timeout_s=timeout_s,
        )
        self.running = self._service.running
        self.pid = self._service.pid
        self.ensure_running = self._service.ensure_running
        self.stop = self._service.stop

    def sync(self, desired: Mapping[str, RelayTarget], lend: Lend) -> dict[str, str]:
        """Make the relay serve exactly `desired`, changing only what differs; gives why not, by key, for what it can't.

        `lend` is called for each key that the relay doesn't serve yet. Starts the relay when there is something to
        serve. Raises Unavailable when it can't be started or doesn't answer.
        """
        if desired:
            self.ensure_running()
        elif not self.running():
            return {}
        served = {key: entry.target for key, entry in self.entries().items()}
        return self._replace(served, desired, lend)

    def change(
        self, served: Mapping[str, RelayTarget], desired: Mapping[str, RelayTarget], lend: Lend
    ) -> dict[str, str]:
        """As `sync`, of some keys: what was `served` of them becomes `desired`, and all others stay as they are.

        Raises Unavailable when no relay runs.
        """
        if not served and not desired:
            return {}
        if not self.running():
            raise Unavailable(f"no relay runs at {self.path}")
        return self._replace(served, desired, lend)

    def _replace(
        self, served: Mapping[str, RelayTarget], desired: Mapping[str, RelayTarget], lend: Lend
    ) -> dict[str, str]:
        failed: dict[str, str] = {}
        for key in served.keys() - desired.keys():
            self._ask(Remove(key))
        for key, target in desired.items():
            there = served.get(key)
            if there == target:
                continue
            try:
                if there is None:
                    self._add(key, target, lend)
                elif there.protocol is target.protocol:
                    self._ask(Add(key, target))
                else:
                    self._ask(Remove(key))
                    self._add(key, target, lend)
            except Unavailable:
                raise
            except AtollError as error:
                failed[key] = error.message
        return failed

    def _add(self, key: str, target: RelayTarget, lend: Lend) -> None:
        with lend(key) as sockets:
            self._ask(Add(key, target), sockets)

    def entries(self) -> dict[str, RelayEntry]:
        """What is served, with counts, by key. Raises Unavailable when no relay runs."""
        found: dict[str, RelayEntry] = {}
        more = True
        while more:
            page = self._ask(List(max(found, default="")))
            entries = [parse_entry(body) for body in page.get("entries", [])]
            found.update((entry.key, entry) for entry in entries)
            more = page.get("more") is True and bool(entries)
        return found

    def take(self, key: str) -> list[socket.socket]:
        """Duplicates of the bound sockets of a key, by port, for a daemon that has lost its own by a restart.

        Raises InvalidRequest when the key isn't served.
        """
        body, sockets = self._service.exchange(encode_request(Take(key)))
        if not sockets:
            raise InvalidRequest(body.get("error", f"the relay sent no socket for {key!r}"))
        return sockets

    def close(self) -> None:
        """Leave the relay: one that serves something runs on, one that has nothing to serve ends."""
        if not self._service.connected:
            return
        with contextlib.suppress(AtollError):
            if not self.entries():
                self._service.dismiss()
        self._service.disconnect()

    def _ask(self, request: Request, sockets: Sequence[socket.socket] = ()) -> dict[str, Any]:
        return self._service.ask(encode_request(request), sockets)
