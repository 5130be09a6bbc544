"""The daemon as its clients and the service manager see it: start, restart, end, versions, dry runs, streams."""

import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.netns.namespaces import eventually, namespace, path_of, run
from tests.support.daemon import DaemonHost, UnixConnection, daemon_host
from tests.support.snapshot import host_text

VERSIONS = [f"1.{minor}" for minor in range(24, 51)]
ADDED = {"EnableIPv4": "1.48"}
"""Fields of a network that came after 1.24, with the version that added them."""
ADDED_TO_INFO = {"FirewallBackend": "1.49"}
REMOVED_FROM_INFO = {"BridgeNfIptables": "1.50", "BridgeNfIp6tables": "1.50"}
NETWORK_FIELDS = {
    "Name", "Id", "Created", "Scope", "Driver", "EnableIPv6", "IPAM", "Internal", "Attachable", "Ingress",
    "ConfigFrom", "ConfigOnly", "Containers", "Options", "Labels",
}  # fmt: skip
HEADERS = {"Api-Version": "1.50", "Docker-Experimental": "false", "Ostype": "linux"}


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with daemon_host("api") as host:
        yield host


@pytest.fixture
def own() -> Iterator[DaemonHost]:
    """A host whose daemon a test may end."""
    with daemon_host("own") as host:
        yield host


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_fields_appear_with_the_version_that_added_them(host: DaemonHost) -> None:
    for version in VERSIONS:
        added = {name for name, since in ADDED.items() if number(version) >= number(since)}
        assert host.must("GET", f"/v{version}/networks/bridge").keys() == NETWORK_FIELDS | added, version
        assert host.must("GET", f"/v{version}/networks")[0].keys() == NETWORK_FIELDS | added, version
        info = host.must("GET", f"/v{version}/info")
        for name, since in ADDED_TO_INFO.items():
            assert (name in info) is (number(version) >= number(since)), (name, version)
        for name, until in REMOVED_FROM_INFO.items():
            assert (name in info) is (number(version) < number(until)), (name, version)
    assert host.must("GET", "/networks/bridge").keys() == NETWORK_FIELDS | ADDED.keys()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/_ping", 200),
        ("HEAD", "/_ping", 200),
        ("GET", "/v1.44/networks", 200),
        ("GET", "/networks/absent", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/v9.9/networks", 400),
        ("GET", "/containers/json", 200),
        ("GET", "/swarm", 501),
        ("GET", "/atoll/status", 200),
    ],
)
def test_every_answer_names_the_engine(host: DaemonHost, method: str, target: str, status: int) -> None:
    answer = host.ask(method, target)
    assert answer.status == status
    assert answer.headers.items() >= HEADERS.items()
    assert answer.headers["Server"].startswith("atoll/")
    if target != "/_ping":
        assert answer.headers["Content-Type"].startswith("application/json")


def test_one_connection_serves_many_requests(host: DaemonHost) -> None:
    connection = UnixConnection(host.socket)
    for target in ("/_ping", "/networks/absent", "/networks", "/nowhere"):
        connection.request("GET", target)
        connection.getresponse().read()
    connection.close()


def test_many_clients_at_once_are_all_answered(host: DaemonHost) -> None:
    names = [f"crowd{index}" for index in range(20)]
    with ThreadPoolExecutor(20) as pool:
        made = pool.map(lambda name: host.ask("POST", "/networks/create", {"Name": name}).status, names)
        assert set(made) == {201}
        assert set(pool.map(lambda name: host.ask("DELETE", f"/networks/{name}").status, names)) == {204}


def test_one_name_is_given_once(host: DaemonHost) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: host.ask("POST", "/networks/create", {"Name": "race"}).status, range(8)))
    host.must("DELETE", "/networks/race")
    assert sorted(made) == [201] + [409] * 7


