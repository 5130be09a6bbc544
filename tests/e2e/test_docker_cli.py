"""Docker's own clients against our socket: the docker command with every flag of `network`, and docker-py."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from tests.support.daemon import DaemonHost, daemon_host
from tests.support.dockerd import docker_command

MTU = "com.docker.network.driver.mtu"
Cli = Callable[..., str]


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with daemon_host("cli") as host:
        host.must("POST", "/atoll/sandboxes/create", {"Name": "box"})
        host.must("POST", "/networks/create", {"Name": "used", "IPAM": {"Config": [{"Subnet": "10.30.0.0/24"}]}})
        host.must("POST", "/networks/used/connect", {"Container": "box"})
        yield host


@pytest.fixture(scope="module", params=["newest", "1.30", "1.41", "1.47"])
def cli(host: DaemonHost, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Runs `docker ARGUMENTS`, speaking the version that it negotiates, or an older one; its output."""
    return make_cli(host, tmp_path_factory.mktemp("docker"), "" if request.param == "newest" else request.param)


@pytest.fixture(scope="module")
def newest(host: DaemonHost, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return make_cli(host, tmp_path_factory.mktemp("docker"), "")


def make_cli(host: DaemonHost, directory: Path, version: str) -> Cli:
    command = docker_command()
    environment = {"DOCKER_HOST": host.url, "HOME": str(directory), "PATH": os.environ["PATH"]}
    if version:
        environment["DOCKER_API_VERSION"] = version

    def run(*arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [command, *arguments], env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode != 0) is fails, (arguments, done.stdout, done.stderr)
        return (done.stderr if fails else done.stdout).strip()

    return run


def inspect(cli: Cli, network: str) -> dict[str, Any]:
    (found,) = json.loads(cli("network", "inspect", network))
    return dict(found)


def test_ls_lists_the_default_networks(cli: Cli) -> None:
    names = cli("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").splitlines()
    assert {"bridge bridge local", "host host local", "none null local"} <= set(names)
    assert "NETWORK ID" in cli("network", "ls")
    assert len(cli("network", "ls", "--quiet", "--no-trunc").splitlines()[0]) == 64


def test_ls_filters(cli: Cli) -> None:
    def listed(*filters: str) -> set[str]:
        words = [word for each in filters for word in ("--filter", each)]
        return set(cli("network", "ls", "--format", "{{.Name}}", *words).splitlines())

    assert listed("driver=host") == {"host"}
    assert listed("name=used") == {"used"}
    assert listed("name=^us") == {"used"}
    assert listed("type=builtin") == {"bridge", "host", "none"}
    assert listed("type=custom", "scope=local") == {"used"}
    assert listed("dangling=true") == set()
    assert listed("id=" + inspect(cli, "used")["Id"][:12]) == {"used"}
    assert "colour" in cli("network", "ls", "--filter", "colour=red", fails=True)


def test_create_takes_every_flag(cli: Cli) -> None:
    cli(
        *("network", "create", "--driver", "bridge", "--internal", "--attachable", "--ipv6"),
        *("--subnet", "10.31.0.0/16", "--gateway", "10.31.0.1", "--ip-range", "10.31.7.0/24"),
        *("--aux-address", "printer=10.31.7.9", "--aux-address", "camera=10.31.7.10"),
        *("--subnet", "fd00:31::/64", "--gateway", "fd00:31::1", "--aux-address", "six=fd00:31::9"),
        *("--label", "colour=red", "--label", "empty"),
        *("--opt", f"{MTU}=1400", "--opt", "com.docker.network.bridge.name=br-full"),
        *("--ipam-driver", "default", "--ipam-opt", "note=kept", "--scope", "local", "full"),
    )
    found = inspect(cli, "full")
    assert cli("network", "rm", "full") == "full"
    assert found["Internal"] and found["Attachable"] and found["EnableIPv6"]
    assert sorted(found["IPAM"]["Config"], key=len) == [
        {"Subnet": "fd00:31::/64", "Gateway": "fd00:31::1", "AuxiliaryAddresses": {"six": "fd00:31::9"}},
        {
            "Subnet": "10.31.0.0/16",
            "IPRange": "10.31.7.0/24",
            "Gateway": "10.31.0.1",
            "AuxiliaryAddresses": {"printer": "10.31.7.9", "camera": "10.31.7.10"},
        },
    ]
    assert found["Labels"] == {"colour": "red", "empty": ""}
    assert found["Options"] == {MTU: "1400", "com.docker.network.bridge.name": "br-full"}
    assert found["IPAM"]["Options"] == {"note": "kept"}


def test_ipv4_can_be_switched_off(newest: Cli) -> None:
    newest("network", "create", "--ipv4=false", "--ipv6", "--subnet", "fd00:32::/64", "six")
    found = inspect(newest, "six")
    newest("network", "rm", "--force", "six")
    assert (found["EnableIPv4"], found["EnableIPv6"]) == (False, True)


def test_inspect_takes_names_ids_and_formats(cli: Cli) -> None:
    full = inspect(cli, "used")["Id"]
    assert inspect(cli, full[:8])["Name"] == "used"
    assert cli("network", "inspect", "--verbose", "--format", "{{.Driver}}", "used", "host") == "bridge\nhost"
    assert "absent" in cli("network", "inspect", "absent", fails=True)
    members = cli("network", "inspect", "--format", "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}", "used")
    assert members == "box 10.30.0.2/24"
    assert cli("inspect", "--type", "network", "--format", "{{.Name}}", "used") == "used"


def test_connect_and_disconnect_take_every_flag(cli: Cli) -> None:
    cli("network", "create", "--subnet", "10.33.0.0/24", "--ipv6", "--subnet", "fd00:33::/64", "joined")
    cli(
        *("network", "connect", "--ip", "10.33.0.7", "--ip6", "fd00:33::7", "--alias", "db", "--alias", "database"),
        *("--driver-opt", "com.docker.network.endpoint.ifname=data0", "joined", "box"),
    )
    (member,) = inspect(cli, "joined")["Containers"].values()
    assert "already exists in network joined" in cli("network", "connect", "joined", "box", fails=True)
    assert "active endpoints" in cli("network", "rm", "joined", fails=True)
    cli("network", "disconnect", "--force", "joined", "box")
    assert "not connected" in cli("network", "disconnect", "joined", "box", fails=True)
    cli("network", "rm", "joined")
    assert member["IPv4Address"] == "10.33.0.7/24"
    assert member["IPv6Address"] == "fd00:33::7/64"
    assert member["Name"] == "box"


def test_connect_takes_a_gateway_priority(host: DaemonHost, newest: Cli) -> None:
    newest("network", "create", "first")
    newest("network", "connect", "--gw-priority", "7", "first", "box")
    endpoint = host.must("GET", "/atoll/sandboxes/box")["Networks"]["first"]
    newest("network", "disconnect", "first", "box")
    newest("network", "rm", "first")
    assert endpoint["GwPriority"] == 7


def test_rm_takes_several_and_tells_those_that_fail(cli: Cli) -> None:
    names = ["one", "two", "three"]
    for name in names:
        cli("network", "create", name)
    assert cli("network", "rm", *names).split() == names
    assert "absent not found" in cli("network", "rm", "absent", fails=True)
    assert cli("network", "rm", "--force", "absent") == ""
    assert "pre-defined network and cannot be removed" in cli("network", "rm", "bridge", fails=True)


def test_prune_keeps_what_is_used_and_what_filters_spare(cli: Cli) -> None:
    for name in ("old", "spared"):
        cli("network", "create", "--label", f"keep={name == 'spared'}".lower(), name)
    pruned = cli("network", "prune", "--force", "--filter", "label!=keep=true")
    assert pruned.split() == ["Deleted", "Networks:", "old"]
    assert cli("network", "prune", "--force", "--filter", "until=24h") == ""
    assert "spared" in cli("network", "prune", "--force")
    assert inspect(cli, "used")["Name"] == "used"


def test_warnings_reach_the_terminal(newest: Cli, host: DaemonHost) -> None:
    answer = host.must("POST", "/networks/create", {"Name": "odd", "Options": {"com.example.unknown": "1"}})
    assert "com.example.unknown" in answer["Warning"]
    newest("network", "rm", "odd")


def test_events_are_told_to_the_cli(cli: Cli) -> None:
    cli("network", "create", "evented")
    cli("network", "rm", "evented")
    told = cli("events", "--since", "10m", "--until=-1s", "--filter", "network=evented", "--format", "{{.Action}}")
    assert told.split()[-2:] == ["create", "destroy"]


def test_version_and_info(cli: Cli) -> None:
    assert cli("version", "--format", "{{.Server.Os}}") == "linux"
    assert cli("info", "--format", "{{.Plugins.Network}}") == "[bridge host null]"


def test_what_is_not_served_is_refused_with_a_word(cli: Cli) -> None:
    assert "not in this version" in cli("swarm", "init", fails=True)


@pytest.fixture
def client(host: DaemonHost) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=host.url, version="auto")
    yield client
    client.close()


