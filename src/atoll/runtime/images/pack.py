"""Pack files into an archive: a program of its own, `python -m atoll.runtime.images.pack DIR PATH [--contents]`.

Writes a tar of PATH in DIR to standard output. The program changes its root to DIR first, so no link leads outside; see
unpack.py. Names in the archive begin with PATH's last part, or with `--contents` with what is in PATH, which may then
be missing. Sockets are left out.
"""

import errno
import os
import stat
import sys
import tarfile
from pathlib import Path
from typing import IO

from atoll.runtime.images.unpack import XATTR_HEADER, confine


def pack(sink: IO[bytes], path: Path, *, contents: bool = False) -> None:
    """Write the archive of `path`, resolved below the current root. Raises OSError."""
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        if contents and not path.is_dir():
            return
        links: dict[tuple[int, int], str] = {}
        # No recursion: a container may make a tree of any depth.
        waiting = [(path, "." if contents else path.name or ".")]
        while waiting:
            path, name = waiting.pop()
            _add(archive, path, name, links)
            if path.is_dir() and not path.is_symlink():
                waiting += [(child, f"{name}/{child.name}") for child in sorted(path.iterdir(), reverse=True)]


def _add(archive: tarfile.TarFile, path: Path, name: str, links: dict[tuple[int, int], str]) -> None:
    found = path.lstat()
    if stat.S_ISSOCK(found.st_mode):
        return
    member = _member(path, name, found)
    key = found.st_dev, found.st_ino
    if member.isreg() and found.st_nlink > 1:
        if key in links:
            member.type, member.linkname, member.size = tarfile.LNKTYPE, links[key], 0
        links.setdefault(key, name)
    if member.isreg():
        with path.open("rb") as file:
            archive.addfile(member, file)
    else:
        archive.addfile(member)
    # It would remember every one.
    archive.members.clear()  # type: ignore[attr-defined]


def _member(path: Path, name: str, found: os.stat_result) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.uid, member.gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
    member.mtime = found.st_mtime_ns // 1_000_000_000
    kinds = {stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFIFO: tarfile.FIFOTYPE}
    kinds |= {stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE, stat.S_IFREG: tarfile.REGTYPE}
    member.type = kinds[stat.S_IFMT(found.st_mode)]
    if member.issym():
        member.linkname = str(path.readlink())
    elif member.isreg():
        member.size = found.st_size
        member.pax_headers = _xattrs(path)
    elif member.ischr() or member.isblk():
        member.devmajor, member.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
    return member


def _xattrs(path: Path) -> dict[str, str]:
    """Capabilities of programs."""
    try:
        value = os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return {}
        raise
    return {XATTR_HEADER + "security.capability": value.decode("utf-8", "surrogateescape")}


def main() -> int:
    """Run the program; its exit status."""
    directory, path = sys.argv[1], Path(os.path.normpath("/" + sys.argv[2].lstrip("/")))
    try:
        confine(directory)
        pack(sys.stdout.buffer, path, contents="--contents" in sys.argv[3:])
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
