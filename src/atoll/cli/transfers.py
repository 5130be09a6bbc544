"""`atoll pull`, `load` and `import`: images that come from elsewhere, and how far they are."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing

from atoll.cli.command import Command
from atoll.cli.http import Client
from atoll.cli.parser import common
from atoll.errors import AtollError, InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any, BinaryIO, TextIO

    from atoll.cli.progress import Display

_PART_BYTES = 1 << 20


def add_pull(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = command.examples or ("atoll pull busybox", "atoll pull localhost:5000/mine:1")
    common(command)
    command.add_argument("-q", "--quiet", action="store_true", help="print the name alone")
    command.add_argument("--platform", metavar="OS/ARCH", default="", help="of which machine, linux/arm64 (this one's)")
    command.add_argument("--disable-content-trust", action="store_true", help=argparse.SUPPRESS)
    command.add_argument("image", metavar="NAME[:TAG]", help="the image's name, or NAME@DIGEST")
    command.set_defaults(run=_pull)


def add_load(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = command.examples or ("atoll load -i saved.tar", "atoll load -q -i saved.tar")
    common(command)
    command.add_argument("-i", "--input", metavar="FILE", default="", help="the archive (stdin)")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress")
    command.set_defaults(run=_load)


def add_import(command: Command) -> None:
    """Add the command's arguments."""
    command.examples = command.examples or ("atoll import root.tar mine:1", "atoll import -m 'by hand' - mine:1")
    common(command)
    command.add_argument("-m", "--message", metavar="TEXT", default="", help="a comment")
    command.add_argument("file", metavar="FILE", help="the archive, - for stdin")
    command.add_argument("name", nargs="?", metavar="NAME[:TAG]", default="", help="the image's name")
    command.set_defaults(run=_import)


def pull(client: Client, name: str, *, platform: str, quiet: bool, stream: TextIO) -> None:
    """Fetch an image, and show on `stream` how far that is. Raises AtollError."""
    query = {"fromImage": name, **({"platform": platform} if platform else {})}
    with closing(_display(stream, quiet=quiet)) as display:
        _follow(client.begin("POST", "/images/create", query), display)


def _pull(args: argparse.Namespace, client: Client) -> int:
    pull(client, args.image, platform=args.platform, quiet=args.quiet, stream=sys.stdout)
    if args.quiet:
        print(args.image)
    return 0


def _load(args: argparse.Namespace, client: Client) -> int:
    if not args.input and sys.stdin.isatty():
        raise InvalidRequest("requested load from stdin, but stdin is a terminal", hint="atoll load -i FILE")
    with closing(_display(sys.stdout, quiet=args.quiet)) as display, _opened(args.input) as file:
        _follow(client.begin("POST", "/images/load", content=_parts(file, "Loading", display)), display)
    return 0


def _import(args: argparse.Namespace, client: Client) -> int:
    from atoll.cli.images import split_name

    repository, tag = split_name(args.name)
    query = {"fromSrc": "-", "repo": repository, "tag": tag, "message": args.message}
    query = {key: value for key, value in query.items() if value}
    with closing(_display(sys.stderr, quiet=False)) as display, _opened("" if args.file == "-" else args.file) as file:
        content = _parts(file, "Importing", display) if display.moves else _parts(file)
        answer = json.loads(b"".join(client.begin("POST", "/images/create", query, content=content)))
    print(answer["status"])
    return 0


def _display(stream: TextIO, *, quiet: bool) -> Display:
    from atoll.cli.progress import Bars, Lines, Silence

    return Silence() if quiet else Bars(stream) if stream.isatty() else Lines(stream)


def _follow(parts: Iterable[bytes], display: Display) -> None:
    """Show the lines of a progress. Raises AtollError for the one that tells of a failure."""
    for line in _lines(parts):
        if line.get("error"):
            raise AtollError(str(line["error"]))
        display.tell(line)


def _lines(parts: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    pending = b""
    for part in parts:
        *lines, pending = (pending + part).split(b"\n")
        yield from (json.loads(line) for line in lines if line.strip())
    if pending.strip():
        yield json.loads(pending)


def _opened(path: str) -> BinaryIO:
    if not path:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    try:
        return open(path, "rb")
    except OSError as error:
        raise InvalidRequest(f"cannot open {path}: {error.strerror}") from None


def _parts(file: BinaryIO, what: str = "", display: Display | None = None) -> Iterator[bytes]:
    total_bytes, sent_bytes = os.fstat(file.fileno()).st_size, 0
    while part := file.read(_PART_BYTES):
        yield part
        sent_bytes += len(part)
        if display is not None:
            display.sent(what, sent_bytes, total_bytes)
