"""A real dockerd in a network namespace, to hold atoll's API to it: unpacked from Debian's packages, not installed."""

import io
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from tests.netns.namespaces import namespace, path_of
from tests.support.daemon import Answer, ask

SCRIPTS = Path(__file__).parents[1] / "e2e" / "dockerd"
PINNED = "/v1.41"
"""The version that this dockerd speaks: 20.10."""
READY_TIMEOUT_S = 60
IMAGE = "busybox:test"


def docker_command() -> str:
    """The machine's docker command; without one, Debian's, unpacked."""
    installed = Path("/usr/local/bin/docker")
    if installed.exists():
        return str(installed)
    unpacked = subprocess.run([SCRIPTS / "unpack"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{unpacked}/usr/bin/docker"


class Dockerd:
    """A running dockerd; every request is pinned to its version unless the target begins with one."""

    def __init__(self, socket: Path, netns: str) -> None:
        self.socket = socket
        self.netns = netns

    def ask(self, method: str, target: str, body: Any = None, **options: Any) -> Answer:
        return ask(self.socket, method, target, body, **options)

    def must(self, method: str, target: str, body: Any = None) -> Any:
        answer = self.ask(method, PINNED + target, body)
        assert answer.status < 300, (method, target, answer)
        return answer.body

    def run_container(self, name: str, networking: dict[str, Any], **host_config: Any) -> str:
        """Start a container that sleeps on the network that `networking` (EndpointsConfig) names; its id."""
        self._load_image()
        (network,) = networking
        wanted = {
            "Image": IMAGE,
            "Cmd": ["/busybox", "sleep", "600"],
            "HostConfig": {"NetworkMode": network, **host_config},
            "NetworkingConfig": {"EndpointsConfig": networking},
        }
        made: str = self.must("POST", f"/containers/create?name={name}", wanted)["Id"]
        self.must("POST", f"/containers/{made}/start")
        return made

    def _load_image(self) -> None:
        if self.ask("GET", f"{PINNED}/images/{IMAGE}/json").status == 200:
            return
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add("/bin/busybox", "busybox")
        repository, tag = IMAGE.split(":")
        target = f"{PINNED}/images/create?fromSrc=-&repo={quote(repository)}&tag={tag}"
        answer = ask(self.socket, "POST", target, raw=archive.getvalue(), headers={"Content-Type": "application/x-tar"})
        assert answer.status == 200, answer


@contextmanager
def dockerd(purpose: str) -> Iterator[Dockerd]:
    """A dockerd of its own; nothing of it stays."""
    with TemporaryDirectory(prefix="at-dockerd-") as directory, namespace(purpose) as name:
        log_path = Path(directory) / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [SCRIPTS / "start", path_of(name), directory], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        found = Dockerd(Path(directory) / "docker.sock", name)
        try:
            deadline = time.monotonic() + READY_TIMEOUT_S
            while not _answers(found):
                assert process.poll() is None, f"dockerd ended: {log_path.read_text()[-2000:]}"
                assert time.monotonic() < deadline, f"dockerd is not ready: {log_path.read_text()[-2000:]}"
                time.sleep(0.1)
            yield found
        finally:
            process.terminate()
            process.wait(timeout=30)


def _answers(engine: Dockerd) -> bool:
    try:
        return engine.ask("GET", "/_ping").status == 200
    except OSError:
        return False
