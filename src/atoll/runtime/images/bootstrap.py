"""busybox:latest out of Debian's busybox-static: an image for where there is no registry.

Shape: /bin/busybox with a link for each of its applets, the directories that programs expect, and the users of
Debian's base-passwd that scripts ask for. The same busybox makes the same image, bit for bit.
"""

import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from atoll.model.image import Image
from atoll.model.reference import parse_reference
from atoll.runtime.images.store import ImageStore
from atoll.runtime.programs import found, run

NAME = "busybox:latest"
CREATED = "2023-01-01T00:00:00Z"
"""A moment that does not depend on when the image is made."""

_DIRECTORIES = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "usr/bin": 0o755,
    "usr/sbin": 0o755,
    "var": 0o755,
    "var/spool": 0o755,
    "var/www": 0o755,
    "var/tmp": 0o1777,
    "www": 0o755,
}
_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
wheel:x:10:root
www-data:x:33:
users:x:100:
nogroup:x:65534:
"""
_ARCHITECTURES: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def architecture() -> str:
    """This host's, as images name it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


async def bootstrap(images: ImageStore) -> Image:
    """Make busybox:latest. Raises Unsupported where busybox is missing, StoreFull."""
    busybox = Path(found("busybox"))
    # Its own list is what it can do.
    applets = (await run(str(busybox), "--list")).output.decode().split()
    with NamedTemporaryFile() as archive:
        _write_root(archive, busybox.read_bytes(), applets)
        archive.flush()
        return await images.add([Path(archive.name)], _config, names=[parse_reference(NAME)])


def _write_root(file: IO[bytes], busybox: bytes, applets: list[str]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, mode in _DIRECTORIES.items():
            archive.addfile(_member(path, mode, tarfile.DIRTYPE))
        _add(archive, "bin/busybox", 0o755, busybox)
        for applet in sorted({*applets, "sh"} - {"busybox"}):
            link = _member(f"bin/{applet}", 0o777, tarfile.SYMTYPE)
            link.linkname = "busybox"
            archive.addfile(link)
        link = _member("usr/bin/env", 0o777, tarfile.SYMTYPE)
        link.linkname = "../../bin/busybox"
        archive.addfile(link)
        for path, text in {"etc/passwd": _PASSWD, "etc/group": _GROUP, "etc/shells": "/bin/sh\n"}.items():
            _add(archive, path, 0o644, text.encode())


def _add(archive: tarfile.TarFile, path: str, mode: int, content: bytes) -> None:
    member = _member(path, mode, tarfile.REGTYPE)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _member(path: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.type = mode, kind
    return member


def _config(diff_ids: Sequence[str]) -> bytes:
    document = {
        "architecture": architecture(),
        "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "created": CREATED,
        "history": [{"created": CREATED, "created_by": "busybox-static"}],
        "os": "linux",
        "rootfs": {"diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids], "type": "layers"},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
