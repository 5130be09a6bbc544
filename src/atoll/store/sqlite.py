"""The store of one host: a SQLite file in WAL mode."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from atoll.errors import AtollError, StoreCorrupt, StoreError, StoreFull, Unavailable
from atoll.model.world import Change, World, kind_of
from atoll.store.codec import decode_record, encode_record
from atoll.store.lock import FileLock, unusable
from atoll.store.schema import REVISION_KEY, upgrade

_BUSY_TIMEOUT_S = 1.0
"""How long to wait for a person who writes to the file with sqlite3: nobody else has it open."""

_WAL_SIZE_MAX_BYTES = 4 << 20


class SqliteStore:
    """Store in the file `path`; the lock beside it keeps a second daemon out.

    A commit survives the death of the process when it returns, and a power cut a moment later at the latest
    (synchronous=NORMAL: what is lost then is lost with the kernel state it describes). Used by one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`, made with its directory when it isn't there, and bring it to this version's schema.

        Raises Unavailable naming the process that holds it, StoreTooNew, StoreCorrupt, StoreFull, StoreError.
        Effects: none on a file that can't be used.
        """
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise unusable(path.parent, error) from error
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            with self._errors("open"):
                self._connection = _connect(path)
        except BaseException:
            self._lock.release()
            raise

    def load(self) -> World:
        """Everything stored. Raises StoreCorrupt naming the record, or the file."""
        with self._errors("read"):
            rows = self._connection.execute("SELECT kind, id, body FROM record ORDER BY kind, id").fetchall()
        where, hint = str(self._path), _begin_anew(self._path)
        return World.of(decode_record(kind, key, body, where=where, hint=hint) for kind, key, body in rows)

    def commit(self, change: Change) -> int:
        """Make a change real and return the new revision.

        Raises StoreFull, StoreError, Unavailable; then nothing is changed.
        """
        puts = [(kind_of(record), record.id, encode_record(record)) for record in change.puts]
        deletes = [(kind_of(record), record.id) for record in change.deletes]
        with self._transaction() as connection:
            ((revision,),) = connection.execute(
                "UPDATE meta SET value = value + 1 WHERE key = ? RETURNING CAST(value AS INTEGER)", (REVISION_KEY,)
            ).fetchall()
            connection.executemany("DELETE FROM record WHERE kind = ? AND id = ?", deletes)
            connection.executemany(
                "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)",
                [(kind, key, revision, body) for kind, key, body in puts],
            )
        return int(revision)

    def meta(self, key: str) -> str:
        """A fact about the store as a whole, "" when unset. Raises StoreError."""
        with self._errors("read"):
            row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return "" if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Keep such a fact. Keys that begin with `store.` are the store's own. Raises StoreFull, StoreError."""
        assert not key.startswith("store."), key
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Release the file and its lock. Closing again is no error."""
        self._connection.close()
        self._lock.release()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors("write"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors, such as a full disk.
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translated(self._path, verb, error) from error
        except OSError as error:
            raise unusable(self._path, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    # Made here, as SQLite would make it readable for everybody.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    # No isolation level: transactions begin and end where this module says so.
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        # Before anything is written: a file that is not ours, or newer, stays as it is.
        upgrade(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_SIZE_MAX_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _translated(path: Path, verb: str, error: sqlite3.Error) -> AtollError:
    """SQLite's error as ours. Source: sqlite.org/rescode.html, primary result codes."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    detail = getattr(error, "sqlite_errorname", "")
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path)):
        return StoreFull(
            f"cannot {verb} {path}: the disk is full, nothing was changed",
            hint=f"df -h {path.parent}",
            subject=str(path),
            detail=detail,
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreCorrupt(
            f"cannot {verb} {path}: {error}",
            hint=_begin_anew(path),
            subject=str(path),
            detail=detail,
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            f"cannot {verb} {path}: another program is writing to it",
            hint=f"fuser -v {path}",
            subject=str(path),
            detail=detail,
        )
    return StoreError(
        f"cannot {verb} {path}: {error}", hint=f"ls -ld {path.parent} {path}", subject=str(path), detail=detail
    )


def _begin_anew(path: Path) -> str:
    # The whole directory: a write-ahead log that stayed behind would be taken for the new file's.
    return f"mv {path.parent} {path.parent}.broken && atoll up"


def _is_full(path: Path) -> bool:
    """SQLite says only "disk I/O error" when it can't extend its shared-memory file."""
    with suppress(OSError):
        disk = os.statvfs(path.parent)
        return disk.f_bavail == 0 or (disk.f_files > 0 and disk.f_ffree == 0)
    return False
