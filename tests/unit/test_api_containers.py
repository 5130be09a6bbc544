"""Bodies of Docker's requests on containers, parsed; streams taken apart; words for people."""

import json
from dataclasses import replace
from typing import Any

import pytest

from atoll.api.container_create import Known, parse_create
from atoll.api.container_mounts import parse_bind
from atoll.api.container_names import chosen_name
from atoll.api.container_settings import encode_host, encode_port_bindings
from atoll.api.durations import human_duration
from atoll.api.hijack import Leaving, frame, parse_keys
from atoll.cli.containers import ports_text
from atoll.cli.streams import Frames
from atoll.errors import InvalidRequest, NotFound, Unsupported
from atoll.model.container import Container, ContainerConfig, ContainerRequest, Mount, MountKind, RestartKind
from atoll.model.image import Image, ImageConfig
from atoll.model.names import parse_name
from atoll.model.portmap import merge_mappings
from atoll.model.ports import PortMapping, PortRange, Protocol
from atoll.model.portspec import parse_publish, spec_text
from atoll.runtime.supervise.streams import Stream

OTHER = Container("c" * 64, "other", "1" * 64, 0, ContainerConfig("busybox", hostname="theirs"))
IMAGE = Image("1" * 64, b"", (), ImageConfig(exposed_ports=("90/tcp",)))


def other(reference: str) -> Container:
    if reference not in ("other", OTHER.id):
        raise NotFound(f"No such container: {reference}")
    return OTHER


SANDBOX = "e" * 64
KNOWN = Known(other, lambda name: IMAGE, lambda name: SANDBOX if name == "plain" else other(name).id, "here")


def parsed(host: dict[str, Any] | None = None, **fields: Any) -> ContainerRequest:
    return parse_create(json.dumps({"Image": "busybox", "HostConfig": host or {}, **fields}).encode(), KNOWN)


@pytest.mark.parametrize("mode", ["", "default", "bridge"])
def test_default_network_has_three_names(mode: str) -> None:
    config = {"EndpointsConfig": {"default": {"Aliases": ["nick"]}}}
    wanted = parsed({"NetworkMode": mode}, NetworkingConfig=config).network
    assert wanted is not None
    assert [(each.network, each.aliases) for each in wanted.endpoints] == [("bridge", ("nick",))]


def test_network_of_the_mode_comes_first() -> None:
    config = {"EndpointsConfig": {"back": {}, "front": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}}}}
    wanted = parsed({"NetworkMode": "front"}, NetworkingConfig=config, MacAddress="02:42:00:00:00:01").network
    assert wanted is not None
    assert [each.network for each in wanted.endpoints] == ["front", "back"]
    assert str(wanted.endpoints[0].addresses[0]) == "10.0.0.9"
    assert [each.mac for each in wanted.endpoints] == ["02:42:00:00:00:01", ""]


def test_shared_namespaces_bring_their_host_name() -> None:
    joined = parsed({"NetworkMode": "container:other"})
    assert joined.network is not None and joined.network.join == OTHER.id
    assert (joined.config.hostname, joined.host.network_mode) == ("theirs", f"container:{OTHER.id}")
    assert parsed({"NetworkMode": "container:plain"}).config.hostname == ""
    host = parsed({"NetworkMode": "host", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}})
    assert host.network is not None and host.network.host and host.network.mappings == ()
    assert host.config.hostname == "here"


@pytest.mark.parametrize(
    ("specs", "together"),
    [
        (["8000:80", "8001:81", "8002:82"], ["8000-8002:80-82"]),
        (["8001:81", "8000:80"], ["8000-8001:80-81"]),
        (["8000:80", "8002:81"], ["8000:80", "8002:81"]),
        (["127.0.0.1:8000:80", "8001:81"], ["127.0.0.1:8000:80", "8001:81"]),
        (["80/udp", "81/udp"], ["80-81/udp"]),
        (["8000-8009:80"], ["8000-8009:80"]),
    ],
)
def test_ports_that_follow_each_other_become_ranges(specs: list[str], together: list[str]) -> None:
    mappings = parse_publish(specs)
    assert sorted(map(spec_text, merge_mappings(mappings))) == together


def test_a_thousand_ports_are_one_range_and_are_shown_as_they_came() -> None:
    bindings = {f"{port}/tcp": [{"HostIp": "", "HostPort": str(port + 1000)}] for port in range(1000, 2000)}
    wanted = parsed({"PortBindings": bindings}).network
    assert wanted is not None
    assert wanted.mappings == (PortMapping(Protocol.TCP, PortRange(1000, 1999), PortRange(2000, 2999)),)
    assert encode_port_bindings(wanted.mappings) == bindings


def test_all_exposed_ports_are_published_once() -> None:
    host = {"PublishAllPorts": True, "PortBindings": {"90/tcp": [{"HostPort": "9000"}]}}
    wanted = parsed(host, ExposedPorts={"53/udp": {}}).network
    assert wanted is not None
    assert sorted(map(spec_text, wanted.mappings)) == ["53/udp", "9000:90"]


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/a:/b", Mount(MountKind.BIND, "/b", "/a", make_source=True)),
        ("/a:/b:ro,rshared", Mount(MountKind.BIND, "/b", "/a", True, "rshared", make_source=True)),
        ("name:/b:nocopy", Mount(MountKind.VOLUME, "/b", "name", copy=False)),
        ("/b", Mount(MountKind.VOLUME, "/b")),
    ],
)
def test_volumes(text: str, mount: Mount) -> None:
    assert parse_bind(text) == mount


