"""One script of docker-py gives the same results against a real dockerd and against atoll."""

import io
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, ContainerError
from docker.types import EndpointConfig, IPAMConfig, IPAMPool, LogConfig, Mount

from tests.support.likeness import plain_text
from tests.support.twins import IMAGE, Engine, root_archive, twins

CALLS_MIN = 40


class Notes:
    """Results by the call that gave them."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.found: list[tuple[str, Any]] = []

    def note(self, call: str, result: Any = None) -> None:
        """Keep a result, without what is chosen by chance."""
        self.found.append((call, self._plain(result)))

    def fails(self, call: str, act: Callable[[], Any]) -> None:
        """Keep the kind and the status of the error that a call has to raise."""
        with pytest.raises(APIError) as failed:
            act()
        self.found.append((call, (type(failed.value).__name__, failed.value.status_code)))

    def _plain(self, result: Any) -> Any:
        match result:
            case bytes():
                return self._plain(result.decode(errors="replace"))
            case str():
                return plain_text(result, self._home)
            case dict():
                return {key: self._plain(value) for key, value in result.items()}
            case list() | tuple():
                return [self._plain(item) for item in result]
            case _:
                return result


def archive(**files: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def members(chunks: Any) -> dict[str, int]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        return {member.name: member.size for member in tar}


def settings(container: Any) -> dict[str, Any]:
    """What an inspect tells of wishes and states; the rest is compared elsewhere."""
    container.reload()
    attrs = container.attrs
    return {
        "config": {key: value for key, value in attrs["Config"].items() if key != "Hostname"},
        "state": {
            key: attrs["State"][key] for key in ("Status", "Running", "Paused", "ExitCode", "OOMKilled", "Error")
        },
        "limits": {
            key: attrs["HostConfig"][key] for key in ("Memory", "NanoCpus", "PidsLimit", "RestartPolicy", "Binds")
        },
        "mounts": sorted((each["Type"], each["Destination"], each["RW"]) for each in attrs["Mounts"]),
        "ports": container.ports,
    }


def life(client: Any, notes: Notes) -> None:
    """Create, start, pause, rename, update, top, stats, restart, stop, wait, remove."""
    box = client.containers.create(
        IMAGE,
        ["sleep", "600"],
        name="life",
        environment={"A": "1"},
        labels={"role": "test"},
        mem_limit="64m",
        nano_cpus=500_000_000,
        pids_limit=50,
        mounts=[Mount("/data", "kept", type="volume")],
        ports={"80/tcp": ("127.0.0.1", 8090)},
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        stop_signal="SIGKILL",
        log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
    )
    notes.note("create", settings(box))
    notes.fails("exec before the start", lambda: box.exec_run("true"))
    notes.fails("create with a name that is taken", lambda: client.containers.create(IMAGE, name="life"))
    box.start()
    box.start()
    notes.note("start", settings(box))
    box.pause()
    notes.note("pause", settings(box)["state"])
    notes.fails("pause again", box.pause)
    box.unpause()
    notes.note("unpause", settings(box)["state"])
    box.rename("other")
    notes.note("rename", client.containers.get("other").name)
    notes.note("update", box.update(mem_limit="96m", memswap_limit="96m", restart_policy={"Name": "no"}))
    notes.note("after the update", settings(box)["limits"])
    top = box.top(ps_args="-o pid,args")
    notes.note("top", (top["Titles"], [row[1] for row in top["Processes"]]))
    usage = box.stats(stream=False)
    notes.note("stats", [*sorted(usage), usage["memory_stats"]["limit"], sorted(usage["networks"]["eth0"])])
    stream = box.stats(stream=True, decode=True)
    notes.note("stats of a stream", sorted(next(stream)))
    stream.close()
    notes.fails("remove one that runs", box.remove)
    box.restart(timeout=0)
    notes.note("restart", settings(box)["state"])
    box.kill(signal="SIGUSR1")
    notes.note("kill with a signal it ignores", settings(box)["state"])
    box.stop(timeout=0)
    box.stop(timeout=0)
    notes.note("stop", settings(box)["state"])
    notes.note("wait", box.wait())
    notes.fails("kill one that has ended", box.kill)
    box.remove(v=True)
    notes.fails("get what is gone", lambda: client.containers.get("other"))
    client.volumes.get("kept").remove()


def processes(client: Any, notes: Notes) -> None:
    """Run, exec, attach, logs."""
    notes.note("run", client.containers.run(IMAGE, ["echo", "hi"], remove=True))
    with pytest.raises(ContainerError) as failed:
        client.containers.run(IMAGE, ["sh", "-c", "echo why >&2; exit 3"], remove=True)
    notes.note("run what fails", (failed.value.exit_status, failed.value.stderr))
    notes.fails("run what is no program", lambda: client.containers.run(IMAGE, ["nosuch"], remove=True))
    box = client.containers.run(IMAGE, ["sleep", "600"], name="box", detach=True)
    notes.note("exec", box.exec_run("echo hi"))
    notes.note("exec with both streams", box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True))
    notes.note("exec as a stream", b"".join(box.exec_run(["seq", "3"], stream=True).output))
    notes.note("exec with a terminal", box.exec_run("tty", tty=True))
    notes.note(
        "exec with wishes",
        box.exec_run("sh -c 'id -u; pwd; echo $B'", user="7", workdir="/tmp", environment={"B": "2"}),
    )
    _, connection = box.exec_run("cat", stdin=True, socket=True)
    connection._sock.sendall(b"given\n")
    notes.note("exec with input", connection.read(8 + 6)[8:])
    connection.close()
    made = client.api.exec_create(box.id, ["false"])
    client.api.exec_start(made["Id"])
    told = client.api.exec_inspect(made["Id"])
    notes.note("exec_inspect", {key: value for key, value in told.items() if key not in ("ID", "ContainerID", "Pid")})
    notes.fails("exec_start again", lambda: client.api.exec_start(made["Id"], detach=True))
    box.remove(force=True)
    talk = client.containers.create(IMAGE, ["sh", "-c", "echo one; sleep 0.3; echo two >&2"], name="talk")
    attached = talk.attach(stream=True, logs=True)
    talk.start()
    notes.note("attach", b"".join(attached))
    notes.note("wait", talk.wait())
    notes.note("logs", (talk.logs(), talk.logs(stderr=False), talk.logs(tail=1), talk.logs(timestamps=True)))
    notes.note("logs since then", talk.logs(since=int(time.time()) + 100))
    notes.note("logs as a stream", b"".join(talk.logs(stream=True, follow=True)))
    notes.fails("logs of no stream", lambda: talk.logs(stdout=False, stderr=False))
    talk.remove()


def files(client: Any, notes: Notes) -> None:
    """Archives, diff, export."""
    box = client.containers.run(IMAGE, ["sleep", "600"], name="files", detach=True)
    notes.note("put_archive", box.put_archive("/tmp", archive(note=b"text")))
    chunks, status = box.get_archive("/tmp/note")
    notes.note("get_archive", (members(chunks), {key: status[key] for key in ("name", "size", "mode", "linkTarget")}))
    chunks, status = box.get_archive("/bin/sh")
    notes.note("get_archive of a link", (members(chunks), status["name"], status["mode"], status["size"]))
    notes.note("get_archive of a directory", sorted(members(box.get_archive("/tmp")[0])))
    notes.fails("get_archive of nothing", lambda: box.get_archive("/absent"))
    notes.fails("put_archive to nothing", lambda: box.put_archive("/absent", archive(note=b"text")))
    notes.note("diff", sorted((each["Path"], each["Kind"]) for each in box.diff()))
    exported = members(box.export())
    notes.note("export", {name: size for name, size in exported.items() if name.startswith(("bin", "tmp"))})
    box.remove(force=True)


def networks(client: Any, notes: Notes) -> None:
    """Networks with containers."""
    pool = IPAMConfig(pool_configs=[IPAMPool(subnet="10.81.0.0/24", gateway="10.81.0.1")])
    net = client.networks.create("net", driver="bridge", ipam=pool, labels={"a": "b"})
    side = client.networks.create("side", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet="10.82.0.0/24")]))
    notes.note("networks", sorted(each.name for each in client.networks.list(filters={"driver": "bridge"})))
    wish = {"net": EndpointConfig("1.41", aliases=["www"], ipv4_address="10.81.0.9")}
    web = client.containers.run(
        IMAGE, ["sleep", "600"], name="web", detach=True, network="net", networking_config=wish, hostname="web"
    )
    side.connect(web, aliases=["nick"], ipv4_address="10.82.0.9")
    web.reload()
    notes.note("connect", {name: sorted(each) for name, each in web.attrs["NetworkSettings"]["Networks"].items()})
    notes.note("addresses", {n: each["IPAddress"] for n, each in web.attrs["NetworkSettings"]["Networks"].items()})
    notes.fails("connect again", lambda: side.connect(web))
    side.reload()
    notes.note("members", [(each.name, side.attrs["Containers"][each.id]["IPv4Address"]) for each in side.containers])
    notes.note(
        "ask by name", client.containers.run(IMAGE, ["ping", "-c1", "-q", "www"], network="net", remove=True)[:22]
    )
    notes.fails("remove a network in use", net.remove)
    side.disconnect(web)
    notes.note("list by network", [each.name for each in client.containers.list(filters={"network": "net"})])
    web.remove(force=True)
    notes.note("prune networks", sorted(client.networks.prune()["NetworksDeleted"]))
    notes.fails("get what is gone", lambda: client.networks.get("net"))


def others(client: Any, notes: Notes) -> None:
    """Images, volumes, events, the engine itself."""
    image = client.images.get(IMAGE)
    notes.note(
        "image", {key: image.attrs[key] for key in ("Id", "RepoTags", "Architecture", "Size", "RootFS", "Author")}
    )
    notes.note("history", image.history())
    notes.note("tag", image.tag("copy", "1"))
    notes.note("images", sorted(tag for each in client.images.list() for tag in each.tags))
    client.images.remove("copy:1")
    (again,) = client.images.load(b"".join(image.save(named=IMAGE)))
    notes.note("save, load", (again.tags, client.containers.run(again.id, ["echo", "hi"], remove=True)))
    client.api.import_image_from_data(root_archive(), repository="made", tag="1")
    notes.note("import", client.containers.run("made:1", ["/etc/note"], entrypoint="/bin/cat", remove=True))
    client.images.remove("made:1")
    notes.fails("get no image", lambda: client.images.get("absent"))
    volume = client.volumes.create("vol", labels={"a": "b"})
    notes.note("volume", {key: value for key, value in volume.attrs.items() if key != "Mountpoint"})
    user = client.containers.create(IMAGE, ["true"], name="user", volumes={"vol": {"bind": "/data", "mode": "ro"}})
    notes.note("mounts", [(each["Name"], each["RW"], each["Mode"]) for each in user.attrs["Mounts"]])
    notes.fails("remove a volume in use", volume.remove)
    notes.note("list", [each.name for each in client.containers.list(all=True, filters={"volume": "vol"})])
    notes.note("prune containers", len(client.containers.prune()["ContainersDeleted"]))
    notes.note("volumes", [each.name for each in client.volumes.list(filters={"dangling": True})])
    notes.note("prune volumes", client.volumes.prune())
    events = client.events(decode=True, filters={"type": "container"})
    client.containers.run(IMAGE, ["true"], name="told", labels={"x": "y"}, remove=True)
    told = []
    while not told or told[-1]["Action"] != "destroy":
        told.append(next(events))
    events.close()
    notes.note("events", [(each["Action"], each["status"], each["from"], each["Actor"]["Attributes"]) for each in told])
    notes.note("df", [sorted(client.df()[kind][0]) for kind in ("Images",)])
    info = client.info()
    notes.note("info", [info[key] for key in ("Containers", "ContainersRunning", "OSType", "NCPU", "CgroupVersion")])
    notes.note("ping", client.ping())
    notes.note("version", client.version()["Os"])


@pytest.fixture(scope="module")
def results() -> Iterator[list[dict[str, list[tuple[str, Any]]]]]:
    """By part of the script, what dockerd and what atoll gave."""

    def play(engine: Engine) -> dict[str, list[tuple[str, Any]]]:
        client = docker.DockerClient(base_url=engine.url, version="1.41", timeout=30)
        found = {}
        try:
            for part in (life, processes, files, networks, others):
                notes = Notes(engine.home)
                part(client, notes)
                found[part.__name__] = notes.found
        finally:
            client.close()
        return found

    with twins("py") as engines, ThreadPoolExecutor() as pool:
        yield list(pool.map(play, engines))


@pytest.mark.parametrize("part", ["life", "processes", "files", "networks", "others"])
def test_results_are_the_same(results: list[dict[str, list[tuple[str, Any]]]], part: str) -> None:
    theirs, ours = (dict(each[part]) for each in results)
    assert {call: (theirs[call], ours[call]) for call in theirs if theirs[call] != ours[call]} == {}
    assert theirs.keys() == ours.keys()


def test_the_script_is_long_enough(results: list[dict[str, list[tuple[str, Any]]]]) -> None:
    assert sum(len(found) for found in results[0].values()) >= CALLS_MIN
