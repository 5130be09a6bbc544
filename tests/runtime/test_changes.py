"""What `docker diff` and `docker export` tell, of roots that a real overlayfs was written to."""

import asyncio
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from atoll.runtime.changes import Change, ChangeKind, compare
from atoll.runtime.supervise.mounts import mount_root, unmount_below


def layers(directory: Path) -> None:
    """Two layers: the upper one takes /srv/old away and makes /opt anew."""
    for name in ("srv/deep", "opt", "etc"):
        (directory / "low/d" / name).mkdir(parents=True)
    for name in ("srv/old", "srv/kept", "srv/deep/file", "opt/hidden", "etc/passwd", "top"):
        (directory / "low/d" / name).write_text(name)
    (directory / "high/d/srv").mkdir(parents=True)
    os.mknod(directory / "high/d/srv/old", stat.S_IFCHR, os.makedev(0, 0))
    (directory / "high/d/opt").mkdir()
    os.setxattr(directory / "high/d/opt", "trusted.overlay.opaque", b"y")


def changes(directory: Path, write: Callable[[Path], None]) -> list[Change]:
    """What is told after `write` has written to the mounted root."""
    layers(directory)
    kept, root = directory / "kept", directory / "kept" / "root"

    async def play() -> None:
        await mount_root(directory, ["low/d", "high/d"], kept, root)
        try:
            write(root)
        finally:
            await unmount_below(kept)

    asyncio.run(play())
    return compare(kept / "upper", [directory / "high/d", directory / "low/d"])


def nothing(root: Path) -> None:
    (root / "srv/kept").read_text()


def make_what_is_mounted(root: Path) -> None:
    (root / "proc").mkdir()
    (root / "etc/hosts").write_text("")


def write_files(root: Path) -> None:
    (root / "top").write_text("other")
    (root / "srv/deep/file").unlink()
    (root / "fresh/below").mkdir(parents=True)
    (root / "etc/shadow").write_text("")


def bring_back(root: Path) -> None:
    (root / "srv/old").write_text("again")
    (root / "opt/hidden").write_text("again")


def make_anew(root: Path) -> None:
    shutil.rmtree(root / "srv")
    (root / "srv").mkdir()
    (root / "srv/kept").write_text("other")


def link_outside(root: Path) -> None:
    (root / "srv/deep/file").unlink()
    (root / "srv/deep").rmdir()
    (root / "srv/deep").symlink_to("/etc")


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (nothing, ""),
        (make_what_is_mounted, ""),
        (write_files, "C /etc, A /etc/shadow, A /fresh, A /fresh/below, C /srv, C /srv/deep, D /srv/deep/file, C /top"),
        (bring_back, "C /opt, A /opt/hidden, C /srv, A /srv/old"),
        (make_anew, "C /srv, D /srv/deep, C /srv/kept"),
        (link_outside, "C /srv, C /srv/deep"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_changes_are_told(tmp_path: Path, write: Callable[[Path], None], expected: str) -> None:
    letters = {ChangeKind.MODIFIED: "C", ChangeKind.ADDED: "A", ChangeKind.DELETED: "D"}
    told = ", ".join(f"{letters[change.kind]} {change.path}" for change in changes(tmp_path, write))
    assert told == expected


def test_a_container_that_never_ran_has_changed_nothing(tmp_path: Path) -> None:
    assert compare(tmp_path / "absent", []) == []
