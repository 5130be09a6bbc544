"""Debian's docker-compose, which stands on docker-py: two services that find each other, from `up` to `down`."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.netns.namespaces import eventually
from tests.support.contained import Docker, contained_host

FILE = """\
version: "2.4"
services:
  web:
    image: busybox
    command: sh -c 'echo page >/www/index.html; httpd -f -h /www'
    ports: ["8085:80"]
    volumes: ["kept:/data"]
    healthcheck: {test: ["CMD", "true"], interval: 1s}
    networks: {back: {aliases: [site]}}
  client:
    image: busybox
    command: sh -c 'wget -q -O - http://site/; sleep 1000'
    depends_on: {web: {condition: service_healthy}}
    networks: [back]
networks: {back: {}}
volumes: {kept: {}}
"""
Compose = Callable[[str], str]


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with contained_host("compose") as docker:
        yield docker


@pytest.fixture
def compose(docker: Docker, tmp_path: Path) -> Compose:
    (tmp_path / "docker-compose.yml").write_text(FILE)

    def run(line: str) -> str:
        # By its path: a newer one may be first, and is another program.
        done = subprocess.run(
            ["/usr/bin/docker-compose", "--project-name", "pair", *line.split()],
            cwd=tmp_path,
            env=docker.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (line, done, docker.host.log[-2000:])
        return done.stdout

    return run


def test_two_services_from_up_to_down(docker: Docker, compose: Compose) -> None:
    compose("up -d")
    assert "Up (healthy)" in compose("ps") and "0.0.0.0:8085->80/tcp" in compose("ps")
    eventually(lambda: "page" in compose("logs --no-color client"))
    assert docker.host.run("curl --silent --max-time 5 http://127.0.0.1:8085/").strip() == "page"
    assert "1 packets received" in compose("exec -T client ping -c 1 web")
    compose("stop -t 0 web")
    assert docker("ps", "--format", "{{.Names}}") == "pair_client_1"
    compose("up -d")
    compose("restart -t 0")
    assert set(docker("ps", "--format", "{{.Names}}").splitlines()) == {"pair_client_1", "pair_web_1"}
    compose("down -v -t 0")
    assert docker("ps", "--all", "--quiet") == docker("volume", "ls", "--quiet") == ""
    assert "pair_back" not in docker("network", "ls")
