"""Files go into containers and come out, and no link of a container's leads to the host's."""

import asyncio
import io
import stat
import tarfile
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from atoll.errors import AtollError, InvalidRequest, NotFound
from atoll.model.container import HostConfig, Mount, MountKind
from atoll.runtime.runtime import Runtime
from tests.support.runtimes import Bench, run, wanted


def archive(name: str, content: bytes, *, uid: int = 0) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size, info.uid = len(content), uid
        tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


async def write(runtime: Runtime, name: str, path: str, content: bytes) -> None:
    with TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        await runtime.archives.write(name, path, file)


async def read(runtime: Runtime, name: str, path: str) -> dict[str, bytes]:
    content = b"".join([chunk async for chunk in runtime.archives.read(name, path)])
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        found = {}
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            found[member.name] = file.read() if file is not None else member.linkname.encode()
        return found


@pytest.mark.parametrize("running", [True, False], ids=["running", "ended"])
def test_files_go_in_and_come_out(place: Bench, running: bool) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted("sleep", "600"), name="x")
            if running:
                await runtime.containers.start("x")
            await write(runtime, "x", "/tmp", archive("in/file", b"given", uid=33))
            assert await read(runtime, "x", "/tmp/in") == {"in": b"", "in/file": b"given"}
            assert await read(runtime, "x", "/tmp/in/file") == {"file": b"given"}
            found = await runtime.archives.status("x", "/tmp/in/file")
            assert (found.name, found.size_bytes, stat.S_ISREG(found.mode)) == ("file", 5, True)
            link = await runtime.archives.status("x", "/bin/sh")
            assert stat.S_ISLNK(link.mode) and link.link_target == "busybox"
            for path in ("/nosuch", "/tmp/nosuch/x"):
                with pytest.raises(NotFound, match="Could not find the file"):
                    await read(runtime, "x", path)
                with pytest.raises(NotFound):
                    await write(runtime, "x", path, archive("a", b""))
            with pytest.raises(InvalidRequest, match="is not a directory"):
                await write(runtime, "x", "/tmp/in/file", archive("a", b""))
            await runtime.containers.remove("x", force=True)
            place.assert_nothing_left()

    asyncio.run(scene())


def test_mounts_are_seen_while_it_runs(place: Bench) -> None:
    mounts = (Mount(MountKind.TMPFS, "/mem"),)

    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted("sleep", "600", host=HostConfig(mounts=mounts)), name="x")
            await runtime.containers.start("x")
            await write(runtime, "x", "/mem", archive("file", b"given"))
            assert await read(runtime, "x", "/mem/file") == {"file": b"given"}
            assert not list((runtime.places.kept(runtime.containers.find("x").id) / "upper" / "mem").iterdir())
            await runtime.containers.remove("x", force=True)

    asyncio.run(scene())


@pytest.mark.parametrize("running", [True, False], ids=["running", "ended"])
def test_links_of_a_container_do_not_lead_to_the_host(place: Bench, tmp_path: Path, running: bool) -> None:
    (tmp_path / "secret").write_text("the host's")
    up = "../" * 20
    script = f"ln -s {up}{tmp_path} /door; ln -s {tmp_path}/secret /file; ln -s /proc/1/root{tmp_path} /proc-door"

    async def scene() -> None:
        async with place.runtime() as runtime:
            if running:
                await runtime.containers.create(wanted("sh", "-c", f"{script}; sleep 600"), name="x")
                await runtime.containers.start("x")
                await asyncio.sleep(0.3)
            else:
                assert (await run(runtime, wanted("sh", "-c", script), name="x"))[0] == 0
            for path in ("/door/secret", "/proc-door/secret", f"/..{tmp_path}/secret", f"/{up}{tmp_path}/secret"):
                with pytest.raises(NotFound):
                    await read(runtime, "x", path)
            assert await read(runtime, "x", "/file") == {"file": f"{tmp_path}/secret".encode()}
            for path in ("/door", "/proc-door"):
                with pytest.raises(AtollError):
                    await write(runtime, "x", path, archive("evil", b"evil"))
            for name in ("door/evil", "../../evil", f"{up}{tmp_path}/evil"):
                try:
                    await write(runtime, "x", "/", archive(name, b"evil"))
                except AtollError:
                    continue
            assert [path.name for path in tmp_path.iterdir()] == ["secret"]
            assert not Path("/evil").exists()
            await runtime.containers.remove("x", force=True)

    asyncio.run(scene())


def test_read_that_is_given_up_leaves_nothing(place: Bench) -> None:
    async def scene() -> None:
        async with place.runtime() as runtime:
            await runtime.containers.create(wanted("true"), name="x")
            reading = runtime.archives.read("x", "/bin")
            async for chunk in reading:
                assert chunk
                break
            await reading.aclose()  # type: ignore[attr-defined]
            await runtime.containers.remove("x")
            place.assert_nothing_left()

    asyncio.run(scene())
