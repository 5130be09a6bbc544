"""`atoll cp`: files between a container and this host, as archives.

Source of who goes where: `docker cp`. What comes out of a container never leads out of the target.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from atoll.cli.command import Command
from atoll.cli.http import Client, ServerError, quote
from atoll.cli.parser import common
from atoll.errors import InvalidRequest, NotFound

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from tarfile import TarFile, TarInfo
    from typing import Any, BinaryIO

_STATUS = "x-docker-container-path-stat"
_DIRECTORY, _LINK = 1 << 31, 1 << 27
"""Bits of Go's io/fs.FileMode."""
_PART_BYTES = 1 << 20


def add_cp(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = ("atoll cp web:/etc/hosts .", "atoll cp page.html web:/www/", "atoll cp web:/www -")
    common(command)
    command.add_argument("-a", "--archive", action="store_true", help="keep owners")
    command.add_argument("-L", "--follow-link", action="store_true", help="copy what a source that is a link leads to")
    command.add_argument("-q", "--quiet", action="store_true", help="no word when it is done")
    command.add_argument("source", metavar="SOURCE", help="a path, CONTAINER:PATH, or - for a tar on stdin")
    command.add_argument("target", metavar="TARGET", help="a path, CONTAINER:PATH, or - for a tar on stdout")
    command.set_defaults(run=_cp)


def _cp(args: argparse.Namespace, client: Client) -> int:
    here, there = _split(args.source), _split(args.target)
    if bool(here[0]) == bool(there[0]):
        raise InvalidRequest(
            "one of source and target, and not both, is in a container", hint="write it as CONTAINER:PATH"
        )
    copied = _copy_out(client, *here, args) if here[0] else _copy_in(client, *there, args)
    if copied and not args.quiet and sys.stderr.isatty():
        print(f"Copied to {args.target}", file=sys.stderr)
    return 0


def _split(text: str) -> tuple[str, str]:
    """Container, "" for this host, and path: a colon behind a slash or a dot belongs to a path."""
    container, colon, path = text.partition(":")
    return (container, path) if colon and container and not container.startswith((".", "/")) else ("", text)


def _copy_out(client: Client, container: str, path: str, args: argparse.Namespace) -> bool:
    """Whether something was written to a file."""
    route = f"/containers/{quote(container)}/archive"
    if args.follow_link:
        found = _status(client, route, path)
        path = found["linkTarget"] or path if found and found["mode"] & _LINK else path
    parts = client.begin("GET", route, {"path": path})
    if args.target == "-":
        for part in parts:
            sys.stdout.buffer.write(part)
        return False
    import tarfile
    import tempfile

    with tempfile.TemporaryFile() as file:
        for part in parts:
            file.write(part)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            _extract(archive, path, Path(args.target), slashed=args.target.endswith("/"), owners=args.archive)
    return True


def _extract(archive: TarFile, source: str, target: Path, *, slashed: bool, owners: bool) -> None:
    """Put everything at its place below `target`; `slashed`: it was written as a directory."""
    members = archive.getmembers()
    root = members[0].name.strip("/") if members else ""
    if members and members[0].isdir():
        if target.exists() and not target.is_dir():
            raise InvalidRequest(f"cannot copy a directory to {target}: it is a file")
        if target.is_dir() and not source.endswith("/."):
            target /= PurePosixPath(root).name
    elif target.is_dir():
        target /= PurePosixPath(root).name
    elif slashed:
        raise NotFound(f"no such directory: {target}", hint=f"mkdir {target}")
    if not target.absolute().parent.is_dir():
        raise NotFound(f"no such directory: {target.absolute().parent}", hint=f"mkdir -p {target.absolute().parent}")
    for member in members:
        _extract_member(archive, member, root, target.absolute(), owners=owners)


def _extract_member(archive: TarFile, member: TarInfo, root: str, target: Path, *, owners: bool) -> None:
    if member.isdev():
        return
    path = _place_of(member.name, root, target)
    if path.is_symlink() or (path.exists() and not (member.isdir() and path.is_dir())):
        path.unlink()
    if member.islnk():
        path.hardlink_to(_place_of(member.linkname, root, target))
        return
    if not owners:
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        # Set-id bits would be those of who copies.
        member.mode &= 0o777
    member.name = path.name
    archive.extract(member, path.parent, numeric_owner=True)


def _place_of(name: str, root: str, target: Path) -> Path:
    """Where a member belongs. Raises InvalidRequest when it leads out: who made it was somebody in a container."""
    inner = name.strip("/").removeprefix(root).strip("/")
    path = target / inner if inner else target
    if inner and (".." in PurePosixPath(inner).parts or not path.parent.resolve().is_relative_to(target.resolve())):
        raise InvalidRequest(f"the archive leads out of {target}: {name}")
    return path


def _copy_in(client: Client, container: str, path: str, args: argparse.Namespace) -> bool:
    route = f"/containers/{quote(container)}/archive"
    if args.source == "-":
        _send(client, route, path, sys.stdin.buffer)
        return True
    import tarfile
    import tempfile

    source = Path(args.source).resolve() if args.follow_link else Path(args.source)
    if not source.exists() and not source.is_symlink():
        raise NotFound(f"no such file or directory: {args.source}")
    contents = args.source in (".", "..") or args.source.endswith("/.")
    directory, name = _place(client, route, path, source, contents=contents)

    def settled(member: TarInfo) -> TarInfo:
        if not args.archive:
            member.uid, member.gid, member.uname, member.gname = 0, 0, "", ""
        return member

    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(source, name, filter=settled)
        file.seek(0)
        _send(client, route, directory, file)
    return True


def _place(client: Client, route: str, path: str, source: Path, *, contents: bool) -> tuple[str, str]:
    """The directory to unpack in, and the name there; `contents`: of what is in a directory, not of itself."""
    inside = source.is_dir() and not source.is_symlink()
    found = _status(client, route, path or "/")
    if found is not None and found["mode"] & _LINK:
        path = str(PurePosixPath(path).parent / found["linkTarget"])
        found = _status(client, route, path)
    if found is not None and found["mode"] & _DIRECTORY:
        return path or "/", "." if contents else source.absolute().name
    if found is not None and inside:
        raise InvalidRequest(f"cannot copy a directory to {path}: it is a file")
    if found is None and path.endswith("/") and not inside:
        raise NotFound(f"no such directory: {path}")
    whole = PurePosixPath("/") / path
    return str(whole.parent), whole.name


def _status(client: Client, route: str, path: str) -> dict[str, Any] | None:
    """What there is at a path of a container, None for nothing."""
    from binascii import a2b_base64

    try:
        headers = client.head(route, {"path": path})
    except ServerError as error:
        if error.status != 404:
            raise
        # Without a body nobody knows what is missing.
        client.get(f"{route.removesuffix('archive')}json")
        return None
    found: dict[str, Any] = json.loads(a2b_base64(headers[_STATUS]))
    return found


def _send(client: Client, route: str, path: str, file: BinaryIO) -> None:
    for _ in client.begin("PUT", route, {"path": path or "/"}, content=_parts(file)):
        pass


def _parts(file: BinaryIO) -> Iterator[bytes]:
    while part := file.read(_PART_BYTES):
        yield part
