"""Between the engine, which says who is called what, and the name service's process, which answers on sockets."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from atoll.dns.client import Lend, NameClient
from atoll.dns.entries import Entry
from atoll.errors import Unavailable
from atoll.kernel import netns
from atoll.kernel.namesockets import open_name_sockets
from atoll.model.sandbox import NetnsEvidence


class Naming:
    """Makes the name service know what the engine says; a SyncNames."""

    def __init__(self, client: NameClient) -> None:
        self._client = client
        self._served: dict[str, int] = {}
        """The inodes of the namespaces in which it answers, by sandbox id."""
        self._behind = False
        """It was not told everything, as it had nobody to answer."""

    def sync(self, entries: Mapping[str, Entry], askers: Mapping[str, NetnsEvidence]) -> Mapping[str, str]:
        """Let it know exactly these entries and answer exactly these askers."""
        inodes, missing = _inodes(askers)
        self._served, self._behind = {}, False
        failed = self._client.sync(entries, inodes, _lending(askers))
        self._note(inodes, failed)
        return {**missing, **failed}

    def change(
        self, drop: Sequence[str], put: Sequence[Entry], askers: Mapping[str, NetnsEvidence]
    ) -> Mapping[str, str]:
        """Let it know other entries, and answer these askers where it doesn't, or in another namespace.

        Raises Unavailable also when it has to be told everything.
        """
        inodes, missing = _inodes(askers)
        fresh = {key: inode for key, inode in inodes.items() if self._served.get(key) != inode}
        if not fresh and not self._served:
            self._behind = True
            return missing
        if self._behind:
            raise Unavailable("the name service had nobody to answer until now, and was not told the names")
        for key in drop:
            self._served.pop(key, None)
        if not (drop or put or fresh):
            return missing
        failed = self._client.change(drop, put, fresh, _lending(askers))
        self._note(fresh, failed)
        return {**missing, **failed}

    def _note(self, served: Mapping[str, int], failed: Mapping[str, str]) -> None:
        self._served.update((key, inode) for key, inode in served.items() if key not in failed)


def _lending(askers: Mapping[str, NetnsEvidence]) -> Lend:
    """Opens the sockets of an asker in its namespace, ours only until the service has them."""

    @contextmanager
    def lend(key: str) -> Iterator[tuple[socket.socket, socket.socket]]:
        udp, tcp = netns.visit(askers[key], open_name_sockets)
        with udp, tcp:
            yield udp, tcp

    return lend


def _inodes(askers: Mapping[str, NetnsEvidence]) -> tuple[dict[str, int], dict[str, str]]:
    """The inodes of namespaces, and why not, by sandbox id, where there is none."""
    inodes, missing = {}, {}
    for key, known in askers.items():
        try:
            inodes[key] = os.stat(known.path).st_ino  # noqa: PTH116
        except OSError as error:
            missing[key] = f"no network namespace at {known.path}: {os.strerror(error.errno or 0).lower()}"
    return inodes, missing
