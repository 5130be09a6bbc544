"""The daemon's side of the name service: start it, tell it who is called what, give it sockets to answer on."""

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from atoll.dns.entries import Entry
from atoll.dns.limits import Limits
from atoll.dns.wire import WIRE_VERSION, List, Listed, changes, digest, encode_request, parse_listed
from atoll.errors import AtollError
from atoll.service.client import ServiceClient
from atoll.service.process import limit_arguments

Lend = Callable[[str], AbstractContextManager[tuple[socket.socket, socket.socket]]]
"""Gives a sandbox's UDP and TCP socket, bound at 127.0.0.11:53, for the service to have duplicates of them.

May raise AtollError and OSError.
"""


class NameClient:
    """One connection to the name service at `path`, made when needed. Used by one thread.

    Every call waits at most `timeout_s` for each answer, and raises Unavailable when none comes.
    """

    def __init__(
        self,
        path: Path,
        *,
        resolv_conf: Path = Path("/etc/resolv.conf"),
        limits: Limits | None = None,
        timeout_s: float = 5,
    ) -> None:
        self.path = path
        self._service = ServiceClient(
            path,
            name="name service",
            module="atoll.dns",
            version=WIRE_VERSION,
            options=["--resolv-conf", str(resolv_conf), *limit_arguments(limits or Limits())],
            timeout_s=timeout_s,
        )
        self.running = self._service.running
        self.pid = self._service.pid
        self.ensure_running = self._service.ensure_running
        self.stop = self._service.stop

    def sync(self, entries: Mapping[str, Entry], serve: Mapping[str, int], lend: Lend) -> dict[str, str]:
        """Let the service have exactly `entries`, and serve exactly the askers `serve` in the namespace of that inode.

        Only what differs is said, so that names that stay go on being answered. Gives why not, by key, for who can't
        be served. Starts the service when there is somebody to serve. Raises Unavailable when it can't be started.
        """
        if serve:
            self.ensure_running()
        elif not self.running():
            return {}
        there = self.entries()
        # A sandbox that is not to be served any more is dropped with its sockets, even if it stays as an asker.
        drop = {key for key, listed in there.items() if key not in entries or (listed.netns and key not in serve)}
        kept = {key: listed.digest for key, listed in there.items() if key not in drop}
        put = [entry for key, entry in entries.items() if kept.get(key) != digest(entry)]
        wanting = {key: netns for key, netns in serve.items() if key not in there or there[key].netns != netns}
        return self.change(sorted(drop), put, wanting, lend)

    def change(self, drop: Sequence[str], put: Sequence[Entry], serve: Mapping[str, int], lend: Lend) -> dict[str, str]:
        """Drop and put entries, then serve askers; of one sandbox that is one step. Gives why not, as `sync`.

        What is put in the place of another keeps its sockets. Raises Unavailable, InvalidRequest.
        """
        failed: dict[str, str] = {}
        lent: dict[str, tuple[socket.socket, socket.socket]] = {}
        with ExitStack() as stack:
            for key in serve:
                try:
                    lent[key] = stack.enter_context(lend(key))
                except AtollError as error:
                    failed[key] = error.message
                except OSError as error:
                    failed[key] = str(error)
            able = [(key, netns) for key, netns in serve.items() if key in lent]
            for packet, keys in changes(drop, put, able):
                answer = self._service.ask(packet, [sock for key in keys for sock in lent[key]])
                failed.update(answer.get("failed", {}))
        return failed

    def entries(self) -> dict[str, Listed]:
        """What the service has, by key. Raises Unavailable when none runs."""
        found: dict[str, Listed] = {}
        more = True
        while more:
            page = self._service.ask(encode_request(List(max(found, default=""))))
            listed = [parse_listed(body) for body in page.get("entries", [])]
            found.update((each.key, each) for each in listed)
            more = page.get("more") is True and bool(listed)
        return found

    def close(self) -> None:
        """Leave the service: one that serves somebody runs on, one that has nobody to serve ends."""
        if not self._service.connected:
            return
        with contextlib.suppress(AtollError):
            if not any(listed.netns for listed in self.entries().values()):
                self._service.dismiss()
        self._service.disconnect()
