"""Named volumes: directories below one. The directory is the record, so nothing can disagree.

volumes/NAME/_data       what is mounted; without it there is no volume, only what is left of one
volumes/NAME/labels.json
volumes/NAME/tied        the id of a container without which the volume goes, while that is made or removed
"""

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from atoll.errors import InvalidRequest, NotFound, Unsupported, WrongState
from atoll.model.names import parse_name
from atoll.runtime.trees import discard_tree, remove_tree

DRIVER = "local"


@dataclass(frozen=True, slots=True)
class Volume:
    """`path` is the directory of the host that is mounted. `anonymous`: it has no name of a person's."""

    name: str
    path: Path
    created_ns: int
    labels: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False


class Volumes:
    """The volumes below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def list(self) -> tuple[Volume, ...]:
        """All of them, by name."""
        if not self._directory.is_dir():
            return ()
        return tuple(self._read(path.name) for path in sorted(self._directory.iterdir()) if (path / "_data").is_dir())

    def find(self, name: str) -> Volume:
        """The volume of this name. Raises NotFound, also for what can't be one."""
        try:
            there = self.has(name)
        except InvalidRequest:
            there = False
        if not there:
            raise NotFound(f"get {name}: no such volume", hint="atoll volume ls", subject=name)
        return self._read(name)

    def has(self, name: str) -> bool:
        """Whether it is there. Raises InvalidRequest."""
        return (self._directory / parse_name("volume", name) / "_data").is_dir()

    def create(
        self,
        name: str,
        *,
        driver: str = DRIVER,
        labels: Mapping[str, str] | None = None,
        anonymous: bool = False,
        tied_to: str = "",
    ) -> Volume:
        """The volume of this name, made when it is not there, and then tied to a container, if that is given.

        Raises InvalidRequest, Unsupported, OSError.
        """
        if driver not in ("", DRIVER):
            raise Unsupported(f"volume driver {driver!r} is not known", hint=f"leave it out, or say {DRIVER}")
        if len(parse_name("volume", name)) < 2:
            raise InvalidRequest(f"volume name {name!r} is too short, names should be at least two characters")
        place = self._directory / name
        if not (place / "_data").is_dir():
            place.mkdir(mode=0o701, parents=True, exist_ok=True)
            told = {"labels": dict(labels or {}), "anonymous": anonymous}
            (place / "labels.json").write_text(json.dumps(told))
            if tied_to:
                (place / "tied").write_text(tied_to)
            (place / "_data").mkdir(mode=0o755)
        return self._read(name)

    async def remove(self, name: str, *, users: Collection[str]) -> None:
        """Remove a volume. `users` are containers that mount it. Raises NotFound, WrongState."""
        volume = self.find(name)
        if users:
            raise WrongState(f"remove {name}: volume is in use - [{', '.join(users)}]", subject=name)
        # Gone at once, whatever becomes of this process.
        volume.path.rename(volume.path.with_name("removed"))
        await asyncio.to_thread(remove_tree, volume.path.parent)

    def tie(self, name: str, container_id: str) -> None:
        """Let a volume go with a container: `sweep` takes it away when that is not there. Best effort."""
        # A disk that is full keeps nobody from removing.
        with suppress(OSError):
            (self._directory / name / "tied").write_text(container_id)

    def untie(self, names: Iterable[str]) -> None:
        """Let volumes, if they are there, stay whatever becomes of containers."""
        for name in names:
            (self._directory / name / "tied").unlink(missing_ok=True)

    def tied(self) -> dict[str, str]:
        """The container that each volume is tied to, by the names of those that are."""
        places = self._directory.iterdir() if self._directory.is_dir() else ()
        return {place.name: container_id for place in places if (container_id := _text(place / "tied"))}

    async def sweep(self, alive: Callable[[str], bool], used: Callable[[str], bool]) -> None:
        """Take away what is left of volumes, and those tied to containers that are not `alive` unless they are `used`.

        For a time when nobody makes or removes any.
        """
        tied = self.tied()
        for place in self._directory.iterdir() if self._directory.is_dir() else ():
            kept = place.name not in tied or alive(tied[place.name]) or used(place.name)
            if not (kept and (place / "_data").is_dir()):
                await asyncio.to_thread(discard_tree, place)
        with suppress(OSError):
            self.untie(tied)

    def _read(self, name: str) -> Volume:
        place = self._directory / name
        try:
            told = json.loads((place / "labels.json").read_text())
        except (FileNotFoundError, ValueError):
            told = {}
        created_ns = (place / "labels.json").stat().st_mtime_ns
        return Volume(name, place / "_data", created_ns, told.get("labels", {}), bool(told.get("anonymous")))


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text()
    return ""
