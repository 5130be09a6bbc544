"""Where what belongs to containers lies.

STATE/images/                       see images/store.py
STATE/volumes/NAME/_data            named volumes
STATE/containers/ID/upper, work     what a container has written, for overlayfs
STATE/containers/ID/log             its output
STATE/containers/ID/hosts ...       its files in /etc
STATE/containers/ID/unwritten       while these are older than its networks
RUN/runtimes/NAME/                  what a runtime remembers of its containers
RUN/containers/ID/                  the bundle, and what conmon says: gone after a reboot
RUN/containers/ID/execs/ID/         of one further process
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """`state` outlives a reboot, `run` does not. Absolute."""

    state: Path
    run: Path

    @property
    def images(self) -> Path:
        """Of the image store."""
        return self.state / "images"

    @property
    def volumes(self) -> Path:
        """Of named volumes."""
        return self.state / "volumes"

    @property
    def containers(self) -> Path:
        """What stays of containers."""
        return self.state / "containers"

    @property
    def bundles(self) -> Path:
        """What is there of containers that run."""
        return self.run / "containers"

    @property
    def runtimes(self) -> Path:
        """A directory for each runtime."""
        return self.run / "runtimes"

    def kept(self, container_id: str) -> Path:
        """A container's directory that stays."""
        return self.containers / container_id

    def log(self, container_id: str) -> Path:
        """A container's output; see supervise/logs.py."""
        return self.kept(container_id) / "log"

    def unwritten(self, container_id: str) -> Path:
        """There while a container's files in /etc are older than its networks."""
        return self.kept(container_id) / "unwritten"

    def bundle(self, container_id: str) -> Path:
        """A container's directory while it runs."""
        return self.bundles / container_id

    def root(self, container_id: str) -> Path:
        """Where its root is mounted while it runs."""
        return self.bundle(container_id) / "root"

    def execs(self, container_id: str) -> Path:
        """Of further processes."""
        return self.bundle(container_id) / "execs"