TOOLS = {"ip", "nft", "bridge", "sysctl", "conntrack", "arping", "ndsend", "#"}
SANDBOX = {"Name": "dry-box", "Publish": ["8088:80"]}
DRY_RUNS: list[tuple[str, str, Any]] = [
    ("POST", "/networks/create", {"Name": "dry"}),
    ("DELETE", "/networks/wet", None),
    ("POST", "/networks/prune", None),
    ("POST", "/networks/wet/connect", {"Container": "box"}),
    ("POST", "/networks/bridge/disconnect", {"Container": "box"}),
    ("POST", "/atoll/sandboxes/create", SANDBOX),
    ("DELETE", "/atoll/sandboxes/box", None),
    ("POST", "/atoll/networks/wet/allow", {"Target": "bridge"}),
    ("POST", "/atoll/purge", None),
]


def test_dry_runs_tell_the_steps_and_change_nothing(host: DaemonHost) -> None:
    host.must("POST", "/networks/create", {"Name": "wet", "Options": {"com.docker.network.bridge.name": "br-wet"}})
    host.must("POST", "/atoll/sandboxes/create", {"Name": "box"})
    eventually(lambda: "atoll:gone" not in host.run("ip link"))  # of tests before
    before = everything(host)
    for method, target, body in DRY_RUNS:
        plan = host.must(method, f"{target}?dry-run=1", body)
        assert plan.keys() == {"Steps", "Warnings"}, target
        assert plan["Steps"], target
        for step in plan["Steps"]:
            assert step.keys() == {"Line", "Reason"}
            assert step["Line"].split()[0] in {"ip", "nft", "bridge", "sysctl", "conntrack", "arping", "ndsend", "#"}, (
                step
            )
        assert everything(host) == before, target
    lines = [step["Line"] for step in host.must("DELETE", "/networks/wet?dry-run=1")["Steps"]]
    assert "ip link del br-wet" in lines
    host.must("DELETE", "/networks/wet")
    host.must("DELETE", "/atoll/sandboxes/box")


def everything(host: DaemonHost) -> str:
    bodies = [host.must("GET", target) for target in ("/networks", "/atoll/sandboxes", "/atoll/rules")]
    return host_text(str(host.netns), host.netns_directory) + json.dumps(bodies, sort_keys=True)


