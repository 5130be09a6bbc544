"""Further processes in containers, health checks, restarts."""

import asyncio

import pytest

from atoll.errors import NotFound, WrongState
from atoll.model.container import Health, HostConfig, RestartKind, RestartPolicy, Status
from atoll.model.image import HealthCheck, HealthKind
from atoll.runtime.execs import ExecRequest
from atoll.runtime.runtime import Runtime
from atoll.runtime.supervise.conmon import StartFailed
from atoll.runtime.supervise.streams import Stream
from tests.support.runtimes import TIMEOUT_S, Bench, ended, read_all, settled, wanted


async def start(runtime: Runtime, name: str, *argv: str, host: HostConfig | None = None, **config: object) -> None:
    await runtime.containers.create(wanted(*argv, host=host, **config), name=name)
    await runtime.containers.start(name)


async def execute(runtime: Runtime, name: str, request: ExecRequest, given: bytes = b"") -> tuple[int, bytes, bytes]:
    made = runtime.execs.create(name, request)
    attachment = await runtime.execs.start(made.id, attach=True)
    assert attachment is not None
    await attachment.write(given)
    await attachment.end_input()
    streams = await read_all(attachment)
    async with asyncio.timeout(TIMEOUT_S):
        return await runtime.execs.wait(made.id), streams[Stream.STDOUT], streams[Stream.STDERR]


async def until_health(runtime: Runtime, name: str, health: Health) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while runtime.containers.find(name).health is not health:
            await asyncio.sleep(0.02)


def test_exec_runs_in_the_container(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "web", "sleep", "600", hostname="inside", env=("A=1", "B=2"))
            for number in range(3):
                script = f"hostname; echo err >&2; echo $A$B$HOME; exit {number}"
                found = await execute(runtime, "web", ExecRequest(("sh", "-c", script), env=("B=3",)))
                assert found == (number, b"inside\n13/root\n", b"err\n")
            request = ExecRequest(
                ("sh", "-c", "id -u; id -g; pwd; cat"), user="www-data", workdir="/tmp", attach_stdin=True
            )
            assert await execute(runtime, "web", request, b"given") == (0, b"33\n33\n/tmp\ngiven", b"")
            assert runtime.execs.of(runtime.containers.find("web").id) == ()
            await runtime.containers.remove("web", force=True)
            place.assert_nothing_left()

    asyncio.run(scene())


def test_exec_has_a_terminal(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "web", "sleep", "600")
            request = ExecRequest(("sh",), tty=True, attach_stdin=True, console_size=(21, 43))
            made = runtime.execs.create("web", request)
            attachment = await runtime.execs.start(made.id, attach=True)
            assert attachment is not None
            await attachment.write(b"stty size; tty; echo $TERM; exit 4\n")
            out = (await read_all(attachment))[Stream.STDOUT]
            assert b"21 43\r\n/dev/pts/0\r\nxterm\r\n" in out
            assert await runtime.execs.wait(made.id) == 4

    asyncio.run(scene())


def test_exec_goes_on_without_its_caller(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "web", "sleep", "600")
            made = runtime.execs.create("web", ExecRequest(("sh", "-c", "sleep 0.2; echo done > /done")))
            assert await runtime.execs.start(made.id, attach=False) is None
            assert runtime.execs.find(made.id).running
            assert await runtime.execs.wait(made.id) == 0
            assert (await execute(runtime, "web", ExecRequest(("cat", "/done"))))[1] == b"done\n"
            with pytest.raises(WrongState, match="started already"):
                await runtime.execs.start(made.id, attach=True)

    asyncio.run(scene())


def test_exec_that_cannot_be(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "web", "sleep", "600")
            made = runtime.execs.create("web", ExecRequest(("nosuch",)))
            with pytest.raises(StartFailed, match="executable file not found") as failed:
                await runtime.execs.start(made.id, attach=True)
            assert failed.value.exit_code == runtime.execs.find(made.id).exit_code == 127
            with pytest.raises(NotFound, match="No such exec instance"):
                runtime.execs.find("ab" * 32)
            await runtime.containers.pause("web")
            with pytest.raises(WrongState, match="is paused"):
                runtime.execs.create("web", ExecRequest(("true",)))
            await runtime.containers.unpause("web")
            await runtime.containers.stop("web", timeout_s=0)
            with pytest.raises(WrongState, match="is not running"):
                runtime.execs.create("web", ExecRequest(("true",)))

    asyncio.run(scene())


