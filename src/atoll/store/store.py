"""What every store does; the same contract suite runs over each."""

from typing import Protocol

from atoll.model.world import Change, World


class Store(Protocol):
    """The engine's memory. Used by one thread."""

    def load(self) -> World:
        """Everything stored. Raises StoreCorrupt naming the record."""
        ...

    def commit(self, change: Change) -> int:
        """Make a change real and return the new revision: this is the commit point of a request.

        All of it or nothing. Raises StoreFull, StoreError.
        """
        ...

    def meta(self, key: str) -> str:
        """A small fact about the store as a whole ("" when unset): boot_id, host netns cookie."""
        ...

    def set_meta(self, key: str, value: str) -> None:
        """Keep such a fact. Raises StoreFull, StoreError."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...