def test_sandbox_has_the_documented_fields(host: DaemonHost) -> None:
    host.must("POST", "/networks/create", {"Name": "shown", "IPAM": {"Config": [{"Subnet": "10.81.0.0/24"}]}})
    endpoint = {"Network": "shown", "IPv4Address": "10.81.0.5", "Aliases": ["db"], "GwPriority": 3, "Ifname": "data0"}
    publish = ["127.0.0.1:8085:80", "9000-9400:9000-9400/udp"]
    wanted = {"Name": "shown-box", "Endpoints": [endpoint], "Publish": publish, "Labels": {"a": "b"}}
    made = host.must("POST", "/atoll/sandboxes/create", wanted)
    host.must("POST", "/atoll/sandboxes/create", {"Name": "guest", "NetworkMode": "container:shown-box"})
    found = host.must("GET", f"/atoll/sandboxes/{made['Id'][:12]}")
    guest = host.must("GET", "/atoll/sandboxes/guest")
    listed = host.must("GET", "/atoll/sandboxes?filters=" + '{"network":{"shown":true}}'.replace('"', "%22"))
    for name in ("guest", "shown-box"):
        host.must("DELETE", f"/atoll/sandboxes/{name}")
    host.must("DELETE", "/networks/shown")

    assert [sandbox["Name"] for sandbox in listed] == ["shown-box"]
    assert found["Kind"] == "made" and guest["Kind"] == "joined"
    assert found["Members"] == ["guest"] and guest["Owner"] == "shown-box"
    assert guest["NetnsInode"] == found["NetnsInode"] > 0
    assert found["NetnsPath"].startswith(str(host.netns_directory))
    assert found["Publish"] == publish
    assert found["Labels"] == {"a": "b"}
    assert found["Bindings"][0] == {
        "Protocol": "tcp", "HostAddress": "127.0.0.1", "HostPorts": "8085", "ContainerPorts": "80",
    }  # fmt: skip
    assert found["Bindings"][1]["HostPorts"] == "9000-9400"
    assert found["Ports"]["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "8085"}]
    assert found["Ports"]["9000/udp"] == [
        {"HostIp": "0.0.0.0", "HostPort": "9000"},
        {"HostIp": "::", "HostPort": "9000"},
    ]
    assert len(found["Ports"]) == 256
    shown = found["Networks"]["shown"]
    assert (shown["IPAddress"], shown["IPPrefixLen"], shown["Gateway"]) == ("10.81.0.5", 24, "10.81.0.1")
    assert (shown["Aliases"], shown["GwPriority"], shown["Ifname"]) == (["db"], 3, "data0")
    assert shown["HostIfname"].startswith("av")
    assert shown["GlobalIPv6Address"] == shown["IPv6Gateway"] == ""
    assert found["Degraded"] == []


class Stream:
    """An open GET /events, its lines read in the background."""

    def __init__(self, host: DaemonHost, query: str = "") -> None:
        self.events: list[dict[str, Any]] = []
        self.ended = threading.Event()
        self._connection = UnixConnection(host.socket)
        self._connection.request("GET", f"/events{query}")
        self.response = self._connection.getresponse()
        threading.Thread(target=self._read, daemon=True).start()

    def close(self) -> None:
        self._connection.sock.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        for line in self.response:
            self.events.append(json.loads(line))
        self.ended.set()


def test_events_are_told_at_once(host: DaemonHost) -> None:
    stream = Stream(host, '?filters={"type":{"network":true}}'.replace('"', "%22"))
    assert stream.response.status == 200
    assert stream.response.getheader("Transfer-Encoding") == "chunked"
    host.must("POST", "/networks/create", {"Name": "loud"})
    eventually(lambda: len(stream.events) == 1, seconds=1)
    host.must("DELETE", "/networks/loud")
    eventually(lambda: len(stream.events) == 2, seconds=1)
    stream.close()
    assert [event["Action"] for event in stream.events] == ["create", "destroy"]
    assert stream.events[0]["timeNano"] // 10**9 == stream.events[0]["time"]


def test_events_that_end_in_the_past_end_at_once(host: DaemonHost) -> None:
    host.must("POST", "/networks/create", {"Name": "past"})
    host.must("DELETE", "/networks/past")
    now = time.time()
    stream = Stream(host, f"?since=0&until={now:.6f}")
    assert stream.ended.wait(1)
    assert [event["Action"] for event in stream.events][-2:] == ["create", "destroy"]
    stream = Stream(host, f"?since={now:.6f}&until={now + 0.5:.6f}")
    assert stream.ended.wait(2)
    assert stream.events == []


def test_watchers_that_go_leave_nothing(host: DaemonHost) -> None:
    # The connection that found it ready may be closing still.
    time.sleep(0.5)
    before = descriptors(host)
    streams = [Stream(host) for _ in range(10)]
    eventually(lambda: descriptors(host) >= before + 10)
    for stream in streams:
        stream.close()
    eventually(lambda: descriptors(host) <= before)
    host.must("POST", "/networks/create", {"Name": "after"})
    host.must("DELETE", "/networks/after")
    assert "Traceback" not in host.log


def descriptors(host: DaemonHost) -> int:
    assert host.process is not None
    return len(list(Path(f"/proc/{host.process.pid}/fd").iterdir()))


def test_the_socket_is_for_root_and_its_group(host: DaemonHost) -> None:
    assert stat.S_IMODE(host.socket.stat().st_mode) == 0o660


def test_the_end_leaves_the_networks(own: DaemonHost) -> None:
    own.must("POST", "/networks/create", {"Name": "stays"})
    own.must("POST", "/atoll/sandboxes/create", {"Name": "box", "Endpoints": [{"Network": "stays"}]})
    before = host_text(str(own.netns), own.netns_directory)
    stream = Stream(own)
    assert own.stop() == 0
    assert stream.ended.wait(2)
    assert host_text(str(own.netns), own.netns_directory) == before
    assert not own.socket.exists()
    own.start()
    assert host_text(str(own.netns), own.netns_directory) == before


def test_a_crash_changes_nothing_either(own: DaemonHost) -> None:
    """Ports are held again, those too whose sockets the relay took along."""
    wanted = {"Name": "box", "Publish": ["8080:80", "8053:53/udp", "127.0.0.1:8443:443"]}
    own.must("POST", "/atoll/sandboxes/create", wanted)
    before = everything(own), own.must("GET", "/atoll/sandboxes/box")
    assert (own.directory / "run" / "relay.sock").is_socket()
    for _ in range(2):
        own.kill9()
        own.start()
        assert (everything(own), own.must("GET", "/atoll/sandboxes/box")) == before
        assert own.must("GET", "/atoll/status")["Degraded"] == []
        listening = own.run("ss -Hltun")
        assert own.ask("POST", "/atoll/sandboxes/create", {"Name": "thief", "Publish": ["8080:80"]}).status == 409
        assert own.run("ss -Hltun") == listening


def test_a_second_daemon_names_the_first(own: DaemonHost) -> None:
    assert own.process is not None
    before = host_text(str(own.netns), own.netns_directory)
    status, said = own.fail_to_start("--state", str(own.directory / "other"))
    assert status == 1
    assert f"process {own.process.pid}" in said
    assert host_text(str(own.netns), own.netns_directory) == before
    with namespace("second") as name:
        other = DaemonHost(name, own.directory)
        status, said = other.fail_to_start("--run", str(own.directory / "run2"))
        assert status == 1
        assert f"pid {own.process.pid}" in said and str(own.state) in said
        assert bare(name)
    assert own.must("GET", "/atoll/status")["Ready"] is True


def bare(name: str) -> bool:
    """Whether a namespace is as it was made."""
    return run(name, "nft list ruleset") == "" and len(json.loads(run(name, "ip -j link"))) == 1


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"this is no database, but some text that is longer than a header" * 20, "not a database"), (b"", "")],
)
def test_a_store_that_cannot_be_read_stops_the_start(content: bytes, word: str) -> None:
    with daemon_host("store", start=False) as host:
        host.state.mkdir()
        (host.state / "atoll.db").write_bytes(content)
        if not word:
            (host.state / "atoll.db").unlink()
            (host.state / "atoll.db").mkdir()
        status, said = host.fail_to_start()
        assert status == 1
        assert str(host.state / "atoll.db") in said
        assert word in said and "try: " in said
        assert "Traceback" not in said
        assert bare(host.name)
        assert not host.socket.exists()