def test_exec_ends_with_its_container(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "web", "sleep", "600")
            made = runtime.execs.create("web", ExecRequest(("sleep", "600")))
            attachment = await runtime.execs.start(made.id, attach=True)
            assert attachment is not None
            await runtime.containers.remove("web", force=True)
            await read_all(attachment)
            async with asyncio.timeout(TIMEOUT_S):
                assert await runtime.execs.wait(made.id) == 137
            place.assert_nothing_left()

    asyncio.run(scene())


def test_health_follows_the_checks(place: Bench) -> None:
    check = HealthCheck(HealthKind.CMD_SHELL, ("echo looked; test -e /well",), interval_ns=100_000_000, retries=2)

    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "web", "sleep", "600", health=check)
            assert runtime.containers.find("web").health is Health.STARTING
            await until_health(runtime, "web", Health.UNHEALTHY)
            await execute(runtime, "web", ExecRequest(("touch", "/well")))
            await until_health(runtime, "web", Health.HEALTHY)
            last = runtime.containers.entry("web").health[-1]
            assert (last.exit_code, last.output) == (0, "looked\n")
            await execute(runtime, "web", ExecRequest(("rm", "/well")))
            await until_health(runtime, "web", Health.UNHEALTHY)
            await runtime.containers.remove("web", force=True)
            place.assert_nothing_left()

    asyncio.run(scene())
    told = [action for action in place.actions() if action.startswith("health")]
    assert told == [f"health_status: {word}" for word in ("unhealthy", "healthy", "unhealthy")]


def test_health_check_that_takes_too_long_has_failed(place: Bench) -> None:
    check = HealthCheck(HealthKind.CMD, ("sleep", "600"), interval_ns=50_000_000, timeout_ns=100_000_000, retries=1)

    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "web", "sleep", "600", health=check)
            await until_health(runtime, "web", Health.UNHEALTHY)
            assert "timeout" in runtime.containers.entry("web").health[-1].output
            await runtime.containers.stop("web", timeout_s=0)
            await runtime.containers.remove("web")
            place.assert_nothing_left()

    asyncio.run(scene())


def test_restart_on_failure_ends_after_its_retries(place: Bench) -> None:
    host = HostConfig(restart=RestartPolicy(RestartKind.ON_FAILURE, 2))

    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "bad", "false", host=host)
            async with asyncio.timeout(TIMEOUT_S):
                while runtime.containers.find("bad").status is not Status.EXITED:
                    await asyncio.sleep(0.02)
            record = await settled(runtime, "bad")
            assert (record.restart_count, record.exit_code) == (2, 1)
            assert place.actions() == ["create", *(["start", "die"] * 3)]
            await start(runtime, "good", "true", host=host)
            assert (await ended(runtime, "good")).restart_count == 0
            for name in ("bad", "good"):
                await runtime.containers.remove(name)
            place.assert_nothing_left()

    asyncio.run(scene())


def test_stop_ends_a_container_that_always_restarts(place: Bench) -> None:
    host = HostConfig(restart=RestartPolicy(RestartKind.ALWAYS))

    async def scene() -> None:
        async with place.runtime() as runtime:
            await start(runtime, "always", "true", host=host)
            async with asyncio.timeout(TIMEOUT_S):
                while runtime.containers.find("always").restart_count < 2:
                    await asyncio.sleep(0.01)
            await runtime.containers.stop("always")
            count = (await settled(runtime, "always")).restart_count
            await asyncio.sleep(1)
            record = runtime.containers.find("always")
            assert (record.status, record.restart_count) == (Status.EXITED, count)
            await runtime.containers.remove("always")
            place.assert_nothing_left()

    asyncio.run(scene())
