"""testcontainers, a library of tests that stands on docker-py: a container with a port on a network, used, and gone."""

from collections.abc import Iterator

import pytest

from tests.netns.namespaces import eventually, inside
from tests.support.contained import Docker, contained_host

PAGE = "page of a test"


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with contained_host("testc") as docker:
        yield docker


@pytest.fixture
def settled(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's settings are read when it is imported first."""
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    monkeypatch.setenv("DOCKER_HOST", docker.host.url)
    monkeypatch.setenv("HOME", str(docker.host.directory))


def test_a_container_with_a_port_on_a_network_is_started_used_and_stopped(docker: Docker, settled: None) -> None:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network

    with Network() as network:
        serving = ["sh", "-c", f"echo {PAGE} >/www/index.html; httpd -f -h /www"]
        served = DockerContainer("busybox").with_exposed_ports(80).with_command(serving)
        with served.with_network(network).with_network_aliases("site") as web:
            port = web.get_exposed_port(80)
            # Where the port is published is the daemon's host, a namespace: the test has to ask from there.
            fetch = f"curl --silent --max-time 5 http://127.0.0.1:{port}/"
            eventually(lambda: PAGE in inside(docker.host.name, lambda: docker.host.run(fetch)))
            status, said = web.exec("cat /www/index.html")
            assert (status, said) == (0, f"{PAGE}\n".encode())
            asking = DockerContainer("busybox").with_network(network).with_command("sleep 1000")
            with asking as other:
                assert other.exec("wget -q -O - http://site/") == (0, f"{PAGE}\n".encode())
            assert docker("ps", "--format", "{{.Ports}}") == f"0.0.0.0:{port}->80/tcp, [::]:{port}->80/tcp"
            assert docker("network", "ls", "--quiet", "--filter", f"name={network.name}") != ""
    assert docker("ps", "--all", "--quiet") == ""
    assert docker("network", "ls", "--quiet", "--filter", "type=custom") == ""
