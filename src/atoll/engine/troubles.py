"""What is not as it should be, and why: told once when it begins, and once when it is over."""

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from atoll.engine.events import Event

_log = logging.getLogger(__name__)


class Aspect(StrEnum):
    """What of an object is in trouble. One aspect's end says nothing of another."""

    KERNEL = "kernel"
    NAMES = "names"
    PORTS = "ports"
    RELAY = "relay"
    REMOVAL = "removal"


class Troubles:
    """Reasons by object and aspect; "" stands for the host. Written by the engine's thread.

    `named` gives the attributes that name an object in an event.
    """

    def __init__(
        self, emit: Callable[[Event], None], now_ns: Callable[[], int], named: Callable[[str], Mapping[str, str]]
    ) -> None:
        self._emit = emit
        self._now_ns = now_ns
        self._named = named
        self._reasons: dict[str, dict[Aspect, str]] = {}
        self._kinds: dict[str, str] = {}

    @property
    def degraded(self) -> Mapping[str, str]:
        """All reasons of an object in one text, by its id. A snapshot: any thread may read it."""
        return MappingProxyType({object_id: "; ".join(by.values()) for object_id, by in self._reasons.copy().items()})

    def having(self, aspect: Aspect) -> tuple[str, ...]:
        """The objects in trouble of one aspect, by id."""
        return tuple(sorted(object_id for object_id, by in self._reasons.items() if aspect in by))

    def begin(self, kind: str, object_id: str, aspect: Aspect, reason: str) -> None:
        """Say that an object is not as it should be; the same reason is not said twice."""
        mine = self._reasons.get(object_id, {})
        if mine.get(aspect) == reason:
            return
        # Replaced, not changed: readers have the old one.
        self._reasons[object_id] = {**mine, aspect: reason}
        self._kinds[object_id] = kind
        _log.warning("%s %s is degraded: %s", kind, object_id[:12], reason)
        attributes = {**self._named(object_id), "aspect": aspect.value, "reason": reason}
        self._emit(Event(kind, "degraded", object_id, self._now_ns(), attributes))

    def end(self, object_id: str, aspect: Aspect) -> None:
        """Say that an aspect is right again; nothing when it was."""
        mine = self._reasons.get(object_id, {})
        if aspect not in mine:
            return
        left = {other: reason for other, reason in mine.items() if other is not aspect}
        kind = self._kinds[object_id]
        if left:
            self._reasons[object_id] = left
        else:
            self.forget(object_id)
        attributes = {**self._named(object_id), "aspect": aspect.value}
        self._emit(Event(kind, "recovered", object_id, self._now_ns(), attributes))

    def forget(self, object_id: str) -> None:
        """The object is gone: nothing said of it counts any more."""
        self._reasons.pop(object_id, None)
        self._kinds.pop(object_id, None)
