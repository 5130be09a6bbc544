"""The SQLite store against crashes, full disks, other processes and files that are not its own."""

import contextlib
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atoll.errors import StoreCorrupt, StoreError, StoreTooNew, Unavailable
from atoll.model.world import Change, Removal, World
from atoll.store.schema import MIGRATIONS, upgrade
from atoll.store.sqlite import SqliteStore
from tests.support.worlds import a_network, a_sandbox, an_endpoint

WEB = a_network(1, "web", "10.1.0.0/24", "fd00:1::/64")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "atoll.db"


@pytest.fixture
def written(path: Path) -> Path:
    """A store with one network, closed."""
    store = SqliteStore(path)
    store.commit(Change(puts=(WEB,)))
    store.set_meta("boot", "one")
    store.close()
    return path


class Child:
    """A child process that runs `work`, and is killed at the latest when the block ends.

    `work` gets the writing end of a pipe.
    """

    def __init__(self, work: Callable[[int], None]) -> None:
        self.pipe, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                work(write_end)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.close(write_end)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        os.close(self.pipe)

    def kill(self) -> None:
        """Kill the child with SIGKILL and wait for its end."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


def generation(number: int) -> Change:
    """A change that puts 300 new sandboxes in the place of those before: a commit of a few milliseconds."""
    fresh = tuple(a_sandbox(1000 * number + each, f"generation-{number}") for each in range(300))
    return Change(puts=fresh, deletes=tuple(a_sandbox(1000 * (number - 1) + each, "") for each in range(300)))


def test_kill_in_a_commit_leaves_all_of_it_or_nothing(path: Path) -> None:
    def commit_for_ever(acknowledge: int) -> None:
        store = SqliteStore(path)
        store.commit(Change(deletes=tuple(store.load().sandboxes.values())))
        for number in range(1, 100_000):
            store.commit(generation(number))
            os.write(acknowledge, b"%d\n" % number)

    for attempt in range(20):
        with Child(commit_for_ever) as child:
            acknowledged = os.read(child.pipe, 2)
            time.sleep(0.0005 * attempt)
            child.kill()
            with open(os.dup(child.pipe), "rb") as rest:
                last = int((acknowledged + rest.read()).split()[-1])
        store = SqliteStore(path)
        found = store.load()
        store.close()
        either = [World().after(Change(puts=generation(number).puts)) for number in (last, last + 1)]
        assert found in either


def test_kill_while_a_new_store_is_made_leaves_one_that_opens(tmp_path: Path) -> None:
    for attempt in range(12):
        path = tmp_path / str(attempt) / "atoll.db"

        def make(_: int, path: Path = path) -> None:
            SqliteStore(path)

        with Child(make):
            time.sleep(0.001 * attempt)
        store = SqliteStore(path)
        assert store.load() == World() and store.commit(Change(puts=(WEB,))) == 1
        store.close()


def test_second_process_is_told_who_holds_the_store(written: Path) -> None:
    def hold(ready: int) -> None:
        store = SqliteStore(written)
        os.write(ready, b"held")
        signal.pause()
        store.close()

    with Child(hold) as child:
        assert os.read(child.pipe, 4) == b"held"
        with pytest.raises(Unavailable, match=f"{written.parent}: it is held by pid {child.pid}") as caught:
            SqliteStore(written)
        assert str(child.pid) in caught.value.hint
    # The lock dies with its holder.
    SqliteStore(written).close()


def test_second_store_of_one_process_is_refused_until_the_first_is_closed(path: Path) -> None:
    first = SqliteStore(path)
    with pytest.raises(Unavailable, match=f"held by pid {os.getpid()}"):
        SqliteStore(path)
    first.close()
    first.close()
    SqliteStore(path).close()


def test_program_started_by_the_daemon_does_not_keep_the_lock(path: Path) -> None:
    store = SqliteStore(path)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        try:
            store.close()
            SqliteStore(path).close()
        finally:
            child.kill()


def test_files_are_for_their_owner_only(path: Path) -> None:
    store = SqliteStore(path)
    store.commit(Change(puts=(WEB,)))
    modes = {entry.name: oct(entry.stat().st_mode & 0o777) for entry in path.parent.iterdir()}
    store.close()
    assert len(modes) == 4 and set(modes.values()) == {"0o600"}
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("size", [1, 100, 5000, 100_000])
def test_garbage_is_named_and_left_as_it_is(path: Path, size: int) -> None:
    garbage = b"\x17\x2a" * (size // 2 + 1)
    path.parent.mkdir()
    path.write_bytes(garbage)
    with pytest.raises(StoreCorrupt) as caught:
        SqliteStore(path)
    assert str(path) in caught.value.message and f"mv {path.parent}" in caught.value.hint
    assert path.read_bytes() == garbage


def test_error_within_a_transaction_takes_it_back(path: Path) -> None:
    store = SqliteStore(path)
    store.commit(Change(puts=(WEB,)))
    with pytest.raises(UnicodeEncodeError):
        store.commit(Change(deletes=(WEB, a_sandbox(1, "one"), Removal("\ud800", "/run/netns/x"))))
    assert store.load() == World.of([WEB])
    assert store.commit(Change(deletes=(WEB,))) == 2
    store.close()


def test_file_cut_short_is_named(written: Path) -> None:
    store = SqliteStore(written)
    store.commit(Change(puts=tuple(a_sandbox(seed, f"s{seed}") for seed in range(500))))
    store.close()
    os.truncate(written, written.stat().st_size // 2)
    with pytest.raises(StoreCorrupt, match=str(written)):
        SqliteStore(written).load()


def test_other_program_s_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    content = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="another program's SQLite database") as caught:
        SqliteStore(path)
    assert str(path) in caught.value.message
    assert path.read_bytes() == content


def test_refused_store_is_not_kept_locked(written: Path) -> None:
    with edited(written) as database:
        database.execute("UPDATE meta SET value = '99' WHERE key = 'store.schema'")
    for _ in range(2):
        with pytest.raises(StoreTooNew):
            SqliteStore(written)


@contextlib.contextmanager
def edited(path: Path):  # type: ignore[no-untyped-def]
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        yield database


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("body", b"{", "truncated"),
        ("body", b"{}", "missing"),
        ("kind", "volume", "no such kind"),
        ("id", "x", "id field"),
    ],
)
def test_record_that_does_not_decode_is_named(written: Path, column: str, value: object, reason: str) -> None:
    with edited(written) as database:
        database.execute(f"UPDATE record SET {column} = ?", (value,))
    store = SqliteStore(written)
    with pytest.raises(StoreCorrupt, match=reason) as caught:
        store.load()
    store.close()
    named = "x" if column == "id" else WEB.id
    assert named in caught.value.message and str(written) in caught.value.message


def test_newer_store_is_refused_by_name_and_left_as_it_is(written: Path) -> None:
    with edited(written) as database:
        database.execute("UPDATE meta SET value = '7' WHERE key = 'store.schema'")
        database.execute("ALTER TABLE record ADD COLUMN new_thing")
    with pytest.raises(StoreTooNew) as caught:
        SqliteStore(written)
    message = caught.value.message
    assert str(written) in message and "schema 7" in message and f"knows {len(MIGRATIONS)}" in message
    with edited(written) as database:
        assert database.execute("SELECT value FROM meta WHERE key = 'boot'").fetchall() == [("one",)]
        assert database.execute("SELECT id, new_thing FROM record").fetchall() == [(WEB.id, None)]


def add_column(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE record ADD COLUMN node TEXT NOT NULL DEFAULT 'here'")


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE record")
    raise sqlite3.OperationalError("no such luck")


def test_older_store_is_upgraded_with_its_records(written: Path) -> None:
    with edited(written) as database:
        upgrade(database, written, (*MIGRATIONS, add_column))
        upgrade(database, written, (*MIGRATIONS, add_column))
        assert database.execute("SELECT id, node FROM record").fetchall() == [(WEB.id, "here")]
    with pytest.raises(StoreTooNew):
        SqliteStore(written)


def test_upgrade_that_fails_changes_nothing(written: Path) -> None:
    with edited(written) as database, pytest.raises(sqlite3.OperationalError, match="no such luck"):
        upgrade(database, written, (*MIGRATIONS, add_column, fail))
    store = SqliteStore(written)
    assert store.load() == World.of([WEB])
    store.close()


def test_directory_in_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match=f"cannot open {path}: is a directory"):
        SqliteStore(path)


def test_file_in_place_of_the_directory_is_named(path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(StoreError, match=f"cannot open {path.parent}"):
        SqliteStore(path)


def test_other_program_writing_to_the_file_makes_a_commit_unavailable(path: Path) -> None:
    store = SqliteStore(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another program is writing"):
            store.commit(Change(puts=(WEB,)))
        assert store.load() == World()
        other.execute("ROLLBACK")
        store.commit(Change(puts=(WEB,)))
        # Whoever only reads stands in nobody's way.
        other.execute("BEGIN")
        assert other.execute("SELECT id FROM record").fetchall() == [(WEB.id,)]
        store.commit(Change(deletes=(WEB,)))
    store.close()


def test_full_and_read_only_disks_are_named_and_nothing_is_lost(tmp_path: Path) -> None:
    """A tmpfs of half a megabyte in a mount namespace of its own."""
    project = Path(__file__).parents[2]
    mount = f"mount -t tmpfs -o size=512k atoll-full-disk {tmp_path}"
    script = f"{mount} && exec {sys.executable} -m tests.contract.full_disk {tmp_path}"
    command = ["unshare", "--mount", "sh", "-ec", script]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["commits-fail", "world-kept", "space-helps", "new-store-refused", "read-only-named"]


def test_commit_takes_less_than_a_third_of_a_millisecond(path: Path) -> None:
    store = SqliteStore(path)
    store.commit(Change(puts=tuple(a_sandbox(seed, f"s{seed}") for seed in range(5000))))
    took: list[float] = []
    for seed in range(5000, 6000):
        sandbox = a_sandbox(seed, f"s{seed}")
        change = Change(puts=(sandbox, an_endpoint(seed, WEB, sandbox)))
        begin = time.perf_counter()
        store.commit(change)
        took.append(time.perf_counter() - begin)
    store.close()
    # The fastest half: what other programs on the machine take is not the store's.
    assert statistics.quantiles(took, n=4)[0] < 0.000_3
