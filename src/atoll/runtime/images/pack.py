"""Pack files into an archive: a program of its own, `python -m atoll.runtime.images.pack DIR PATH [FORM]`.

Writes a tar of PATH in DIR to standard output. The program changes its root to DIR first, so no link leads outside; see
unpack.py. Sockets are left out. Names in the archive depend on the form:

path        they begin with PATH's last part
contents    `.` is PATH, which may be missing
tree        they begin with what is in PATH, which has no member of its own
layer       the same, with overlayfs's whiteouts turned to those of image layers
"""

import errno
import os
import stat
import sys
import tarfile
from enum import StrEnum
from pathlib import Path
from typing import IO

from atoll.runtime.images.unpack import KEPT_XATTRS, OPAQUE, OPAQUE_XATTR, WHITEOUT, XATTR_HEADER, confine


class Form(StrEnum):
    """What the archive is for, and so which names it has."""

    PATH = "path"
    CONTENTS = "contents"
    TREE = "tree"
    LAYER = "layer"


def pack(sink: IO[bytes], path: Path, form: Form = Form.PATH) -> None:
    """Write the archive of `path`, resolved below the current root. Raises OSError."""
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        if form is Form.CONTENTS and not path.is_dir():
            return
        packer = Packer(archive, layer=form is Form.LAYER)
        if form in (Form.TREE, Form.LAYER):
            packer.add_below(path, "")
        else:
            packer.add(path, "." if form is Form.CONTENTS else path.name or ".")


class Packer:
    """Adds files to an archive, each content once. `layer`: whiteouts are turned to those of image layers."""

    def __init__(self, archive: tarfile.TarFile, *, layer: bool) -> None:
        self._archive = archive
        self._layer = layer
        self._links: dict[tuple[int, int], str] = {}

    def add(self, path: Path, name: str) -> None:
        """A file, and all below a directory. Raises OSError."""
        if self._add(path, name):
            self.add_below(path, f"{name}/")

    def add_below(self, path: Path, prefix: str) -> None:
        """All below a directory, their names behind `prefix`. Raises OSError."""
        # No recursion: a container may make a tree of any depth.
        waiting = self._children(path, prefix)
        while waiting:
            child, name = waiting.pop()
            if self._add(child, name):
                waiting += self._children(child, f"{name}/")

    def _children(self, path: Path, prefix: str) -> list[tuple[Path, str]]:
        """The files in a directory with their names, the first one last."""
        if self._layer and _is_opaque(path):
            self._archive.addfile(tarfile.TarInfo(prefix + OPAQUE))
        return [(child, prefix + child.name) for child in sorted(path.iterdir(), reverse=True)]

    def _add(self, path: Path, name: str) -> bool:
        """One member; whether it is a directory."""
        found = path.lstat()
        if stat.S_ISSOCK(found.st_mode):
            return False
        if self._layer and stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            self._archive.addfile(tarfile.TarInfo(name.removesuffix(path.name) + WHITEOUT + path.name))
            return False
        member = _member(path, name, found)
        key = found.st_dev, found.st_ino
        if member.isreg() and found.st_nlink > 1:
            if key in self._links:
                member.type, member.linkname, member.size = tarfile.LNKTYPE, self._links[key], 0
            self._links.setdefault(key, name)
        if member.isreg():
            with path.open("rb") as file:
                self._archive.addfile(member, file)
        else:
            self._archive.addfile(member)
        # It would remember every one.
        self._archive.members.clear()  # type: ignore[attr-defined]
        return member.isdir()


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
    """Capabilities of programs, and what is a user's."""
    try:
        names = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith(KEPT_XATTRS)]
        values = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return {}
        raise
    return {XATTR_HEADER + name: value.decode("utf-8", "surrogateescape") for name, value in sorted(values.items())}


def _is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


def main() -> int:
    """Run the program; its exit status."""
    directory, path = sys.argv[1], Path(os.path.normpath("/" + sys.argv[2].lstrip("/")))
    form = Form(sys.argv[3]) if len(sys.argv) > 3 else Form.PATH
    try:
        confine(directory)
        pack(sys.stdout.buffer, path, form)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
