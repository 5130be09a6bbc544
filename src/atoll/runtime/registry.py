"""The containers in memory: their records, and beside each what lives only as long as the daemon."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from atoll.errors import Conflict, NameTaken, NotFound
from atoll.model.container import Container
from atoll.model.names import short_id
from atoll.runtime.parts import ContainerRecords
from atoll.runtime.supervise.streams import Attachment

Commit = Callable[[Container], Awaitable[None]]
"""Stores a record, together with what else makes up the change."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended. `error` says what kept it from running, "" when it ran."""

    code: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class HealthResult:
    """One check: Unix times, the exit code (-1 when it took too long), and what it wrote."""

    started_ns: int
    finished_ns: int
    exit_code: int
    output: str


@dataclass(slots=True)
class Entry:
    """A container and what waits for it.

    `lock` is held by who changes its state. `attachments` wait for the next start, `exits` are told of the next exit,
    `removals` of the removal. `tasks` are of this run: who waits for its end, checks its health, or will restart it.
    `health` are the last checks, the newest last; `delay_s` is how long the last restart waited.
    """

    container: Container
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    attachments: list[Attachment] = field(default_factory=list)
    exits: list[asyncio.Future[Exit]] = field(default_factory=list)
    removals: list[asyncio.Future[Exit]] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    health: list[HealthResult] = field(default_factory=list)
    delay_s: float = 0.0
    removed: bool = False

    def tell(self, waiting: list[asyncio.Future[Exit]], how: Exit) -> None:
        """Answer those who wait."""
        for future in waiting:
            if not future.done():
                future.set_result(how)
        waiting.clear()

    def cancel(self, name: str) -> None:
        """End a task of this run, unless it is the one that asks."""
        task = self.tasks.pop(name, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()


class Registry:
    """All containers, by id and name. Every change is stored before it is seen."""

    def __init__(self, records: ContainerRecords) -> None:
        self._records = records
        self._entries: dict[str, Entry] = {}
        self._names: dict[str, str] = {}

    def load(self) -> None:
        """Read what is stored."""
        for container in self._records.load():
            self._entries[container.id] = Entry(container)
            self._names[container.name] = container.id

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._entries

    def find(self, reference: str) -> Entry:
        """The container of that id, name (a slash before it is passed over) or unambiguous id prefix.

        Raises NotFound in Docker's words; Conflict when a prefix fits several.
        """
        name = reference.removeprefix("/")
        found = self._entries.get(name) or self._entries.get(self._names.get(name, ""))
        if found is not None:
            return found
        fits = [entry for container_id, entry in self._entries.items() if name and container_id.startswith(name)]
        if len(fits) > 1:
            shown = ", ".join(f"{short_id(entry.container.id)} ({entry.container.name})" for entry in fits[:4])
            raise Conflict(f"container prefix {name!r} is ambiguous: {shown}", hint="give more digits, or the name")
        if not fits:
            raise NotFound(f"No such container: {reference}", hint="atoll ps --all", subject=reference)
        return fits[0]

    def claim_name(self, name: str, container_id: str) -> None:
        """Hold a name before the record is there. Raises NameTaken in Docker's words."""
        holder = self._names.setdefault(name, container_id)
        if holder != container_id:
            raise NameTaken(
                f'The container name "/{name}" is already in use by container "{holder}". You have to remove (or '
                "rename) that container to be able to reuse that name.",
                hint=f"atoll rm {name}",
                subject=holder,
            )

    def release_name(self, name: str, container_id: str) -> None:
        """Let go of a name that is this container's."""
        if self._names.get(name) == container_id:
            del self._names[name]

    async def put(self, container: Container, commit: Commit | None = None) -> Entry:
        """Store a record, a new one or another of one that is there; by `commit`, where more is stored with it."""
        await (commit or self._records.put)(container)
        entry = self._entries.get(container.id)
        if entry is None:
            entry = self._entries[container.id] = Entry(container)
        entry.container = container
        return entry

    async def delete(self, container: Container) -> None:
        """Remove a record and let go of its name."""
        await self._records.delete(container)
        self._entries.pop(container.id, None)
        self.release_name(container.name, container.id)
