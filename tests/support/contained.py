"""A host whose daemon has busybox, and the docker command that talks to it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from atoll.runtime.supervise.mounts import mounted_below
from tests.support.daemon import DaemonHost, daemon_host
from tests.support.dockerd import docker_command

TIMEOUT_S = 30


@dataclass(frozen=True)
class Docker:
    """The docker command with a home and a daemon of its own."""

    host: DaemonHost

    @property
    def environment(self) -> dict[str, str]:
        home = str(self.host.directory)
        return {"DOCKER_HOST": self.host.url, "HOME": home, "PATH": os.environ["PATH"], "TERM": "xterm"}

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Run `docker ARGUMENTS`, which ends with `code`: its output, then its errors."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == code, (arguments, done, self.host.log[-3000:])
        return (done.stdout + done.stderr).strip()

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [docker_command(), *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def start(self, *arguments: str, **options: int) -> subprocess.Popen[bytes]:
        """`docker ARGUMENTS`, left running."""
        return subprocess.Popen([docker_command(), *arguments], env=self.environment, **options)  # type: ignore[call-overload, no-any-return]


@contextmanager
def contained_host(purpose: str, *, bootstrap: bool = True) -> Iterator[Docker]:
    """A daemon with busybox on a host of its own; at the end it is purged, and nothing of its containers is left."""
    with daemon_host(purpose) as host:
        docker = Docker(host)
        if bootstrap:
            host.must("POST", "/atoll/images/bootstrap")
        try:
            yield docker
        finally:
            if host.process is None:
                host.start()
            host.must("POST", "/atoll/purge")
            assert host.process is not None
            host.process.wait(TIMEOUT_S)
            host.process = None
            assert left_of(host) == []


def left_of(host: DaemonHost) -> list[str]:
    """Mounts and processes of a host's containers."""
    pattern = f"conmon .*{host.directory}"
    running = subprocess.run(["pgrep", "-af", pattern], capture_output=True, text=True, check=False)
    mounted = (str(path) for path in mounted_below(host.directory))
    return [path for path in mounted if not path.startswith(str(host.netns_directory))] + running.stdout.splitlines()
