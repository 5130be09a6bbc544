"""The daemon dies at any moment: what runs goes on, what ended has its code, what was half done is gone."""

import asyncio
import itertools
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from atoll.model.container import HostConfig, RestartKind, RestartPolicy, Status
from atoll.runtime.execs import ExecRequest
from atoll.runtime.runtime import Runtime
from atoll.runtime.supervise.logs import LogQuery
from atoll.runtime.supervise.process import alive
from tests.support import runtimes as support
from tests.support.runtimes import TIMEOUT_S, Bench, end_all, ended, read_all, settled, wanted

Scene = Callable[[Runtime], Awaitable[None]]
ALWAYS = HostConfig(restart=RestartPolicy(RestartKind.ALWAYS))


def killed(place: Bench, scene: Scene, prepare: Callable[[], None] = lambda: None) -> bool:
    """Play a scene in a process that ends by SIGKILL, sooner or at the scene's end; True when it came to that."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            prepare()
            asyncio.run(_play(place, scene, writing))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert told in (b"", b"end"), told.decode()
    return told == b"end"


async def _play(place: Bench, scene: Scene, writing: int) -> None:
    try:
        async with place.runtime() as runtime:
            await scene(runtime)
            os.write(writing, b"end")
            os.kill(os.getpid(), signal.SIGKILL)
    except Exception as error:
        os.write(writing, repr(error).encode())


async def start(runtime: Runtime, name: str, *argv: str, host: HostConfig | None = None) -> None:
    await runtime.containers.create(wanted(*argv, host=host), name=name)
    await runtime.containers.start(name)


def test_what_runs_goes_on_and_is_found_again(place: Bench) -> None:
    async def before(runtime: Runtime) -> None:
        await start(runtime, "runs", "sh", "-c", "while :; do date +%s%N; sleep 0.02; done")
        await start(runtime, "attached", "sh", "-c", "sleep 600")
        runtime.containers.attach("attached")
        made = runtime.execs.create("runs", ExecRequest(("sleep", "600")))
        await runtime.execs.start(made.id, attach=True)

    async def after() -> None:
        async with place.runtime() as runtime:
            found = runtime.containers.find("runs")
            assert found.status is Status.RUNNING and alive(found.pid, found.pid_start_ticks)
            lines = [line async for line in runtime.logs("runs", LogQuery())]
            gap_s = max(b.time_ns - a.time_ns for a, b in itertools.pairwise(lines)) / 1e9
            assert lines[-1].time_ns > time.time_ns() - 1_000_000_000 and gap_s < 0.5
            made = runtime.execs.create("runs", ExecRequest(("hostname",)))
            attachment = await runtime.execs.start(made.id, attach=True)
            assert attachment is not None
            assert found.id[:12].encode() in b"".join((await read_all(attachment)).values())
            assert await runtime.execs.wait(made.id) == 0
            for name in ("runs", "attached"):
                await runtime.containers.stop(name, timeout_s=0)
                assert (await ended(runtime, name)).exit_code == 137
                await runtime.containers.remove(name)
            place.assert_nothing_left()

    assert killed(place, before)
    asyncio.run(after())


def test_twenty_containers_are_the_same_after_a_death(place: Bench) -> None:
    names = [f"c{number}" for number in range(20)]

    async def before(runtime: Runtime) -> None:
        await asyncio.gather(*(start(runtime, name, "sleep", "600") for name in names))
        (place.directory / "pids").write_text(" ".join(str(runtime.containers.find(name).pid) for name in names))

    async def after() -> None:
        async with place.runtime() as runtime:
            records = [runtime.containers.find(name) for name in names]
            assert [str(record.pid) for record in records] == (place.directory / "pids").read_text().split()
            assert all(alive(record.pid, record.pid_start_ticks) for record in records)
            await asyncio.gather(*(runtime.containers.remove(name, force=True) for name in names))
            place.assert_nothing_left()

    assert killed(place, before)
    asyncio.run(after())


def test_what_ended_meanwhile_has_its_code_and_its_output(place: Bench) -> None:
    async def before(runtime: Runtime) -> None:
        await start(runtime, "ends", "sh", "-c", "sleep 0.3; echo late; exit 9")
        await start(runtime, "goes", "sleep", "0.3", host=HostConfig(auto_remove=True))

    async def after() -> None:
        async with place.runtime() as runtime:
            found = runtime.containers.find("ends")
            assert (found.status, found.exit_code) == (Status.EXITED, 9)
            assert 0 < found.finished_ns - found.started_ns < 2_000_000_000
            assert [line.content async for line in runtime.logs("ends", LogQuery())] == [b"late\n"]
            assert len(runtime.containers.all()) == 1
            await runtime.containers.remove("ends")
            place.assert_nothing_left()

    assert killed(place, before)
    time.sleep(1)
    asyncio.run(after())


def test_policy_is_kept_over_a_death(place: Bench) -> None:
    async def before(runtime: Runtime) -> None:
        await start(runtime, "again", "sleep", "0.3", host=ALWAYS)
        await start(runtime, "stopped", "sleep", "600", host=ALWAYS)
        await runtime.containers.stop("stopped", timeout_s=0)

    async def after() -> None:
        async with place.runtime() as runtime:
            async with asyncio.timeout(TIMEOUT_S):
                while runtime.containers.find("again").status is not Status.RUNNING:
                    await asyncio.sleep(0.02)
            assert runtime.containers.find("again").restart_count >= 1
            assert runtime.containers.find("stopped").status is Status.EXITED
            for name in ("again", "stopped"):
                await runtime.containers.remove(name, force=True)
            place.assert_nothing_left()

    assert killed(place, before)
    time.sleep(1)
    asyncio.run(after())


def test_after_a_boot_policies_start_what_they_want(place: Bench) -> None:
    host = HostConfig(restart=RestartPolicy(RestartKind.UNLESS_STOPPED))

    async def before(runtime: Runtime) -> None:
        await start(runtime, "wanted", "sleep", "600", host=host)
        await start(runtime, "stopped", "sleep", "600", host=host)
        await runtime.containers.stop("stopped", timeout_s=0)
        await start(runtime, "plain", "sleep", "600")

    async def after() -> None:
        async with place.runtime() as runtime:
            async with asyncio.timeout(TIMEOUT_S):
                while runtime.containers.find("wanted").status is not Status.RUNNING:
                    await asyncio.sleep(0.02)
            assert runtime.containers.find("stopped").status is Status.EXITED
            plain = runtime.containers.find("plain")
            assert (plain.status, plain.exit_code) == (Status.EXITED, 255)
            for name in ("wanted", "stopped", "plain"):
                await runtime.containers.remove(name, force=True)
            place.assert_nothing_left()

    assert killed(place, before)
    reboot(place)
    asyncio.run(after())


def reboot(place: Bench) -> None:
    """What a boot does: no process, no mount, no run directory."""
    end_all(place)
    shutil.rmtree(place.places.run)
    for path in place.network.directory.iterdir():
        path.unlink()


def test_conmon_that_is_killed_takes_its_container_along(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "lost", "sleep", "600")
            found = runtime.containers.find("lost")
            (pid,) = place.conmons()
            os.kill(pid, signal.SIGKILL)
            record = await ended(runtime, "lost")
            assert record.exit_code == 137 and "conmon" in record.error
            assert not alive(found.pid, found.pid_start_ticks)
            await runtime.containers.remove("lost")
            place.assert_nothing_left()

    asyncio.run(scene())


@dataclass
class Death:
    """Dies at the k-th point where something outside is changed."""

    at: int
    passed: int = field(default=0, init=False)

    def point(self) -> None:
        if self.passed == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def prepare(self) -> None:
        """Around each record, sandbox and program."""
        for owner, name in (
            (support.Records, "put"),
            (support.Records, "delete"),
            (support.OneNamespace, "make_sandbox"),
            (support.OneNamespace, "remove_sandbox"),
            (asyncio, "create_subprocess_exec"),
        ):
            setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def around(*args: Any, **kwargs: Any) -> Any:
            self.point()
            result = await call(*args, **kwargs)
            self.point()
            return result

        return around


async def life(runtime: Runtime) -> None:
    """A container's, from its making to its removal."""
    await runtime.containers.create(wanted("sleep", "600"), name="mortal")
    await runtime.containers.start("mortal")
    await runtime.containers.stop("mortal", timeout_s=0)
    await ended(runtime, "mortal")
    await runtime.containers.remove("mortal")


