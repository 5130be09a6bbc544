"""What the routes are given, once, by the daemon."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from atoll.api.docker_system import About
from atoll.api.events import EventHub
from atoll.engine.engine import Engine
from atoll.runtime.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")


class Queue(Protocol):
    """The way into the engine's thread."""

    async def run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in the engine's thread, after everything that waits there already; its result or its error.

        Raises Unavailable when too much waits.
        """
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """The engine, the runtime of containers, and what surrounds them.

    Only `engine.world`, `facts` and `degraded` are read directly; verbs go through `queue`. `netns_inode(path)` is a
    namespace's inode number, 0 when it is gone. `stop` ends the daemon once the current answers are out.
    """

    engine: Engine
    queue: Queue
    runtime: Runtime
    events: EventHub
    about: About
    now_ns: Callable[[], int]
    netns_inode: Callable[[str], int]
    stop: Callable[[], None]
