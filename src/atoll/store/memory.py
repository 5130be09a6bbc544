"""A store that forgets: for tests, and for daemons whose state shall not outlive them."""

from atoll.model.world import Change, World


class MemoryStore:
    """Store in memory; `close` keeps what is in it."""

    def __init__(self) -> None:
        self._world = World()
        self._meta: dict[str, str] = {}
        self._revision = 0

    def load(self) -> World:
        """Everything committed."""
        return self._world

    def commit(self, change: Change) -> int:
        """Make a change real and return the new revision."""
        self._world = self._world.after(change)
        self._revision += 1
        return self._revision

    def meta(self, key: str) -> str:
        """A fact about the store as a whole, "" when unset."""
        return self._meta.get(key, "")

    def set_meta(self, key: str, value: str) -> None:
        """Keep such a fact."""
        self._meta[key] = value

    def close(self) -> None:
        """Nothing to release."""
