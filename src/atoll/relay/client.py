"""The daemon's side of the relay: start it, tell it what to serve, get held sockets back."""

import contextlib
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from atoll.errors import AtollError, InvalidRequest, Unavailable
from atoll.relay.limits import Limits
from atoll.relay.messages import WIRE_VERSION, Add, Lent, List, Opened, RelayEntry, RelayTarget, Row, Take
from atoll.relay.wire import encode_request, pack, pack_keys, parse_failed, parse_page
from atoll.service.client import ServiceClient
from atoll.service.process import limit_arguments

UNANSWERED_MAX = 2
"""Requests on their way at once: the relay has the next one when it has answered one, and its answers fit the room
that a connection has for them (net.core.wmem_default)."""


class Offer(NamedTuple):
    """Where the bytes of a key's ports go, and where the ports come from: bound sockets in a row, of which the relay
    gets duplicates, or ports that it opens itself."""

    target: RelayTarget
    source: Sequence[socket.socket] | Opened


class RelayClient:
    """One connection to the relay at `control_path`, made when needed. Used by one thread.

    Nothing here needs the relay to be a child: it is found by its path, also after the daemon was killed. `netns` is
    the inode of the network namespace whose ports it opens; one in another is replaced, 0 takes any. Every call waits
    at most `timeout_s` for each answer, and raises Unavailable when none comes.
    """

    def __init__(
        self, control_path: Path, *, limits: Limits | None = None, timeout_s: float = 5, netns: int = 0
    ) -> None:
        self.path = control_path
        self._service = ServiceClient(
            control_path,
            name="relay",
            module="atoll.relay",
            version=WIRE_VERSION,
            options=limit_arguments(limits or Limits()),
            timeout_s=timeout_s,
            netns=netns,
        )
        self._change: RelayChange | None = None
        self.running = self._service.running
        self.pid = self._service.pid
        self.ensure_running = self._service.ensure_running
        self.stop = self._service.stop

    def sync(self, desired: Mapping[str, Offer]) -> Mapping[str, str]:
        """Make the relay serve exactly `desired`, changing only what differs; gives why not, by key, for what it can't.

        Starts the relay when there is something to serve. Raises Unavailable when it can't be started, or is silent.
        """
        self._settle()
        if desired:
            self.ensure_running()
        elif not self.running():
            return {}
        served = {key: entry.target for key, entry in self.entries().items()}
        return self.change(served, desired).finish()

    def change(self, served: Mapping[str, RelayTarget], desired: Mapping[str, Offer]) -> "RelayChange":
        """Begin as `sync`, with some keys: what was `served` of them becomes `desired`, and all others stay.

        The relay is at work until the change is finished, which any other request does, too. Raises Unavailable when no
        relay runs.
        """
        self._settle()
        change = RelayChange(self._service, served, desired)
        if (served or desired) and not self._service.connected and not self.running():
            raise Unavailable(f"no relay runs at {self.path}")
        change.begin()
        self._change = change
        return change

    def entries(self) -> dict[str, RelayEntry]:
        """What is served, with counts, by key. Raises Unavailable when no relay runs."""
        self._settle()
        found: dict[str, RelayEntry] = {}
        more = True
        while more:
            page, more = parse_page(self._service.ask(encode_request(List(max(found, default="")))))
            found.update((entry.key, entry) for entry in page)
            more = more and bool(page)
        return found

    def take(self, key: str) -> list[socket.socket]:
        """Duplicates of the bound sockets of a key, by port, for a daemon that has lost its own by a restart.

        Raises InvalidRequest when the key isn't served.
        """
        self._settle()
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

    def _settle(self) -> None:
        change, self._change = self._change, None
        if change is not None:
            # Whoever waits for it is told by itself.
            with contextlib.suppress(AtollError):
                change.finish()


class RelayChange:
    """Keys that the relay is told to serve, or to serve no more. Few packets, of which two may be unanswered."""

    def __init__(self, service: ServiceClient, served: Mapping[str, RelayTarget], desired: Mapping[str, Offer]) -> None:
        stays = {key for key, target in served.items() if key in desired and _fits(target, desired[key].target)}
        rows = [_row(key, offer, key in stays) for key, offer in desired.items() if served.get(key) != offer.target]
        self._service = service
        self._desired = desired
        self._removals: Iterator[bytes] = pack_keys([key for key in served if key not in stays])
        self._additions = pack(rows)
        self._unanswered: deque[Sequence[Row]] = deque()
        """The rows of each request, none where keys are removed."""
        self._refused: list[Row] = []
        self._failed: dict[str, str] = {}

    def begin(self) -> None:
        """Send what may be sent without an answer. Raises Unavailable."""
        while len(self._unanswered) < UNANSWERED_MAX and self._send_next():
            pass

    def finish(self) -> Mapping[str, str]:
        """Wait for the relay; gives why not, by key, for what it can't serve. Raises Unavailable."""
        while self._unanswered:
            self._take_answer(self._unanswered[0])
            self.begin()
        while self._refused:
            row = self._refused.pop()
            self._send(encode_request(Add((row,))), (row,))
            self._take_answer((row,))
        return self._failed

    def _send_next(self) -> bool:
        removal = next(self._removals, None)
        if removal is not None:
            self._send(removal, ())
            return True
        if not all(self._unanswered):
            # Ports that are removed are free to be opened under another key when that is answered.
            return False
        rows, packet = next(self._additions, ((), b""))
        if rows:
            self._send(packet, rows)
        return bool(rows)

    def _send(self, packet: bytes, rows: Sequence[Row]) -> None:
        sockets = [each for row in rows if isinstance(row.source, Lent) for each in self._sockets_of(row)]
        self._service.send(packet, sockets)
        self._unanswered.append(rows)

    def _sockets_of(self, row: Row) -> Sequence[socket.socket]:
        source = self._desired[row.key].source
        return () if isinstance(source, Opened) or row.source == Lent() else source

    def _take_answer(self, rows: Sequence[Row]) -> None:
        body, received = self._service.receive()
        self._unanswered.popleft()
        for extra in received:
            extra.close()
        error = body.get("error")
        if error is None:
            reasons = parse_failed(body) if rows else {}
            self._failed.update((rows[place].key, reason) for place, reason in reasons.items())
        elif len(rows) == 1:
            self._failed[rows[0].key] = str(error)
        else:
            # For want of files, or for one of them: alone, each learns what is in its way.
            self._refused += rows


def _fits(served: RelayTarget, wanted: RelayTarget) -> bool:
    return served.protocol is wanted.protocol


def _row(key: str, offer: Offer, served: bool) -> Row:
    if served:
        return Row(key, offer.target, Lent())
    return Row(key, offer.target, offer.source if isinstance(offer.source, Opened) else Lent(len(offer.source)))
