"""A runtime of its own for a test: real store, real runc, one network namespace that all its containers are in."""

import asyncio
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from atoll.model.container import Container, ContainerConfig, ContainerRequest, HostConfig
from atoll.model.world import Change
from atoll.runtime.images.bootstrap import bootstrap
from atoll.runtime.parts import ContainerEvent, SandboxView
from atoll.runtime.places import Places
from atoll.runtime.runtime import Runtime
from atoll.runtime.supervise.mounts import mounted_below
from atoll.runtime.supervise.runc import Runc
from atoll.runtime.supervise.streams import Attachment, Stream
from atoll.store.sqlite import SqliteStore
from tests.netns.namespaces import namespace, path_of

TIMEOUT_S = 30


class Records:
    """Containers in a store, as the engine keeps them."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path)

    def load(self) -> Iterable[Container]:
        return self.store.load().containers.values()

    async def put(self, container: Container) -> None:
        self.store.commit(Change(puts=(container,)))

    async def delete(self, container: Container) -> None:
        self.store.commit(Change(deletes=(container,)))


@dataclass
class OneNamespace:
    """All containers in one namespace; a file below `directory` says that a container has a sandbox."""

    netns: str
    directory: Path
    hosts: tuple[str, ...] = ()
    nameserver: str = "192.0.2.1"

    async def make_sandbox(self, container: Container) -> SandboxView:
        (self.directory / container.id).touch()
        return SandboxView(
            self.netns,
            hosts=(("192.0.2.7", (container.name, *self.hosts)),),
            nameservers=(self.nameserver,),
            search=("test",),
        )

    async def remove_sandbox(self, container: Container) -> None:
        (self.directory / container.id).unlink(missing_ok=True)


@dataclass
class Bench:
    """Where runtimes of one test live, one after another, as daemons do."""

    directory: Path
    network: OneNamespace
    events: list[ContainerEvent] = field(default_factory=list)

    @property
    def places(self) -> Places:
        return Places(self.directory / "state", self.directory / "run")

    @asynccontextmanager
    async def runtime(self) -> AsyncIterator[Runtime]:
        """A started runtime with busybox."""
        records = Records(self.directory / "store.db")
        runtime = Runtime(
            state=self.places.state,
            run=self.places.run,
            records=records,
            network=self.network,
            now_ns=time.time_ns,
            new_id=self.new_id,
            emit=self.events.append,
        )
        try:
            await runtime.start()
            if not runtime.images.images():
                await bootstrap(runtime.images)
            yield runtime
        finally:
            await runtime.close()
            records.store.close()

    def actions(self) -> list[str]:
        return [event.action for event in self.events]

    def assert_nothing_left(self) -> None:
        """Nothing of a container that runs, or ran: no mount, bundle, sandbox, process, cgroup."""
        assert mounted_below(self.directory) == []
        assert list(self.places.bundles.iterdir()) == []
        assert list(self.places.containers.iterdir()) == []
        assert Runc("runc", self.places.runtimes).known() == []
        assert list(self.network.directory.iterdir()) == []
        assert self.conmons() == []
        assert [path for path in Path("/sys/fs/cgroup").glob("*/atoll/*") if path.name in self.ids()] == []

    def ids(self) -> set[str]:
        """Of all containers that there ever were."""
        return set((self.directory / "ids").read_text().split()) if (self.directory / "ids").exists() else set()

    def new_id(self) -> str:
        made = secrets.token_hex(32)
        with (self.directory / "ids").open("a") as file:
            file.write(f"{made}\n")
        return made

    def conmons(self) -> list[int]:
        """Pids of conmon processes of this bench."""
        found = subprocess.run(
            ["pgrep", "-f", f"^[^ ]*conmon .*{self.directory}"], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split()]


@contextmanager
def bench() -> Iterator[Bench]:
    """A place for runtimes; all that they made is gone at the end."""
    with TemporaryDirectory(prefix="at-runtime-") as directory, namespace("rt") as name:
        made = Bench(Path(directory), OneNamespace(str(path_of(name)), Path(directory) / "sandboxes"))
        made.network.directory.mkdir()
        # As /var/lib is: the root of a user namespace is nobody there.
        made.directory.chmod(0o711)
        made.places.state.mkdir()
        made.places.run.mkdir()
        try:
            yield made
        finally:
            end_all(made)


def end_all(made: Bench) -> None:
    """End every container of a bench, whatever state it is in."""
    for container_id in Runc("runc", made.places.runtimes).known():
        command = ["runc", "--root", str(made.places.runtimes / "runc"), "delete", "--force", container_id]
        subprocess.run(command, check=False, capture_output=True)
    for pid in made.conmons():
        subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)
    for path in reversed(mounted_below(made.directory)):
        subprocess.run(["umount", "--lazy", path], check=False)


def wanted(*argv: str, host: HostConfig | None = None, **config: Any) -> ContainerRequest:
    """A request for a busybox that runs `argv`."""
    return ContainerRequest(ContainerConfig("busybox", cmd=argv, **config), host or HostConfig())


async def read_all(attachment: Attachment) -> dict[Stream, bytes]:
    """Everything that comes, by stream."""
    found = {Stream.STDOUT: b"", Stream.STDERR: b""}
    async with asyncio.timeout(TIMEOUT_S):
        while (part := await attachment.read()) is not None:
            found[part[0]] += part[1]
    return found


async def run(runtime: Runtime, request: ContainerRequest, *, name: str = "") -> tuple[int, str, str]:
    """Run a container to its end: exit code, output, errors. It stays."""
    made = await runtime.containers.create(request, name=name or f"c{secrets.token_hex(4)}")
    attachment = runtime.containers.attach(made.id)
    ended = runtime.containers.wait(made.id, "next-exit")
    await runtime.containers.start(made.id)
    streams = await read_all(attachment)
    async with asyncio.timeout(TIMEOUT_S):
        code = (await ended).code
    return code, streams[Stream.STDOUT].decode(), streams[Stream.STDERR].decode()


async def ended(runtime: Runtime, reference: str) -> Container:
    """The record of a container once it has ended, and nothing of its run is left."""
    async with asyncio.timeout(TIMEOUT_S):
        await runtime.containers.wait(reference)
    return await settled(runtime, reference)


async def settled(runtime: Runtime, reference: str) -> Container:
    """The record of a container once nobody changes it."""
    entry = runtime.containers.entry(reference)
    async with asyncio.timeout(TIMEOUT_S), entry.lock:
        return entry.container
