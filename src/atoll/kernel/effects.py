"""Effects that nobody has to wait for: announcing addresses, forgetting connections.

Each takes tens of milliseconds (closing a packet socket waits for the kernel's readers, a conntrack dump
walks the whole table), while the state that they follow is in force already. So a thread of its own does them,
in order. They are best effort: a process that is killed takes those that wait along.
"""

import logging
from collections.abc import Callable
from queue import Full, Queue
from threading import Thread

from atoll.errors import AtollError

_log = logging.getLogger(__name__)

WAITING_MAX = 8192
"""Effects that may wait; further ones are dropped, and said so."""


class EffectThread:
    """Does effects one after another, in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._waiting: Queue[tuple[str, Callable[[], object]] | None] = Queue(WAITING_MAX)
        self._thread = Thread(target=self._work, name="effects", daemon=True)
        self._thread.start()

    def do(self, words: str, effect: Callable[[], object]) -> None:
        """Have `effect` done soon; `words` say what it is when it can't be."""
        try:
            self._waiting.put_nowait((words, effect))
        except Full:
            _log.error("too much waits to be done: left out: %s", words)

    def drain(self) -> None:
        """Wait until everything that was asked for is done."""
        self._waiting.join()

    def close(self) -> None:
        """Finish what waits and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (next_one := self._waiting.get()) is not None:
            words, effect = next_one
            try:
                effect()
            except AtollError as error:
                # A sandbox may be gone before its address is announced.
                _log.info("cannot %s: %s %s", words, error, error.detail)
            except Exception:
                _log.exception("cannot %s", words)
            finally:
                self._waiting.task_done()
        self._waiting.task_done()