@pytest.mark.parametrize("text", ["", "/a:", ":/b", "/a:b", "/a:/b:odd", "/a:/b:ro:x", "a/../b:/b", "/a\0:/b"])
def test_volumes_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_bind(text)


def test_entrypoint_can_be_taken_away() -> None:
    assert parsed(Entrypoint=[""]).config.entrypoint == ()
    assert parsed(Entrypoint=None).config.entrypoint is None
    assert parsed(Entrypoint=[]).config.entrypoint is None
    assert parsed(Entrypoint="sh", Cmd="-c").config == replace(parsed().config, entrypoint=("sh",), cmd=("-c",))


def test_settings_are_shown_as_they_were_asked_for() -> None:
    asked = {
        "Binds": ["/a:/b:ro"],
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "Memory": 64 << 20,
        "NanoCpus": 500_000_000,
        "CapAdd": ["NET_ADMIN"],
        "SecurityOpt": ["no-new-privileges"],
        "Dns": ["192.0.2.1"],
        "ExtraHosts": ["gw:host-gateway"],
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        "PidMode": "host",
        "IpcMode": f"container:{OTHER.id}",
    }
    wanted = parsed({**asked, "IpcMode": "container:other"})
    assert wanted.host.restart.kind is RestartKind.ON_FAILURE
    shown = encode_host(Container("d" * 64, "d", "1" * 64, 0, wanted.config, wanted.host, network=wanted.network))
    assert {name: shown[name] for name in asked} == asked


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ({"Links": ["a:b"]}, Unsupported),
        ({"DeviceRequests": [{"Count": -1}]}, Unsupported),
        ({"VolumeDriver": "nfs"}, Unsupported),
        ({"LogConfig": {"Type": "syslog"}}, Unsupported),
        ({"RestartPolicy": {"Name": "sometimes"}}, InvalidRequest),
        ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, InvalidRequest),
        ({"Dns": ["nameserver"]}, InvalidRequest),
        ({"DnsSearch": ["a\nnameserver 192.0.2.1"]}, InvalidRequest),
        ({"CgroupParent": "/a/../../b"}, InvalidRequest),
        ({"ShmSize": -1}, InvalidRequest),
        ({"NetworkMode": "container:absent"}, InvalidRequest),
        ({"NetworkMode": "container:other", "PortBindings": {"80/tcp": [{}]}}, InvalidRequest),
        ({"Mounts": [{"Type": "npipe", "Target": "/x"}]}, Unsupported),
        ({"PortBindings": {"80/tcp": [{"HostPort": "70000"}]}}, InvalidRequest),
    ],
)
def test_what_cannot_be_is_refused(host: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        parsed(host)


def test_frames_come_whole_however_they_are_cut() -> None:
    sent = frame(Stream.STDOUT, b"out" * 1000) + frame(Stream.STDERR, b"err") + frame(Stream.STDOUT, b"")
    for size in (1, 7, 8, 9, 4096):
        frames = Frames()
        found = [part for at in range(0, len(sent), size) for part in frames.take(sent[at : at + size])]
        assert found == [(1, b"out" * 1000), (2, b"err"), (1, b"")]


@pytest.mark.parametrize(
    ("typed", "passed", "left"),
    [
        ([b"ls\n"], b"ls\n", False),
        ([b"a\x10\x11b"], b"a", True),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"\x10x\x11"], b"\x10x\x11", False),
        ([b"\x10\x10\x11"], b"\x10", True),
    ],
)
def test_a_terminal_is_left_by_its_keys_alone(typed: list[bytes], passed: bytes, left: bool) -> None:
    leaving, found, gone = Leaving(parse_keys("")), b"", False
    for part in typed:
        content, gone = leaving.take(part)
        found += content
    assert (found, gone) == (passed, left)


def test_keys() -> None:
    assert parse_keys("ctrl-a,x,ctrl-@") == b"\x01x\x00"
    assert parse_keys("ctrl-") == parse_keys("nonsense") == b""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (3000, "50 minutes"),
        (3600, "About an hour"),
        (47 * 3600, "47 hours"),
        (3 * 86400, "3 days"),
        (15 * 86400, "2 weeks"),
        (70 * 86400, "2 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_chosen_names_are_names() -> None:
    names = {chosen_name(f"{number:08x}", attempt) for number in range(0, 2**32, 2**22 + 1) for attempt in (0, 1)}
    assert all(parse_name("container", name) for name in names)
    assert len(names) > 500


def test_ports_that_keep_their_number_are_a_range_in_one_cell() -> None:
    ports = [{"PrivatePort": n, "PublicPort": n, "Type": "udp", "IP": "::"} for n in (7, 8, 9, 11)]
    assert ports_text(ports) == "[::]:7-9->7-9/udp, [::]:11->11/udp"


def test_ports_in_one_cell() -> None:
    def port(inside: int, outside: int = 0, ip: str = "0.0.0.0") -> dict[str, Any]:
        return {"PrivatePort": inside, "Type": "tcp", **({"PublicPort": outside, "IP": ip} if outside else {})}

    assert ports_text([port(80, 8080), port(81, 8081), port(83, 8083), port(90), port(91), port(80, 8080, "::")]) == (
        "90-91/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 0.0.0.0:8081->81/tcp, 0.0.0.0:8083->83/tcp"
    )
