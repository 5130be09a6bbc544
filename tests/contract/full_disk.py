"""A store on a disk that fills up: run by test_sqlite_store.py on a tiny file system of its own.

    python -m tests.contract.full_disk DIRECTORY

Prints a word for every promise that held; fails with a traceback at the first that did not.
"""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from atoll.errors import StoreError, StoreFull
from atoll.model.world import Change, World
from atoll.store.sqlite import SqliteStore
from tests.support.worlds import a_sandbox


def fill(ballast: Path, size: int = 1 << 30) -> None:
    """Write `size` bytes, or as many as the disk takes."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range(size // 1024):
            file.write(b"x" * 1024)


def failure(act: Callable[[], object]) -> StoreError:
    """The error that `act` raises."""
    try:
        act()
    except StoreError as error:
        return error
    raise AssertionError("nothing failed")


def commit_until_full(store: SqliteStore) -> World:
    """Commit until the disk is full; returns what was acknowledged."""
    world = store.load()
    for seed in range(100_000):
        change = Change(puts=tuple(a_sandbox(10 * seed + each, f"s{seed}") for each in range(10)))
        try:
            store.commit(change)
        except StoreFull as error:
            assert "disk is full, nothing was changed" in error.message and "df -h" in error.hint, error
            return world
        world = world.after(change)
    raise AssertionError("the disk never filled up")


def main(directory: Path) -> None:
    path, ballast = directory / "state" / "atoll.db", directory / "ballast"
    fill(ballast, 200_000)
    store = SqliteStore(path)
    world = commit_until_full(store)
    assert world.sandboxes
    print("commits-fail")

    assert store.load() == world
    assert isinstance(failure(lambda: store.set_meta("boot", "x" * 600_000)), StoreFull)
    store.close()
    store = SqliteStore(path)
    assert store.load() == world and store.meta("boot") == ""
    print("world-kept")

    commit_until_full(store)
    world = store.load()
    ballast.unlink()
    one = a_sandbox(1, "one")
    store.commit(Change(puts=(one,)))
    assert store.load() == world.after(Change(puts=(one,)))
    store.close()
    print("space-helps")

    other = directory / "other" / "atoll.db"
    other.parent.mkdir()
    fill(ballast)
    assert isinstance(failure(lambda: SqliteStore(other)), StoreFull)
    ballast.unlink()
    for left in path.parent.iterdir():
        left.unlink()
    store = SqliteStore(other)
    store.commit(Change(puts=(a_sandbox(1, "one"),)))
    store.close()
    print("new-store-refused")

    subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
    error = failure(lambda: SqliteStore(other))
    assert not isinstance(error, StoreFull) and "read-only file system" in error.message, error.message
    print("read-only-named")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
