"""Containers by docker-py, which scripts and compose stand on."""

import io
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

from tests.netns.namespaces import eventually
from tests.support.contained import contained_host


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with contained_host("py") as made:
        client = docker.DockerClient(base_url=made.host.url, timeout=30)
        yield client
        client.close()


@pytest.fixture
def sleeper(client: Any) -> Iterator[Any]:
    container = client.containers.run("busybox", ["sleep", "1000"], name="sleeper", detach=True)
    yield container
    container.remove(force=True)


def test_run_gives_output_and_raises_the_exit_code(client: Any) -> None:
    assert client.containers.run("busybox", ["echo", "hi"], remove=True) == b"hi\n"
    with pytest.raises(ContainerError) as failed:
        client.containers.run("busybox", ["sh", "-c", "echo why >&2; exit 3"], remove=True)
    assert (failed.value.exit_status, failed.value.stderr) == (3, b"why\n")
    assert client.containers.list(all=True) == []
    with pytest.raises(ImageNotFound):
        client.images.get("absent")


def test_life_of_a_container(client: Any) -> None:
    options = {"environment": {"A": "1"}, "labels": {"role": "test"}, "mem_limit": "64m", "hostname": "box"}
    container = client.containers.create("busybox", ["sleep", "1000"], name="life", **options)
    assert container.status == "created"
    container.start()
    container.reload()
    assert container.status == "running"
    assert [found.id for found in client.containers.list(filters={"label": "role=test"})] == [container.id]
    assert container.attrs["Config"]["Hostname"] == "box"
    assert container.attrs["HostConfig"]["Memory"] == 64 << 20
    container.pause()
    container.unpause()
    container.update(mem_limit="96m", memswap_limit="192m")
    container.rename("other")
    assert client.containers.get("other").id == container.id
    assert container.top(ps_args="-o pid,args")["Processes"][0][1].split() == ["sleep", "1000"]
    usage = container.stats(stream=False)
    assert usage["memory_stats"]["limit"] == 96 << 20 and usage["networks"]["eth0"]["rx_packets"] >= 0
    container.restart(timeout=0)
    container.stop(timeout=0)
    assert container.wait()["StatusCode"] == 137
    with pytest.raises(APIError) as refused:
        container.kill()
    assert refused.value.status_code == 409
    container.remove()
    with pytest.raises(NotFound):
        client.containers.get("other")


def test_exec_streams(sleeper: Any, client: Any) -> None:
    assert sleeper.exec_run("echo hi") == (0, b"hi\n")
    code, (out, err) = sleeper.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
    assert (code, out, err) == (4, b"out\n", b"err\n")
    _, parts = sleeper.exec_run(["seq", "3"], stream=True)
    assert b"".join(parts) == b"1\n2\n3\n"
    assert sleeper.exec_run("tty", tty=True).output == b"/dev/pts/0\r\n"
    _, connection = sleeper.exec_run("cat", stdin=True, socket=True)
    connection._sock.sendall(b"given\n")
    assert connection.read(8 + 6)[8:] == b"given\n"
    connection.close()
    assert client.api.exec_inspect(client.api.exec_create(sleeper.id, "true")["Id"])["Running"] is False


def test_logs_and_attach(client: Any) -> None:
    script = "echo one; sleep 0.5; echo two"
    container = client.containers.create("busybox", ["sh", "-c", script])
    attached = container.attach(stream=True, logs=True)
    container.start()
    assert b"".join(attached) == b"one\ntwo\n"
    assert container.logs() == b"one\ntwo\n"
    assert container.logs(tail=1) == b"two\n"
    assert b"".join(container.logs(stream=True, follow=True)) == b"one\ntwo\n"
    first = container.logs(timestamps=True).split()[0]
    assert first.startswith(b"20")
    assert container.logs(since=int(time.time()) + 100) == b""
    container.remove()


def test_archives(sleeper: Any) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("note")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"text"))
    assert sleeper.put_archive("/tmp", made.getvalue())
    parts, status = sleeper.get_archive("/tmp/note")
    assert (status["name"], status["size"]) == ("note", 4)
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as archive:
        found = archive.extractfile("note")
        assert found is not None and found.read() == b"text"


def test_networks_and_ports(client: Any) -> None:
    network = client.networks.create("pynet", driver="bridge")
    container = client.containers.run(
        "busybox", ["httpd", "-f"], detach=True, network="pynet", ports={"80/tcp": 8090, "90/udp": None}
    )
    container.reload()
    assert container.ports["80/tcp"][0] == {"HostIp": "0.0.0.0", "HostPort": "8090"}
    assert int(container.ports["90/udp"][0]["HostPort"]) > 0
    bridge = client.networks.get("bridge")
    bridge.connect(container, aliases=["nick"])
    container.reload()
    assert set(container.attrs["NetworkSettings"]["Networks"]) == {"pynet", "bridge"}
    bridge.disconnect(container)
    network.reload()
    assert [member.id for member in network.containers] == [container.id]
    with pytest.raises(APIError):
        network.remove()
    container.remove(force=True)
    network.remove()


def test_images_volumes_and_system(client: Any) -> None:
    image = client.images.get("busybox")
    assert image.tag("copy", "1")
    assert {tag for found in client.images.list() for tag in found.tags} == {"busybox:latest", "copy:1"}
    client.images.remove("copy:1")
    volume = client.volumes.create("vol", labels={"a": "b"})
    mounted = client.containers.create("busybox", ["true"], volumes={"vol": {"bind": "/data", "mode": "rw"}})
    assert mounted.attrs["Mounts"][0]["Name"] == "vol"
    with pytest.raises(APIError):
        volume.remove()
    mounted.remove()
    volume.remove()
    assert client.df()["Images"][0]["Id"] == image.id
    assert client.info()["Containers"] == 0
    assert client.ping()


def test_restart_policy_and_health(client: Any) -> None:
    again = client.containers.run(
        "busybox", ["false"], detach=True, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}
    )
    eventually(lambda: client.containers.get(again.id).attrs["RestartCount"] == 2)
    again.remove(force=True)
    check = {"test": ["CMD", "true"], "interval": 200_000_000}
    healthy = client.containers.run("busybox", ["sleep", "1000"], detach=True, healthcheck=check)
    eventually(lambda: client.containers.get(healthy.id).attrs["State"]["Health"]["Status"] == "healthy")
    assert client.containers.list(filters={"health": "healthy"}) == [healthy]
    healthy.remove(force=True)


def test_events_are_told(client: Any) -> None:
    events = client.events(decode=True, filters={"type": "container"})
    client.containers.run("busybox", ["true"], name="told", remove=True)
    seen = [next(events)["Action"] for _ in range(4)]
    events.close()
    assert seen == ["create", "start", "die", "destroy"]
