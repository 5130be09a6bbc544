"""Unpack one layer into a directory: a program of its own, `python -m atoll.runtime.images.unpack DIR [SHIFT [PATH]]`.

The archive comes as standard input: a tar, plain or compressed by gzip, bzip2 or xz. The program changes its root to
DIR before it reads a byte, so neither `..` nor a link, symbolic or hard, absolute or relative, can lead outside. What
it needs is imported before that: a library loaded later would be the archive's. Owners are numbers, SHIFT is added to
them. Whiteouts become overlayfs's own. Devices are left out: a container gets its own /dev, and no other is of use.

With PATH the archive is one of plain files, for that directory in DIR.

Prints one JSON object: `digest` of the plain archive, and `size_bytes`; or `error`.
Source: opencontainers/image-spec, layer.md; Documentation/filesystems/overlayfs.rst.
"""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import resource
import stat
import sys
import tarfile
import zlib
from pathlib import Path
from typing import IO, cast

from atoll.runtime.trees import remove_tree

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
METADATA = ".wh..wh."
"""Of aufs's own files, which have no meaning here."""
OPAQUE_XATTR = "trusted.overlay.opaque"
XATTR_HEADER = "SCHILY.xattr."

_ROOT = Path("/")
_CHUNK_BYTES = 1 << 20
_ENDS_MAX = 16
"""How often the end may be met: a few times it is, in looking for a next member and for what follows the archive."""
KEPT_XATTRS = ("security.capability", "user.")
"""Beginnings of the names of extended attributes that files keep in archives."""
MEMORY_MAX_BYTES = 1 << 30
"""Of this program: an archive can ask for any size, by the head of a name or by a compressor's dictionary."""
UNREADABLE = (
    tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, ValueError, OverflowError, MemoryError,
    RecursionError,
)  # fmt: skip
"""What reading an archive of nonsense may raise."""


class Refused(Exception):
    """The archive can't be unpacked; the message says why."""


class HashedInput:
    """A stream that is read once, and the digest and the number of bytes of what was read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._ends = 0
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        """As a file does. Raises EOFError for who goes on at the end.

        tarfile does, piece by piece, as long as a member is said to be: for ever.
        """
        chunk = self._stream.read(size)
        self._ends = 0 if chunk else self._ends + 1
        if self._ends > _ENDS_MAX:
            raise EOFError("it ends before what it is said to hold")
        self._digest.update(chunk)
        self.count += len(chunk)
        return chunk

    def digest(self) -> str:
        """Of everything, what follows the archive's end included."""
        while self.read(_CHUNK_BYTES):
            pass
        return self._digest.hexdigest()


def opened(stream: IO[bytes]) -> IO[bytes]:
    """The plain archive in a stream that can't seek."""
    buffered = cast(IO[bytes], os.fdopen(os.dup(stream.fileno()), "rb", buffering=_CHUNK_BYTES))
    head = buffered.peek(6)[:6]  # type: ignore[attr-defined]
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=buffered))
    if head.startswith(b"BZh"):
        return cast(IO[bytes], bz2.BZ2File(buffered))
    if head.startswith(b"\xfd7zXZ"):
        return cast(IO[bytes], lzma.LZMAFile(buffered))
    return buffered


class Unpacker:
    """Puts members of an archive below a directory of the current root.

    `layer`: they are of a layer of an image, whiteouts and all, and not just files.
    """

    def __init__(self, directory: Path, *, shift: int, layer: bool) -> None:
        self._directory = directory
        self._shift = shift
        self._layer = layer
        self._times: list[tuple[Path, int]] = []
        self.size_bytes = 0

    def put(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """One member, in place of what is there. Raises Refused, OSError."""
        path = self._inside(member.name)
        if path == self._directory:
            if self._layer:
                self._finish(path, member)
            return
        _make_parents(path)
        if self._layer and path.name == OPAQUE:
            os.setxattr(path.parent, OPAQUE_XATTR, b"y")
        elif self._layer and path.name.startswith(METADATA):
            return
        elif self._layer and path.name.startswith(WHITEOUT):
            _white_out(path)
        elif self._make(archive, member, path):
            self._finish(path, member)

    def close(self) -> None:
        """Set the times of directories, which what was put into them has changed."""
        for path, time_ns in reversed(self._times):
            os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> bool:
        """Make the file; False when it is of a kind that is left out, or has its owner already."""
        if member.ischr() or member.isblk():
            return False
        _clear(path, for_directory=member.isdir())
        if member.isdir():
            path.mkdir(exist_ok=True)
        elif member.issym():
            path.symlink_to(member.linkname)
        elif member.islnk():
            _link(self._inside(member.linkname), path)
            return False
        elif member.isfifo():
            os.mkfifo(path)
        elif member.isreg():
            self._write(archive, member, path)
        else:
            raise Refused(f"{member.name!r} is of the unknown kind {member.type!r}")
        return True

    def _inside(self, name: str) -> Path:
        # From the root `..` leads nowhere; links on the way are resolved by the kernel, inside the root too.
        if "\0" in name:
            raise Refused(f"{name!r} is not a path")
        return Path(f"{self._directory}/{os.path.normpath('/' + name.lstrip('/'))}")

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        source = archive.extractfile(member)
        assert source is not None
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            if member.issparse():
                # Holes stay holes: a few bytes of archive can tell of any number of zeros. Below the buffer, which
                # wants to seek in the stream, a place is only remembered.
                raw = cast(IO[bytes], source.raw)  # type: ignore[attr-defined]
                for start, length in cast(list[tuple[int, int]], member.sparse):
                    raw.seek(start)
                    file.seek(start)
                    self._copy(raw, file, length)
                file.truncate(member.size)
            else:
                self._copy(source, file, member.size)

    def _copy(self, source: IO[bytes], file: IO[bytes], length: int) -> None:
        while length > 0 and (chunk := source.read(min(length, _CHUNK_BYTES))):
            file.write(chunk)
            length -= len(chunk)
            self.size_bytes += len(chunk)

    def _finish(self, path: Path, member: tarfile.TarInfo) -> None:
        os.chown(path, member.uid + self._shift, member.gid + self._shift, follow_symlinks=False)
        if not member.issym():
            # After chown, which takes set-id bits and capabilities away.
            path.chmod(member.mode & 0o7777)
            for header, value in member.pax_headers.items():
                _set_xattr(path, header, value)
        time_ns = max(0, int(member.mtime)) * 1_000_000_000
        if member.isdir():
            self._times.append((path, time_ns))
        else:
            os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)


