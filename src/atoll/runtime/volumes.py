"""Named volumes: directories below one. The directory is the record, so nothing can disagree.

volumes/NAME/_data       what is mounted
volumes/NAME/labels.json
"""

import asyncio
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atoll.errors import InvalidRequest, NotFound, Unsupported, WrongState
from atoll.model.names import parse_name
from atoll.runtime.trees import remove_tree

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
        self, name: str, *, driver: str = DRIVER, labels: Mapping[str, str] | None = None, anonymous: bool = False
    ) -> Volume:
        """The volume of this name, made when it is not there. Raises InvalidRequest, Unsupported, OSError."""
        if driver not in ("", DRIVER):
            raise Unsupported(f"volume driver {driver!r} is not known", hint=f"leave it out, or say {DRIVER}")
        if len(parse_name("volume", name)) < 2:
            raise InvalidRequest(f"volume name {name!r} is too short, names should be at least two characters")
        place = self._directory / name
        if not (place / "_data").is_dir():
            place.mkdir(mode=0o701, parents=True, exist_ok=True)
            told = {"labels": dict(labels or {}), "anonymous": anonymous}
            (place / "labels.json").write_text(json.dumps(told))
            (place / "_data").mkdir(mode=0o755)
        return self._read(name)

    async def remove(self, name: str, *, users: Collection[str]) -> None:
        """Remove a volume. `users` are containers that mount it. Raises NotFound, WrongState."""
        volume = self.find(name)
        if users:
            raise WrongState(f"remove {name}: volume is in use - [{', '.join(users)}]", subject=name)
        await asyncio.to_thread(remove_tree, volume.path.parent)

    def _read(self, name: str) -> Volume:
        place = self._directory / name
        try:
            told = json.loads((place / "labels.json").read_text())
        except (FileNotFoundError, ValueError):
            told = {}
        created_ns = (place / "labels.json").stat().st_mtime_ns
        return Volume(name, place / "_data", created_ns, told.get("labels", {}), bool(told.get("anonymous")))