def test_death_at_any_point_leaves_nothing_half_done(place: Bench) -> None:
    async def boot() -> None:
        async with place.runtime():
            pass

    async def after() -> None:
        async with place.runtime() as runtime:
            for container in runtime.containers.all():
                record = await settled(runtime, container.id)
                assert record.status in (Status.CREATED, Status.RUNNING, Status.EXITED), record
                if alive(record.pid, record.pid_start_ticks):
                    assert record.status is Status.RUNNING
                    async with asyncio.timeout(TIMEOUT_S):
                        while b"init" in Path(f"/proc/{record.pid}/cmdline").read_bytes():
                            await asyncio.sleep(0.01)
                else:
                    # It may have been ending, at this very moment.
                    await ended(runtime, container.id)
                    assert not (place.places.bundles / container.id).exists()
                    assert place.conmons() == []
                await runtime.containers.remove(container.id, force=True)
            place.assert_nothing_left()

    # The image is made before.
    asyncio.run(boot())
    deaths = 0
    while not killed(place, life, Death(deaths).prepare):
        asyncio.run(after())
        deaths += 1
        assert deaths < 100
    asyncio.run(after())
    assert deaths > 20


@pytest.mark.parametrize("delay_s", [0.01, 0.03, 0.06])
def test_death_while_others_are_at_work(place: Bench, delay_s: float) -> None:
    """conmon and runc are in the middle of something, and go on."""

    async def dying(runtime: Runtime) -> None:
        for number in range(3):
            await runtime.containers.create(wanted("sleep", "600"), name=f"c{number}")
        asyncio.get_running_loop().call_later(delay_s, os.kill, os.getpid(), signal.SIGKILL)
        await asyncio.gather(*(runtime.containers.start(f"c{number}") for number in range(3)))

    async def after() -> None:
        async with place.runtime() as runtime:
            for container in runtime.containers.all():
                await runtime.containers.remove(container.id, force=True)
            await asyncio.sleep(0.3)
            place.assert_nothing_left()

    killed(place, dying)
    asyncio.run(after())


def test_nothing_of_others_is_swept(place: Bench) -> None:
    """A second daemon on this host has its own directories, and its containers stay."""

    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "mine", "sleep", "600")
            found = runtime.containers.find("mine")
            other = Bench(place.directory / "other", place.network)
            for made in (other.places.state, other.places.run):
                made.mkdir(parents=True)
            async with other.runtime():
                pass
            assert alive(found.pid, found.pid_start_ticks)
            assert Path(place.places.root(found.id) / "bin" / "busybox").exists()
            await runtime.containers.remove("mine", force=True)

    asyncio.run(scene())
