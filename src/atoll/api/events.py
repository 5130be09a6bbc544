"""Events for those who watch: the last ones kept, each watcher with a bounded queue of its own.

Law: used by the event loop's thread alone; nobody who is slow holds up anybody else.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from atoll.api.filters import parse_filters
from atoll.engine.events import Event

HISTORY_MAX = 256
"""Past events that `since` can reach. Source: eventsLimit in moby, daemon/events."""
WAITING_MAX = 1024
"""Events that may wait for one watcher; one that is further behind is cut off."""

_KEYS = frozenset({"container", "event", "image", "label", "network", "sandbox", "scope", "type"})
_SCOPE = "local"
_SECOND_NS = 10**9


class Watch:
    """One watcher's events, in order."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Event | None] = asyncio.Queue(WAITING_MAX)

    def offer(self, event: Event) -> bool:
        """Give it an event; False when too many wait, and then the watch ends."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.end()
            return False
        return True

    def end(self) -> None:
        """No more events: what waits is dropped, so that the end is seen at once."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)

    async def next(self) -> Event | None:
        """The next event; None at the end."""
        return await self._waiting.get()


class EventHub:
    """Gives every event to every watcher."""

    def __init__(self) -> None:
        self._history: deque[Event] = deque(maxlen=HISTORY_MAX)
        self._watches: list[Watch] = []
        self._closed = False

    def publish(self, event: Event) -> None:
        """Hand out an event. Never waits."""
        self._history.append(event)
        self._watches = [watch for watch in self._watches if watch.offer(event)]

    def history(self) -> tuple[Event, ...]:
        """The last events, oldest first."""
        return tuple(self._history)

    def close(self) -> None:
        """End every watch, those to come too."""
        self._closed = True
        for watch in self._watches:
            watch.end()

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """Events from now on, as long as the block lasts."""
        watch = Watch()
        if self._closed:
            watch.end()
        self._watches.append(watch)
        try:
            yield watch
        finally:
            self._watches = [other for other in self._watches if other is not watch]


def parse_event_filters(text: str) -> Callable[[Event], bool]:
    """Which events are wanted. Raises InvalidRequest."""
    filters = parse_filters(text, known=_KEYS)

    def about(key: str, kind: str, event: Event, *more: str) -> bool:
        asked = filters.values.get(key)
        if asked is None:
            return True
        names = {event.id, event.attributes.get("name", "")} if event.type == kind else set()
        return any(word and word in names | set(more) for word in asked)

    def wanted(event: Event) -> bool:
        member = event.attributes.get("container", "")
        return (
            filters.exact("type", event.type)
            # `exec_create: COMMAND` and `health_status: healthy` are asked for by their first word, too.
            and (filters.exact("event", event.action) or filters.exact("event", event.action.partition(":")[0]))
            and filters.exact("scope", _SCOPE)
            and filters.labelled("label", event.attributes)
            and about("network", "network", event)
            and about("container", event.type if event.type == "container" else "sandbox", event, member)
            and ("image" not in filters.values or filters.exact("image", event.attributes.get("image", "")))
            and about("sandbox", "sandbox", event, member)
        )

    return wanted


def encode_event(event: Event) -> Mapping[str, Any]:
    """An event as GET /events writes it, one object a line."""
    # The form before 1.22, which Docker still adds to what there was then.
    older = {"status": event.action, "id": event.id, "from": event.attributes.get("image", "")}
    return {
        **(older if event.type == "container" else {}),
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": dict(event.attributes)},
        "scope": _SCOPE,
        "time": event.time_ns // _SECOND_NS,
        "timeNano": event.time_ns,
    }
