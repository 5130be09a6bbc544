"""Kernel and store that stop at a given point: by an error, or by killing their own process."""

import errno
import os
import signal
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from atoll.errors import KernelError, StoreFull
from atoll.kernel.kernel import Kernel, Locate, StepFailed
from atoll.model.items import Element, Item, State
from atoll.model.ops import Step
from atoll.model.world import Change, World
from atoll.store.store import Store


class Fuse:
    """Counts points once armed; at `blows_at` (counted from 0) it blows. Never, when None."""

    def __init__(self, blows_at: int | None, *, kills: bool) -> None:
        self.armed = False
        self.passed = 0
        self.blown = False
        self._blows_at = blows_at
        self.kills = kills

    def room(self) -> int | None:
        """How many more points may pass; None when it doesn't matter."""
        if not self.armed or self.blown or self._blows_at is None:
            return None
        return self._blows_at - self.passed

    def pass_points(self, count: int) -> None:
        """Note that so many points were passed."""
        if self.armed:
            self.passed += count

    def blow(self) -> None:
        """Die here, or let the caller raise once."""
        self.blown = True
        if self.kills:
            die()


class DyingKernel:
    """The real kernel, with a fuse before every step and before every reaping."""

    def __init__(self, kernel: Kernel, fuse: Fuse) -> None:
        self._kernel = kernel
        self._fuse = fuse

    def execute(self, steps: Sequence[Step], locate: Locate) -> None:
        """Do the steps before the fuse blows."""
        room = self._fuse.room()
        if room is not None and room < len(steps):
            self._kernel.execute(steps[:room], locate)
            self._fuse.blow()
            raise StepFailed(room, KernelError("injected", errno=errno.EIO))
        self._kernel.execute(steps, locate)
        self._fuse.pass_points(len(steps))

    def reap(self) -> int:
        """Die before reaping, where something was left to reap."""
        if self._fuse.armed and self._fuse.room() == 0:
            self._fuse.blow()
        reaped = self._kernel.reap()
        self._fuse.pass_points(1)
        return reaped

    def __getattr__(self, name: str) -> Any:
        """What only asks is the kernel's."""
        return getattr(self._kernel, name)

    def prepare(self, elements: Iterable[Element] | None = None) -> bool:
        """As the kernel does."""
        return self._kernel.prepare(elements)

    def purge(self) -> None:
        """As the kernel does."""
        self._kernel.purge()

    def owned(self) -> bool:
        """As the kernel does."""
        return self._kernel.owned()

    def observe(self, items: Iterable[Item], locate: Locate) -> State:
        """As the kernel does."""
        return self._kernel.observe(items, locate)

    def survey(self, sandboxes: Iterable[str], locate: Locate) -> State:
        """As the kernel does."""
        return self._kernel.survey(sandboxes, locate)


class DyingStore:
    """A store with a fuse before and after every commit."""

    def __init__(self, store: Store, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    def commit(self, change: Change) -> int:
        """Die before the commit, or right after it; or find the disk full."""
        self._point()
        revision = self._store.commit(change)
        self._passed()
        return revision

    def load(self) -> World:
        """As the store does."""
        return self._store.load()

    def meta(self, key: str) -> str:
        """As the store does."""
        return self._store.meta(key)

    def set_meta(self, key: str, value: str) -> None:
        """A fact is written on the way to a commit: a point like any other."""
        self._point()
        self._store.set_meta(key, value)

    def close(self) -> None:
        """As the store does."""
        self._store.close()

    def _point(self) -> None:
        if self._fuse.room() == 0:
            self._fuse.blow()
            raise StoreFull("injected")
        self._fuse.pass_points(1)

    def _passed(self) -> None:
        # What is committed is committed: this point is only for dying, and nothing else goes wrong instead.
        if self._fuse.room() == 0:
            self._fuse.blow()
        self._fuse.pass_points(1)


def die() -> NoReturn:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")