def test_docker_py_makes_lists_and_removes(client: docker.DockerClient) -> None:
    pool = IPAMPool(
        subnet="10.34.0.0/24", iprange="10.34.0.128/25", gateway="10.34.0.1", aux_addresses={"a": "10.34.0.9"}
    )
    network = client.networks.create(
        "py",
        driver="bridge",
        ipam=IPAMConfig(pool_configs=[pool]),
        labels={"colour": "blue"},
        internal=True,
        check_duplicate=True,
        options={MTU: "1300"},
    )
    assert network.attrs["Internal"] is True
    assert [found.name for found in client.networks.list(names=["py"])] == ["py"]
    assert [found.name for found in client.networks.list(filters={"label": "colour=blue", "driver": "bridge"})] == [
        "py"
    ]
    assert client.networks.get(network.id[:10]).name == "py"
    network.remove()
    with pytest.raises(NotFound):
        client.networks.get("py")


def test_docker_py_connects_and_disconnects(client: docker.DockerClient) -> None:
    network = client.networks.create("pyc", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet="10.35.0.0/24")]))
    network.connect("box", ipv4_address="10.35.0.5", aliases=["db"])
    network.reload()
    assert [member["IPv4Address"] for member in network.attrs["Containers"].values()] == ["10.35.0.5/24"]
    with pytest.raises(APIError) as refused:
        network.remove()
    assert refused.value.status_code == 403
    network.disconnect("box", force=True)
    assert client.networks.prune(filters={"label!": ["none"]})["NetworksDeleted"] == ["pyc"]


def test_docker_py_reads_events_and_versions(client: docker.DockerClient) -> None:
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.50"
    assert client.info()["OSType"] == "linux"
    events = client.events(decode=True)
    client.networks.create("pye").remove()
    told = [next(events) for _ in range(2)]
    events.close()
    assert [event["Action"] for event in told] == ["create", "destroy"]
    assert told[0]["Actor"]["Attributes"]["name"] == "pye"
