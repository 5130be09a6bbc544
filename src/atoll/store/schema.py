"""The store's tables, and the way from each older schema to this one.

    record(kind, id, revision, body)    one row an object; body is its JSON, revision that of its last commit
    meta(key, value)                    `store.schema`, `store.revision`, and the engine's facts

A migration, once released, is never changed; a new one is added behind it. The schema version of a store is
the number of migrations that made it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from atoll.errors import StoreCorrupt, StoreTooNew

SCHEMA_KEY = "store.schema"
REVISION_KEY = "store.revision"

APPLICATION_ID = 0x61746F6C
"""PRAGMA application_id of our files, "atol": the file's mark, as file(1) reads it."""

Migration = Callable[[sqlite3.Connection], None]


def _create_tables(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE record (kind TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL, "
        "PRIMARY KEY (kind, id)) WITHOUT ROWID"
    )
    connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    connection.execute("INSERT INTO meta VALUES (?, '0')", (REVISION_KEY,))


def _know_containers(connection: sqlite3.Connection) -> None:
    """Records of the kind `container` may follow, which no earlier version reads."""


def _know_what_is_under_way(connection: sqlite3.Connection) -> None:
    """Containers may have `kill_at_ns`, sandboxes `released`, which no earlier version reads."""


def _know_origins_of_mounts(connection: sqlite3.Connection) -> None:
    """Containers' mounts say who asked for them, and containers whose volumes they share."""


MIGRATIONS: tuple[Migration, ...] = (
    _create_tables,
    _know_containers,
    _know_what_is_under_way,
    _know_origins_of_mounts,
)


def upgrade(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring a store, empty or older, to the newest schema, in one transaction; a current one is only read.

    Raises StoreTooNew, StoreCorrupt (some other program's file); sqlite3.Error when it can't be read or written.
    """
    found = _version(connection, path)
    if found > len(migrations):
        raise StoreTooNew(
            f"{path} was written by a newer atoll: it has schema {found}, this version knows {len(migrations)}",
            hint="install the newer version again, or start with another --state directory",
            subject=str(path),
        )
    if found == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in migrations[found:]:
            migration(connection)
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (SCHEMA_KEY, str(len(migrations))))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema of a store, 0 of an empty file."""
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
        return 0
    if connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,):
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (SCHEMA_KEY,)).fetchone()
        if row is not None and row[0].isascii() and row[0].isdigit():
            return int(row[0])
    raise StoreCorrupt(
        f"{path} is not a store of atoll: it is another program's SQLite database",
        hint="start with another --state directory",
        subject=str(path),
    )
