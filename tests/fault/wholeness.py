"""Whether a container is whole, with all that belongs to it and nothing else. Everything is looked at from outside."""

import json
import re
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from atoll.runtime.supervise.mounts import mounted_below
from tests.fault import lives
from tests.fault.lives import BOX, GONE, Deed, Seen, see
from tests.fault.mortal import MortalHost
from tests.netns.namespaces import eventually, inside
from tests.support.daemon import DaemonHost, daemon_host
from tests.support.snapshot import host_text

CLEARED_S = 5
POINTS_MAX = 200


@contextmanager
def mortal_host(*, fine: bool) -> Iterator[MortalHost]:
    """A daemon with busybox that has had a container."""
    with daemon_host("mortal", make=partial(MortalHost, fine=fine)) as host:
        host.must("POST", "/atoll/images/bootstrap")
        # Some things are made once.
        lives.running(host)
        lives.remove(host)
        yield host


def killed_everywhere(host: MortalHost, deed: Deed) -> int:
    """Let the daemon die at each point of a deed, and the next one find things in order; how often it died."""
    before = inventory(host)
    for point in range(POINTS_MAX):
        deed.prepare(host)
        died = host.dies(deed.act, point)
        if died:
            host.start()
        what = f"{deed.name}, killed at point {point}"
        check(host, deed, what, finished=not died)
        clear(host)
        assert inventory(host) == before, what
        if not died:
            assert point > 1
            return point
    raise AssertionError(f"{deed.name} has no end")


def check(host: DaemonHost, deed: Deed, what: str, *, finished: bool) -> None:
    """One of the outcomes is there, with all that belongs to it and nothing else, and can be used."""
    found = whole(host, what)
    assert found in (deed.outcomes[-1:] if finished else deed.outcomes), what
    if found is GONE:
        return
    if found.status != "running":
        resume = lives.unpause if found.status == "paused" else lives.start
        resume(host)
        assert whole(host, what) == Seen("running", found.networks), what
    serve(host, what)
    # The policy is what it was, unless a stop is under way.
    before = host.must("GET", f"{BOX}/json")
    subprocess.run(["kill", "-9", str(before["State"]["Pid"])], check=True)
    eventually(lambda: host.must("GET", f"{BOX}/json")["RestartCount"] == before["RestartCount"] + 1)
    eventually(lambda: [each["State"] for each in host.must("GET", "/containers/json?all=1")] == ["running"])
    assert see(host) == Seen("running", found.networks), what
    serve(host, what)


def whole(host: DaemonHost, what: str) -> Seen | None:
    """What there is, once nothing is under way, and not more or less of it than it needs."""
    containers = host.must("GET", "/containers/json?all=1")
    eventually(lambda: stored(host, "container", "kill_at_ns") in ([], [0]))
    eventually(lambda: stored(host, "container", "status") != ["restarting"])
    found = see(host)
    ids = [container["Id"] for container in containers]
    runs = ids if found is not GONE and found.status in ("running", "paused") else []
    assert stored(host, "container", "id") == ids, what
    assert stored(host, "sandbox", "id") == runs, what
    assert len(stored(host, "endpoint", "id")) == len(found.networks if found is not GONE and runs else ()), what
    assert stored(host, "removal", "id") == [], what
    # What a run leaves is cleared when its end has been told.
    deadline = time.monotonic() + CLEARED_S
    while any(names != set(runs) for names in traces_of(host).values()):
        assert time.monotonic() < deadline, (what, runs, traces_of(host))
        time.sleep(0.02)
    return found


def traces_of(host: DaemonHost) -> dict[str, set[str]]:
    """Ids of containers by what there is of them while they run."""
    run, named = host.directory / "run", re.compile(r"[0-9a-f]{64}")
    processes = subprocess.run(["pgrep", "-af", f"^[^ ]*conmon .*{run}"], capture_output=True, text=True, check=False)
    mounts = [str(path) for path in mounted_below(run)]
    return {
        "bundles": {path.name for path in (run / "containers").iterdir()},
        "runtime": {path.name for root in (run / "runtimes").iterdir() for path in root.iterdir()},
        "mounts": {match[0] for text in mounts if (match := named.search(text))},
        "conmon": {match[0] for line in processes.stdout.splitlines() if (match := named.search(line))},
        "cgroups": {path.name for path in cgroups(host)},
    }


def cgroups(host: DaemonHost) -> list[Path]:
    """Cgroups of containers that this host ever had."""
    know(host, *stored(host, "container", "id"))
    known = set((host.directory / "ids").read_text().split())
    found = [*Path("/sys/fs/cgroup").glob("*/atoll/*"), *Path("/sys/fs/cgroup").glob("atoll/*")]
    return [path for path in found if path.name in known]


def know(host: DaemonHost, *ids: str) -> None:
    """Remember the ids of containers, whose cgroups are looked for when they are gone."""
    with (host.directory / "ids").open("a") as file:
        file.write("".join(f"{container_id}\n" for container_id in ids))


def stored(host: DaemonHost, kind: str, key: str) -> list[Any]:
    """A field of every record of a kind."""
    uri = f"file:{host.state}/atoll.db?mode=ro"
    with sqlite3.connect(uri, uri=True) as connection:
        rows = connection.execute("SELECT body FROM record WHERE kind = ? ORDER BY id", (kind,)).fetchall()
    connection.close()
    return [json.loads(row[0]).get(key) for row in rows]


def serve(host: DaemonHost, what: str) -> None:
    """The published port leads to the server."""

    def ask() -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", lives.PORT), timeout=2) as connection:
                connection.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
                return connection.makefile("rb").read()
        except OSError:
            return b""

    assert eventually(lambda: b"200 OK" in inside(host.name, ask)), what


def clear(host: DaemonHost) -> None:
    """Remove what was made by hand; what should be gone is not looked for."""
    if see(host) is not GONE:
        lives.remove(host)
        host.ask("DELETE", "/volumes/fresh")
    host.ask("DELETE", "/networks/other")


def inventory(host: DaemonHost) -> str:
    """Everything that may be left of a container."""
    below = [path for name in ("state", "run") for path in (host.directory / name).rglob("*")]
    files = [str(path.relative_to(host.directory)) for path in below if not path.is_relative_to(host.state / "images")]
    records = {kind: len(stored(host, kind, "id")) for kind in ("container", "sandbox", "endpoint", "removal")}
    seen = {
        "files": sorted(file for file in files if not file.startswith(("state/atoll.db-",))),
        "mounts": sorted(str(path) for path in mounted_below(host.directory)),
        "traces": {kind: sorted(names) for kind, names in traces_of(host).items()},
        "records": records,
        "volumes": host.must("GET", "/volumes")["Volumes"],
    }
    eventually(lambda: "atoll:gone" not in host.run("ip -d link"))
    return json.dumps(seen, indent=1) + host_text(str(host.netns), host.netns_directory)
