"""A real dockerd and atoll side by side, with one image: the same is asked of both."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.contained import contained_host
from tests.support.daemon import Answer, ask
from tests.support.dockerd import PINNED, docker_command, dockerd

IMAGE = "box:1"
TIMEOUT_S = 40
_APPLETS = (
    "cat", "cut", "echo", "env", "false", "head", "httpd", "id", "ip", "ls", "mkdir", "ping", "pwd",
    "rm", "seq", "sh", "sleep", "touch", "true", "tty", "wc", "wget",
)  # fmt: skip


@dataclass(frozen=True)
class Engine:
    """One of the two: asked over its socket, at dockerd's version, and by the docker command."""

    name: str
    socket: Path
    home: Path

    @property
    def url(self) -> str:
        """DOCKER_HOST."""
        return f"unix://{self.socket}"

    def ask(self, method: str, target: str, body: Any = None, **options: Any) -> Answer:
        """An answer, whatever it is."""
        return ask(self.socket, method, PINNED + target, body, **options)

    def docker(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the docker command."""
        environment = {"DOCKER_HOST": self.url, "HOME": str(self.home), "PATH": os.environ["PATH"]}
        return subprocess.run(
            [docker_command(), *arguments],
            env={**environment, "DOCKER_API_VERSION": PINNED.removeprefix("/v")},
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )


@contextmanager
def twins(purpose: str) -> Iterator[tuple[Engine, Engine]]:
    """dockerd and atoll, each on a host of its own, with the same image; nothing of either stays."""
    with dockerd(f"{purpose}-dk") as docker, contained_host(f"{purpose}-at", bootstrap=False) as atoll:
        engines = (
            Engine("dockerd", docker.socket, docker.socket.parent),
            Engine("atoll", atoll.host.socket, atoll.host.directory),
        )
        for engine in engines:
            answer = engine.ask(
                "POST", "/images/load", raw=image_archive(), headers={"Content-Type": "application/x-tar"}
            )
            assert answer.status == 200, answer
        yield engines


def image_archive() -> bytes:
    """What `docker save` makes of the image: busybox in one layer. Its id is the same wherever it is loaded."""
    layer = _tar({"bin/busybox": Path("/bin/busybox").read_bytes()}, links=_APPLETS, directories=("bin", "etc", "tmp"))
    config = {
        "architecture": "amd64",
        "author": "nobody",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin", "COLOUR=red"], "Labels": {"kind": "box"}},
        "created": "2024-05-06T07:08:09Z",
        "history": [{"created": "2024-05-06T07:08:09Z", "created_by": "ADD busybox", "comment": "made by hand"}],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    raw = json.dumps(config).encode()
    name = f"{hashlib.sha256(raw).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    return _tar({name: raw, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()})


def root_archive() -> bytes:
    """A root file system with a program and a file, for `docker import`."""
    return _tar({"bin/cat": Path("/bin/busybox").read_bytes(), "etc/note": b"imported\n"}, directories=("bin", "etc"))


def _tar(files: Mapping[str, bytes], *, links: tuple[str, ...] = (), directories: tuple[str, ...] = ()) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in directories:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
        for applet in links:
            member = tarfile.TarInfo(f"bin/{applet}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(member)
    return made.getvalue()
