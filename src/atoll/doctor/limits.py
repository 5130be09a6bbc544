"""Tables of the kernel, and of the process, that are nearly full."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.remedies import set_sysctl
from atoll.doctor.snapshot import Snapshot
from atoll.model.addresses import Family

FULL_PERCENT = 80
OPEN_FILES_LOW = 4096
"""Each published port holds a file or two, and each namespace that is made needs one for a moment."""
_WORDS: Mapping[Family, str] = MappingProxyType({Family.V4: "ipv4", Family.V6: "ipv6"})


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """The neighbour tables, connection tracking, open files."""
    yield from _neighbours(snapshot)
    tracked = snapshot.view.tracked
    if tracked.limit and tracked.used * 100 >= tracked.limit * FULL_PERCENT:
        path = "net/netfilter/nf_conntrack_max"
        yield Finding(
            Severity.ERROR if tracked.used >= tracked.limit else Severity.WARNING,
            Kind.CONNTRACK,
            path.replace("/", "."),
            f"{tracked.used} of at most {tracked.limit} connections are tracked",
            "new connections of containers and to published ports, as soon as the table is full",
            (set_sysctl(path, str(4 * tracked.limit)),),
        )
    yield from _open_files(snapshot)


def _neighbours(snapshot: Snapshot) -> Iterator[Finding]:
    for family, table in snapshot.view.neighbours.items():
        full = table.limit and table.entries * 100 >= table.limit * FULL_PERCENT
        if full or table.overflows:
            path = f"net/{_WORDS[family]}/neigh/default/gc_thresh3"
            since_boot = f"; since boot {table.overflows} found no place" if table.overflows else ""
            yield Finding(
                Severity.ERROR if full and table.entries >= table.limit else Severity.WARNING,
                Kind.NEIGHBOURS,
                path.replace("/", "."),
                f"{table.entries} of at most {table.limit} IPv{family} neighbours are known, "
                f"in all network namespaces together{since_boot}",
                "packets to hosts and containers that are new to somebody are lost as soon as the table is full",
                (set_sysctl(path, str(8 * table.limit)),),
            )


def _open_files(snapshot: Snapshot) -> Iterator[Finding]:
    files, pid = snapshot.view.open_files, snapshot.view.pid
    if not files.limit:
        return
    full = files.used * 100 >= files.limit * FULL_PERCENT
    if full or files.limit < OPEN_FILES_LOW:
        yield Finding(
            Severity.WARNING if full else Severity.NOTE,
            Kind.OPEN_FILES,
            f"pid {pid}",
            f"the daemon has {files.used} files open, and may have {files.limit}",
            "publishing ports: each holds up to two sockets",
            (f"prlimit --pid {pid} --nofile=65536:65536",),
        )
