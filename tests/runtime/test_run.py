"""Containers really run: output, exit codes, streams, and nothing left behind."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path

import pytest

from atoll.errors import InvalidRequest, NameTaken, NotFound, Unsupported, WrongState
from atoll.model.container import Container, ContainerConfig, ContainerRequest, HostConfig, Status
from atoll.runtime.runtime import Runtime
from atoll.runtime.supervise.conmon import StartFailed
from atoll.runtime.supervise.logs import LogQuery
from atoll.runtime.supervise.streams import Attachment, Stream
from tests.support.runtimes import TIMEOUT_S, Bench, ended, read_all, run, settled, wanted


def test_true_and_false(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            assert await run(runtime, wanted("true"), name="one") == (0, "", "")
            assert await run(runtime, wanted("sh", "-c", "exit 42"), name="two") == (42, "", "")
            record = await ended(runtime, "two")
            assert (record.status, record.exit_code, record.pid) == (Status.EXITED, 42, 0)
            assert record.started_ns < record.finished_ns
            for name in ("one", "two"):
                await runtime.containers.remove(name)
            place.assert_nothing_left()

    asyncio.run(scene())
    assert place.actions() == ["create", "start", "die"] * 2 + ["destroy"] * 2


def test_output_of_a_very_short_container_is_complete_and_apart(place: Bench) -> None:
    script = "echo out; echo err >&2; head -c 300000 /dev/zero | tr '\\0' x; exit 3"

    async def scene() -> None:
        async with place.runtime() as runtime:
            code, out, err = await run(runtime, wanted("sh", "-c", script), name="short")
            assert (code, err) == (3, "err\n")
            assert out == "out\n" + "x" * 300_000
            lines = [line async for line in runtime.logs("short", LogQuery())]
            assert b"".join(line.content for line in lines if line.stream is Stream.STDOUT).decode() == out
            assert [line.content for line in lines if line.stream is Stream.STDERR] == [b"err\n"]

    asyncio.run(scene())


def test_input_ends_and_output_goes_on(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            request = wanted("sh", "-c", "cat; echo end", open_stdin=True, stdin_once=True)
            await runtime.containers.create(request, name="cat")
            attachment = runtime.containers.attach("cat")
            await runtime.containers.start("cat")
            content = bytes(range(256)) * 400
            writing = asyncio.create_task(write(attachment, content))
            assert (await read_all(attachment))[Stream.STDOUT] == content + b"end\n"
            await writing

    async def write(attachment: Attachment, content: bytes) -> None:
        await attachment.write(content)
        await attachment.end_input()

    asyncio.run(scene())


def test_terminal_has_a_size(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted("sh", tty=True, open_stdin=True), name="tty")
            attachment = runtime.containers.attach("tty")
            await runtime.containers.start("tty")
            runtime.containers.resize("tty", height=33, width=99)
            await attachment.write(b"sleep 0.2; stty size; tty; exit 5\n")
            out = (await read_all(attachment))[Stream.STDOUT]
            assert b"33 99\r\n" in out and b"/dev/pts/0\r\n" in out
            assert (await ended(runtime, "tty")).exit_code == 5

    asyncio.run(scene())


def test_who_leaves_a_terminal_finds_it_again(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted("sh", tty=True, open_stdin=True, stdin_once=True), name="tty")
            first = runtime.containers.attach("tty")
            await runtime.containers.start("tty")
            await first.write(b"A=kept\n")
            await first.read()
            reading = asyncio.create_task(read_all(first))
            await asyncio.sleep(0.1)
            first.close()
            await reading
            await asyncio.sleep(0.2)
            assert runtime.containers.find("tty").status is Status.RUNNING
            second = runtime.containers.attach("tty")
            await second.write(b"echo $A; exit\n")
            assert b"kept\r\n" in (await read_all(second))[Stream.STDOUT]

    asyncio.run(scene())


def test_several_see_the_same_output(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted("sh", "-c", "echo one; sleep 0.3; echo two"), name="x")
            early = [runtime.containers.attach("x") for _ in range(3)]
            starting = asyncio.ensure_future(runtime.containers.start("x"))
            # While it is being started.
            await asyncio.sleep(0.02)
            early.append(runtime.containers.attach("x"))
            await starting
            for attachment in early:
                assert (await read_all(attachment))[Stream.STDOUT] == b"one\ntwo\n"

    asyncio.run(scene())


@pytest.mark.parametrize(("argv", "code"), [(("nosuch",), 127), (("/etc",), 126), (("/etc/passwd",), 126)])
def test_what_cannot_be_started_says_so_and_leaves_nothing(place: Bench, argv: tuple[str, ...], code: int) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted(*argv), name="bad")
            waiting = runtime.containers.wait("bad", "next-exit")
            with pytest.raises(StartFailed) as failed:
                await runtime.containers.start("bad")
            assert argv[0] in failed.value.message and failed.value.exit_code == code
            assert (await waiting).code == code
            record = runtime.containers.find("bad")
            assert (record.status, record.exit_code) == (Status.CREATED, code)
            assert failed.value.message == record.error
            await runtime.containers.remove("bad")
            place.assert_nothing_left()

    asyncio.run(scene())


def test_files_in_etc_are_what_the_sandbox_tells(place: Bench) -> None:
    host = HostConfig(extra_hosts=("db:192.0.2.9",))

    async def scene() -> None:
        async with place.runtime() as runtime:
            request = wanted("cat", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", hostname="web", host=host)
            _, out, _ = await run(runtime, request, name="named")
            assert "192.0.2.7\tnamed\n192.0.2.9\tdb\nweb\nnameserver 192.0.2.1\nsearch test\n" in out

    asyncio.run(scene())


def test_namespaces_are_its_own_and_the_network_is_the_sandboxes(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            script = "for n in ipc mnt net pid uts; do readlink /proc/self/ns/$n; done; ip -o link | wc -l"
            _, out, _ = await run(runtime, wanted("sh", "-c", script))
            *inside, links = out.split()
            assert links == "1"

            outside = [str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("ipc", "mnt", "net", "pid", "uts")]
            assert not set(inside) & set(outside)
            assert inside[2] == f"net:[{Path(place.network.netns).stat().st_ino}]"

    asyncio.run(scene())


def test_signals_stop_and_kill(place: Bench) -> None:
    # Its own shell would end at TERM only after sleep.
    script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"

    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted("sh", "-c", script), name="polite")
            attachment = runtime.containers.attach("polite")
            await runtime.containers.start("polite")
            assert await attachment.read() == (Stream.STDOUT, b"ready\n")
            assert await runtime.containers.stop("polite") is True
            assert (await ended(runtime, "polite")).exit_code == 7
            told = [(event.action, event.attributes.get("signal")) for event in place.events]
            assert told[2:] == [("kill", "15"), ("die", None), ("stop", None)]
            assert await runtime.containers.stop("polite") is False

            late = f"trap 'exit 8' {signal.SIGRTMIN + 3}; echo ready; while :; do sleep 0.05; done"
            await runtime.containers.create(wanted("sh", "-c", late, stop_signal="RTMIN+3"), name="late")
            attachment = runtime.containers.attach("late")
            await runtime.containers.start("late")
            assert await attachment.read() == (Stream.STDOUT, b"ready\n")
            await runtime.containers.stop("late")
            assert (await ended(runtime, "late")).exit_code == 8

            await runtime.containers.create(wanted("sh", "-c", "trap '' TERM; sleep 600"), name="deaf")
            await runtime.containers.start("deaf")
            assert await runtime.containers.stop("deaf", timeout_s=0.2) is True
            assert (await ended(runtime, "deaf")).exit_code == 137
            with pytest.raises(WrongState, match="is not running"):
                await runtime.containers.kill("deaf")

            await runtime.containers.create(wanted("sleep", "600"), name="killed")
            await runtime.containers.start("killed")
            with pytest.raises(InvalidRequest, match="invalid signal"):
                await runtime.containers.kill("killed", "SIGNONE")
            await runtime.containers.kill("killed")
            assert (await ended(runtime, "killed")).exit_code == 137

    asyncio.run(scene())


def test_paused_container_stands_still(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            script = "while :; do echo x; sleep 0.02; done"
            await runtime.containers.create(wanted("sh", "-c", script), name="loop")
            await runtime.containers.start("loop")
            await runtime.containers.pause("loop")
            assert runtime.containers.find("loop").status is Status.PAUSED
            # What was in the pipe is still written.
            await asyncio.sleep(0.2)
            size = runtime.places.log(runtime.containers.find("loop").id).stat().st_size
            await asyncio.sleep(0.2)
            assert runtime.places.log(runtime.containers.find("loop").id).stat().st_size == size
            await runtime.containers.unpause("loop")
            await asyncio.sleep(0.2)
            assert runtime.places.log(runtime.containers.find("loop").id).stat().st_size > size
            await runtime.containers.pause("loop")
            async with asyncio.timeout(TIMEOUT_S):
                await runtime.containers.remove("loop", force=True)
            place.assert_nothing_left()

    asyncio.run(scene())


def test_names_are_taken_once(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            made = await runtime.containers.create(wanted("true"), name="one")
            with pytest.raises(NameTaken, match=f'already in use by container "{made.id}"'):
                await runtime.containers.create(wanted("true"), name="one")
            with pytest.raises(NotFound, match="No such container: two"):
                runtime.containers.find("two")
            await runtime.containers.rename("one", "two")
            assert runtime.containers.find("/two").id == runtime.containers.find(made.id[:8]).id == made.id
            await runtime.containers.create(wanted("true"), name="one")
            with pytest.raises(NotFound, match="No such image: nosuch:latest"):
                await runtime.containers.create(ContainerRequest(ContainerConfig("nosuch")), name="three")
            await runtime.containers.create(wanted("true"), name="three")

    asyncio.run(scene())


def test_removed_while_it_ends_by_itself(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted("true", host=HostConfig(auto_remove=True)), name="gone")
            removed = runtime.containers.wait("gone", "removed")
            await runtime.containers.start("gone")
            async with asyncio.timeout(TIMEOUT_S):
                assert (await removed).code == 0
            assert runtime.containers.all() == ()
            place.assert_nothing_left()

    asyncio.run(scene())


def test_what_it_wrote_stays_until_it_is_removed(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            script = "echo x >> /file; cat /file"
            assert await run(runtime, wanted("sh", "-c", script), name="writer") == (0, "x\n", "")
            attachment = runtime.containers.attach("writer")
            await runtime.containers.start("writer")
            assert (await read_all(attachment))[Stream.STDOUT] == b"x\nx\n"
            # Not in the image.
            assert (await run(runtime, wanted("cat", "/file")))[0] == 1

    asyncio.run(scene())


def test_caller_that_goes_does_not_stop_a_start(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted("sleep", "600"), name="slow")
            starting = asyncio.ensure_future(runtime.containers.start("slow"))
            await asyncio.sleep(0.01)
            starting.cancel()
            assert (await settled(runtime, "slow")).status is Status.RUNNING
            await runtime.containers.remove("slow", force=True)
            place.assert_nothing_left()

    asyncio.run(scene())


def test_starts_side_by_side_leave_nothing(place: Bench) -> None:
    async def one(runtime: Runtime, number: int) -> None:
        request = wanted("sh", "-c", f"exit {number}", host=HostConfig(auto_remove=True))
        assert (await run(runtime, request, name=f"many{number}"))[0] == number

    async def scene() -> None:
        async with place.runtime() as runtime:
            await asyncio.gather(*(one(runtime, number) for number in range(12)))
            for entry in [runtime.containers.entry(container.id) for container in runtime.containers.all()]:
                async with asyncio.timeout(TIMEOUT_S), entry.lock:
                    assert entry.removed
            place.assert_nothing_left()

    asyncio.run(scene())


def test_nobody_else_reaches_a_containers_files(place: Bench) -> None:
    """A program that its root made set-id would be the host's root to every user of the host."""

    async def scene() -> None:
        async with place.runtime() as runtime:
            script = "cp /bin/busybox /su && chmod 4755 /su && sleep 600"
            await runtime.containers.create(wanted("sh", "-c", script, env=("SECRET=x",)), name="x")
            await runtime.containers.start("x")
            await asyncio.sleep(0.2)
            container_id = runtime.containers.find("x").id
            places = runtime.places
            for path in (
                places.root(container_id) / "su",
                places.kept(container_id) / "upper" / "su",
                places.bundle(container_id) / "config.json",
            ):
                assert path.exists()
                command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", str(path)]
                assert subprocess.run(command, capture_output=True, check=False).returncode != 0, path
            await runtime.containers.remove("x", force=True)

    asyncio.run(scene())