def _make_parents(path: Path) -> None:
    """Make the directories above, which the archive may name later."""
    missing = []
    for parent in path.parents:
        try:
            parent.mkdir(mode=0o755)
            break
        except FileExistsError:
            break
        except FileNotFoundError:
            missing.append(parent)
    for parent in reversed(missing):
        parent.mkdir(mode=0o755)


def _white_out(path: Path) -> None:
    name = path.name.removeprefix(WHITEOUT)
    if name in ("", ".", ".."):
        raise Refused(f"{path} hides {name!r}")
    hidden = path.with_name(name)
    _clear(hidden, for_directory=False)
    os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0))


def _link(target: Path, path: Path) -> None:
    try:
        os.link(target, path, follow_symlinks=False)
    except FileNotFoundError:
        raise Refused(f"{path} is a hard link to {target}, which is not in the archive before it") from None


def _set_xattr(path: Path, header: str, value: str) -> None:
    name = header.removeprefix(XATTR_HEADER)
    # Not trusted.overlay.*: an archive could then point overlayfs elsewhere.
    if name != header and name.startswith(KEPT_XATTRS):
        os.setxattr(path, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)


def _clear(path: Path, *, for_directory: bool) -> None:
    """Remove what is there; a directory may stay where one comes."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        path.unlink()
    elif not for_directory:
        remove_tree(path)


def unpack(stream: IO[bytes], directory: Path = _ROOT, *, shift: int = 0, layer: bool = True) -> tuple[str, int]:
    """Unpack below a directory; the digest of the plain archive and the bytes of its files. Raises Refused, OSError."""
    source = HashedInput(opened(stream))
    unpacker = Unpacker(directory, shift=shift, layer=layer)
    try:
        with tarfile.open(
            fileobj=cast(IO[bytes], source), mode="r|", encoding="utf-8", errors="surrogateescape"
        ) as archive:
            end = 0
            while (member := _next(archive, source, end)) is not None:
                unpacker.put(archive, member)
                end = member.offset_data + (member.size if member.isreg() else 0)
                # It would remember every one.
                archive.members.clear()  # type: ignore[attr-defined]
        unpacker.close()
        return source.digest(), unpacker.size_bytes
    except UNREADABLE as error:
        raise Refused(f"not an archive that can be read: {error or type(error).__name__}") from None


def _next(archive: tarfile.TarFile, source: HashedInput, end: int) -> tarfile.TarInfo | None:
    """The next member, after one whose content goes to `end`."""
    try:
        return archive.next()
    except tarfile.ReadError:
        # Some write no padding after the last one's, and no mark of the end: umoci, for one.
        if end and end <= source.count < end + tarfile.BLOCKSIZE and not source.read(1):
            return None
        raise


def confine(directory: str) -> None:
    """Change the root to `directory`, and load nothing from it."""
    os.chroot(directory)
    os.chdir(_ROOT)
    os.umask(0)
    # No import from here on, as it would be of the archive's files.
    sys.path.clear()
    sys.meta_path.clear()


def bound_memory() -> None:
    """Let this process have MEMORY_MAX_BYTES at most: more is a MemoryError. Source: setrlimit(2), RLIMIT_AS."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX_BYTES, MEMORY_MAX_BYTES))


def main() -> int:
    """Run the program; its exit status."""
    directory, shift = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    below = Path(os.path.normpath("/" + sys.argv[3].lstrip("/"))) if len(sys.argv) > 3 else _ROOT
    try:
        bound_memory()
        confine(directory)
        digest, size_bytes = unpack(sys.stdin.buffer, below, shift=shift, layer=len(sys.argv) <= 3)
    except Refused as error:
        print(json.dumps({"error": str(error)}))
        return 1
    except OSError as error:
        print(json.dumps({"error": str(error), "errno": error.errno}))
        return 1
    print(json.dumps({"digest": digest, "size_bytes": size_bytes}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