def test_a_run_directory_that_cannot_be_made_stops_the_start() -> None:
    with daemon_host("norun", start=False) as host:
        (host.directory / "file").touch()
        status, said = host.fail_to_start("--run", str(host.directory / "file" / "run"))
        assert status == 1
        assert "file/run: not a directory" in said and "Traceback" not in said
        assert bare(host.name)


def test_a_socket_path_that_does_not_fit_stops_the_start() -> None:
    with daemon_host("long", start=False) as host:
        status, said = host.fail_to_start("--socket", "/tmp/" + "x" * 120)
        assert status == 1
        assert "longer than 107 bytes" in said


def test_purge_leaves_nothing_and_ends_the_daemon(own: DaemonHost) -> None:
    own.must("POST", "/networks/create", {"Name": "gone"})
    own.must("POST", "/atoll/sandboxes/create", {"Name": "box", "Publish": ["8080:80"]})
    own.must("POST", "/atoll/sandboxes/create", {"Name": "guest", "NetworkMode": "container:box"})
    assert own.must("POST", "/atoll/purge") == {"Networks": 4, "Sandboxes": 2, "Containers": 0, "Images": 0}
    assert own.process is not None
    assert own.process.wait(timeout=5) == 0
    own.process = None
    eventually(lambda: bare(own.name))
    assert list(own.netns_directory.iterdir()) == []


def test_the_service_manager_is_told() -> None:
    with daemon_host("notify", start=False) as host:
        address = host.directory / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(address))
            manager.settimeout(10)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("NOTIFY_SOCKET", str(address))
                host.start()
            assert manager.recv(100) == b"READY=1"
            host.stop()
            assert manager.recv(100) == b"STOPPING=1"


def test_another_netns_may_have_a_daemon_of_its_own(host: DaemonHost) -> None:
    with daemon_host("twin") as twin:
        twin.must("POST", "/networks/create", {"Name": "mine"})
        assert host.ask("GET", "/networks/mine").status == 404
        assert path_of(twin.name) != path_of(host.name)
