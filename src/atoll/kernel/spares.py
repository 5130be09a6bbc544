"""Namespaces made in advance, by a thread of their own: who attaches needn't wait while the kernel makes one.

A spare is mounted nowhere and nobody is in it: it ends with the process. The first one is asked for before any is
made, so that a process which makes no namespace has none lying about.
"""

import logging
import os
from contextlib import ExitStack
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

from atoll.errors import AtollError
from atoll.kernel import netns
from atoll.kernel.rtnetlink import RouteSocket
from atoll.kernel.sysctl import View

_log = logging.getLogger(__name__)

SPARES_MAX = 4
"""Making one takes a millisecond, and an attach at least two."""


@dataclass(frozen=True, slots=True)
class Spare:
    """A new namespace as `netns.make` makes them: a descriptor of it, and a socket inside. All is the taker's."""

    descriptor: int
    socket: RouteSocket
    ipv6_switch: int | None

    def mount(self, path: str, *, ipv6: bool) -> bool:
        """As `netns.make`."""
        if ipv6 and self.ipv6_switch is not None:
            os.write(self.ipv6_switch, b"0")
        return netns.make(path, ready=self.descriptor)

    def close(self) -> None:
        """Let go of the namespace: it ends here unless it was mounted."""
        self.socket.close()
        os.close(self.descriptor)
        if self.ipv6_switch is not None:
            os.close(self.ipv6_switch)


class Spares:
    """A few new namespaces, as a thread in the host's namespace makes them. Taken by one thread."""

    def __init__(self) -> None:
        self._ready: SimpleQueue[Spare] = SimpleQueue()
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._thread: Thread | None = None

    def take(self) -> Spare | None:
        """One that is ready, None when there is none; another will be made."""
        if self._thread is None:
            self._thread = Thread(target=self._make, name="spares", daemon=True)
            self._thread.start()
            for _ in range(SPARES_MAX):
                self._wanted.put(True)
            return None
        try:
            found = self._ready.get_nowait()
        except Empty:
            return None
        self._wanted.put(True)
        return found

    def close(self) -> None:
        """End the thread and the namespaces."""
        if self._thread is None:
            return
        self._wanted.put(False)
        self._thread.join()
        self._thread = None
        while not self._ready.empty():
            self._ready.get().close()

    def _make(self) -> None:
        view = View()
        while self._wanted.get():
            try:
                self._ready.put(netns.run_apart(lambda: _spare(view)))
            except AtollError as error:
                # Who takes none makes one itself, and is told what is wrong.
                _log.info("no namespace in advance: %s %s", error, error.detail)
        view.close()


def _spare(view: View) -> Spare:
    netns.furnish(view)
    with ExitStack() as opened:
        descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        opened.callback(os.close, descriptor)
        socket = RouteSocket()
        opened.callback(socket.close)
        spare = Spare(descriptor, socket, netns.open_ipv6_switch())
        opened.pop_all()
    return spare
