"""A state directory that can't be used: a clear error, and nothing applied."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import Answer, DaemonHost, daemon_host
from tests.support.snapshot import host_text


@pytest.fixture
def host() -> Iterator[DaemonHost]:
    with daemon_host("broken", start=False) as made:
        yield made


def state_of(host: DaemonHost) -> str:
    return host_text(str(host.netns), host.netns_directory)


def assert_fails_without_a_trace(host: DaemonHost, *words: str) -> None:
    before = state_of(host)
    status, said = host.fail_to_start()
    assert status == 1, said
    assert "Traceback" not in said
    for word in (*words, "try: "):
        assert word in said
    assert state_of(host) == before


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[None]:
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path) -> None:
    with (directory / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            return


def create(host: DaemonHost, name: str) -> Answer:
    return host.ask("POST", "/atoll/sandboxes/create", {"Name": name, "NetworkMode": "none"})


def test_a_store_of_a_newer_version_is_refused_by_name(host: DaemonHost) -> None:
    host.start()
    host.stop()
    with closing(sqlite3.connect(host.state / "atoll.db")) as database:
        (table,) = database.execute("SELECT name FROM sqlite_master WHERE name LIKE '%meta%'").fetchone()
        changed = database.execute(f"UPDATE {table} SET value = '99' WHERE key LIKE '%schema%'").rowcount
        database.commit()
    assert changed == 1
    assert_fails_without_a_trace(host, "atoll.db", "99")


def test_a_store_that_is_garbage_is_refused_by_name(host: DaemonHost) -> None:
    host.state.mkdir()
    (host.state / "atoll.db").write_bytes(os.urandom(8192))
    assert_fails_without_a_trace(host, "atoll.db")


def test_a_store_that_is_a_directory_is_refused(host: DaemonHost) -> None:
    (host.state / "atoll.db").mkdir(parents=True)
    assert_fails_without_a_trace(host, "atoll.db")


def test_a_state_directory_that_is_a_file_is_refused(host: DaemonHost) -> None:
    host.state.write_text("not a directory")
    assert_fails_without_a_trace(host, str(host.state))


def test_a_disk_that_is_full_at_the_start(host: DaemonHost) -> None:
    with small_disk(host.state, "64k"):
        fill(host.state)
        assert_fails_without_a_trace(host, str(host.state))


def test_a_disk_that_fills_up_later_refuses_changes_and_keeps_what_is_there(host: DaemonHost) -> None:
    with small_disk(host.state, "2m"):
        host.start()
        made = host.must("POST", "/networks/create", {"Name": "kept"})
        fill(host.state)
        count = 0
        while create(host, f"s{count}").status == 201:
            count += 1
        before = state_of(host)
        refused = create(host, f"s{count}")
        assert refused.status == 507
        assert "the disk is full, nothing was changed" in refused.message
        assert state_of(host) == before
        names = {each["Name"] for each in host.must("GET", "/atoll/sandboxes")}
        assert names == {f"s{number}" for number in range(count)}
        assert host.must("GET", f"/networks/{made['Id']}")["Name"] == "kept"
        (host.state / "ballast").unlink()
        assert create(host, "after").status == 201
        host.stop()
