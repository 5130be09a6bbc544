"""One epoll loop: who is called when a descriptor is ready, and when time has passed."""

import select
import socket
from collections.abc import Callable
from typing import Final

Ready = Callable[[int], None]
"""Called with the EPOLL* bits of one descriptor."""

TICK_S: Final = 0.5


class Loop:
    """Readiness of sockets, and a tick while somebody waits for time to pass. Used by one thread.

    A socket is closed through `close`, which waits until the batch of events at hand is served: the number of a
    closed descriptor is reused at once, and an event that is still queued for it would reach the wrong socket.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._epoll = select.epoll()
        self._ready: dict[int, Ready] = {}
        self._soon: list[Callable[[], None]] = []
        self._doomed: set[socket.socket] = set()
        self._running = False
        self._ticking = False
        self._ticked_at = 0.0

    def watch(self, sock: socket.socket, events: int, ready: Ready) -> None:
        """Call `ready` for these events (EPOLLERR and EPOLLHUP always). Raises OSError (ENOSPC, ENOMEM)."""
        self._epoll.register(sock.fileno(), events)
        self._ready[sock.fileno()] = ready

    def change(self, sock: socket.socket, events: int) -> None:
        """Watch for other events."""
        self._epoll.modify(sock.fileno(), events)

    def watch_again(self, sock: socket.socket, events: int, ready: Ready) -> None:
        """Watch for other events, and call another for them."""
        self._epoll.modify(sock.fileno(), events)
        self._ready[sock.fileno()] = ready

    def soon(self, call: Callable[[], None]) -> None:
        """Call once, after the events at hand: how long work leaves room for others."""
        self._soon.append(call)

    def close(self, sock: socket.socket) -> None:
        """Stop watching now, close after the events at hand. Closing twice does nothing."""
        if sock.fileno() < 0 or sock in self._doomed:
            return
        if self._ready.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())
        self._doomed.add(sock)

    def stop(self) -> None:
        """Let `run` return after the events at hand."""
        self._running = False

    def request_tick(self) -> None:
        """Have `tick` called in TICK_S."""
        if not self._ticking:
            self._ticking = True
            self._ticked_at = self.clock()

    def run(self, tick: Callable[[float], bool]) -> None:
        """Serve until `stop`. `tick` gets the time, and says whether it wants to be called again in TICK_S."""
        self._running = True
        while self._running:
            timeout = 0 if self._soon else TICK_S if self._ticking else -1
            events = self._epoll.poll(timeout)
            calls, self._soon = self._soon, []
            for descriptor, bits in events:
                ready = self._ready.get(descriptor)
                if ready is not None:
                    ready(bits)
            for call in calls:
                call()
            now = self.clock()
            if self._ticking and now - self._ticked_at >= TICK_S:
                self._ticked_at = now
                self._ticking = tick(now)
            for sock in self._doomed:
                sock.close()
            self._doomed.clear()