@pytest.mark.parametrize("runtime_name", ["/tmp/evil", "../evil", "", "no such", "nosuch"])
def test_runtime_is_a_program_that_is_installed(place: Bench, runtime_name: str) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            with pytest.raises((InvalidRequest, Unsupported), match=r"runtime|not installed"):
                await runtime.containers.create(wanted("true", host=HostConfig(runtime=runtime_name)), name="x")
            assert runtime.containers.all() == ()

    asyncio.run(scene())


def test_files_in_etc_follow_the_sandbox(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            script = "until grep -q later /etc/hosts; do sleep 0.02; done; sleep 0.1; cat /etc/resolv.conf"
            await runtime.containers.create(wanted("sh", "-c", script), name="x")
            attachment = runtime.containers.attach("x")
            await runtime.containers.start("x")

            async def commit(container: Container) -> None:
                place.network.hosts, place.network.nameserver = ("later",), "192.0.2.2"

            await runtime.containers.change_network("x", lambda container: container, commit)
            assert (await read_all(attachment))[Stream.STDOUT] == b"nameserver 192.0.2.2\nsearch test\n"

    asyncio.run(scene())


def test_bundle_is_valid_json_of_the_specification(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted("sleep", "600"), name="spec")
            await runtime.containers.start("spec")
            bundle = runtime.places.bundle(runtime.containers.find("spec").id)
            assert json.loads((bundle / "config.json").read_text())["ociVersion"] == "1.0.2"
            await runtime.containers.remove("spec", force=True)

    asyncio.run(scene())
