"""What a change of the engine sends to the kernel and the disk, recorded, to be sent again in a bare loop.

Law: a recording changes nothing of what is recorded; it is made of one change, apart from those that are measured.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from atoll.kernel import holder, netns, sysctl
from atoll.kernel.nft.netlink import NetfilterSocket
from atoll.kernel.rtnetlink import RouteSocket
from atoll.kernel.spares import Spares
from atoll.store.sqlite import SqliteStore

WATCHED: tuple[tuple[Any, str], ...] = (
    (holder, "bind_port"),
    (SqliteStore, "commit"),
    (netns, "make"),
    (RouteSocket, "change"),
    (sysctl, "write"),
    (NetfilterSocket, "transact"),
)
"""Everything through which an attach acts: found by their names, where the engine finds them."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a watched function. `inside`: by a thread in the sandbox's namespace."""

    name: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    inside: bool


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """The outermost watched calls of the block, in order; the calling thread is the engine's."""
    calls: list[Call] = []
    engine = threading.get_ident()
    begun: list[str] = []

    def watch(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **keywords: Any) -> Any:
            if not begun:
                calls.append(Call(name, arguments, keywords, inside=threading.get_ident() != engine))
            begun.append(name)
            try:
                return function(*arguments, **keywords)
            finally:
                begun.pop()

        return watched

    originals = [(owner, name, getattr(owner, name)) for owner, name in WATCHED]
    for owner, name, function in originals:
        setattr(owner, name, watch(name, function))
    # Namespaces in advance are made by another thread, whose calls would be taken for the attach's.
    originals.append((Spares, "take", Spares.take))
    setattr(Spares, "take", _none_ready)  # noqa: B010  as the others are set
    try:
        yield calls
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def _none_ready(spares: Spares) -> None:
    return None
