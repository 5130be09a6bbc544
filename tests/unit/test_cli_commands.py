"""Every command: the request that it sends, what it prints, how it ends. The server is real, its answers given."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from atoll.cli.main import main
from tests.support.http_server import Exchange, serve

ID = "3f2a9c1b7d5e" + "0" * 52
NETWORKS = [
    {"Id": f"{n:x}" * 64, "Name": name, "Driver": driver, "Scope": "local", "EnableIPv6": n == 3, "Labels": labels}
    for n, name, driver, labels in (
        (1, "none", "null", {}),
        (2, "net10", "bridge", {}),
        (3, "net2", "bridge", {"b": "2", "a": "1"}),
    )
]
WEB = {
    "Id": ID,
    "Name": "web",
    "Kind": "made",
    "Created": "2024-05-01T12:00:00Z",
    "NetnsPath": "/run/netns/atoll-3f2a9c1b7d5e",
    "Owner": "",
    "Labels": {},
    "Bindings": [
        {"Protocol": "tcp", "HostAddress": "", "HostPorts": "8080-8082", "ContainerPorts": "80-82"},
        {"Protocol": "udp", "HostAddress": "fd00::1", "HostPorts": "53", "ContainerPorts": "53"},
    ],
    "Networks": {
        "bridge": {
            "IPAddress": "172.17.0.2",
            "GlobalIPv6Address": "",
            "HostIfname": "av3f2a9c1b7d5e",
            "Ifname": "eth0",
        },
        "front": {"IPAddress": "10.5.0.2", "GlobalIPv6Address": "fd00::2", "HostIfname": "av5e", "Ifname": "eth1"},
    },
}
SIDE = {"Id": "4" * 64, "Name": "side", "Kind": "joined", "Owner": "web", "Networks": {}, "Bindings": []}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Exchange]:
    with serve(tmp_path / "atoll.sock") as exchange:
        yield exchange


@pytest.fixture
def atoll(daemon: Exchange) -> Callable[[str], int]:
    return lambda line: main(["--socket", str(daemon.socket), *shlex.split(line)])


Atoll = Callable[[str], int]
Captured = pytest.CaptureFixture[str]

CREATE = {
    "Name": "front",
    "Driver": "bridge",
    "Scope": "",
    "EnableIPv6": False,
    "IPAM": {"Driver": "default", "Options": {}, "Config": []},
    "Internal": False,
    "Attachable": False,
    "Options": {},
    "Labels": {},
}
ENDPOINT = {
    "IPAMConfig": {"IPv4Address": "", "IPv6Address": ""},
    "Aliases": [],
    "MacAddress": "",
    "GwPriority": 0,
    "DriverOpts": {},
}
SANDBOX = {
    "Name": "web",
    "Endpoints": [],
    "NetworkMode": "",
    "NetnsPath": "",
    "Pid": 0,
    "Publish": [],
    "Resolve": False,
    "Labels": {},
}


def ipam(*configs: dict[str, Any]) -> dict[str, Any]:
    return {"IPAM": {"Driver": "default", "Options": {}, "Config": list(configs)}}


@pytest.mark.parametrize(
    ("line", "method", "path", "body"),
    [
        ("network create front", "POST", "/networks/create", CREATE),
        (
            "network create --subnet 10.5.0.0/16 --gateway 10.5.0.1 --ip-range 10.5.1.0/24 --aux-address r=10.5.0.9 "
            "front",
            "POST",
            "/networks/create",
            CREATE
            | ipam(
                {
                    "Subnet": "10.5.0.0/16",
                    "IPRange": "10.5.1.0/24",
                    "Gateway": "10.5.0.1",
                    "AuxiliaryAddresses": {"r": "10.5.0.9"},
                }
            ),
        ),
        (
            "network create front --ipv6 --subnet 10.5.0.0/16 --subnet fd00::/64 --gateway fd00::1 --gateway 10.5.0.1",
            "POST",
            "/networks/create",
            CREATE
            | {"EnableIPv6": True}
            | ipam({"Subnet": "10.5.0.0/16", "Gateway": "10.5.0.1"}, {"Subnet": "fd00::/64", "Gateway": "fd00::1"}),
        ),
        (
            "network create --ipv4=false --ipv6=true --internal --attachable --label a=1 --label b -d bridge front",
            "POST",
            "/networks/create",
            CREATE
            | {
                "EnableIPv4": False,
                "EnableIPv6": True,
                "Internal": True,
                "Attachable": True,
                "Labels": {"a": "1", "b": ""},
            },
        ),
        (
            "network create -o a.b=c=d --mtu 1400 --bridge-name br7 --no-masquerade front",
            "POST",
            "/networks/create",
            CREATE
            | {
                "Options": {
                    "a.b": "c=d",
                    "com.docker.network.driver.mtu": "1400",
                    "com.docker.network.bridge.name": "br7",
                    "com.docker.network.bridge.enable_ip_masquerade": "false",
                }
            },
        ),
        (
            "network connect front web",
            "POST",
            "/networks/front/connect",
            {"Container": "web", "EndpointConfig": ENDPOINT},
        ),
        (
            "network connect --ip 10.5.0.9 --ip6 fd00::9 --alias a --alias b --mac-address 02:42:00:00:00:09 "
            "--ifname lan0 --gw-priority -5 --driver-opt k=v front web",
            "POST",
            "/networks/front/connect",
            {
                "Container": "web",
                "EndpointConfig": {
                    "IPAMConfig": {"IPv4Address": "10.5.0.9", "IPv6Address": "fd00::9"},
                    "Aliases": ["a", "b"],
                    "MacAddress": "02:42:00:00:00:09",
                    "GwPriority": -5,
                    "DriverOpts": {"k": "v", "com.docker.network.endpoint.ifname": "lan0"},
                },
            },
        ),
        ("network disconnect -f front web", "POST", "/networks/front/disconnect", {"Container": "web", "Force": True}),
        ("network allow front back", "POST", "/atoll/networks/front/allow", {"Target": "back", "OneWay": False}),
        ("network disallow --one-way a b", "POST", "/atoll/networks/a/disallow", {"Target": "b", "OneWay": True}),
        ("network rm front", "DELETE", "/networks/front", None),
        ("network rm 'a/b?c'", "DELETE", "/networks/a/b?c", None),
        ("network prune -f", "POST", "/networks/prune", None),
        ("sandbox create web", "POST", "/atoll/sandboxes/create", SANDBOX),
        (
            "sandbox create --network front,ip=10.5.0.9,ip6=fd00::9,mac=02:42:00:00:00:09,alias=a,alias=b,ifname=lan0,"
            "gw-priority=7,driver-opt=k=v --network name=back -p 8080:80 -p 53:53/udp --label a=1 web",
            "POST",
            "/atoll/sandboxes/create",
            SANDBOX
            | {
                "Endpoints": [
                    {
                        "Network": "front",
                        "IPv4Address": "10.5.0.9",
                        "IPv6Address": "fd00::9",
                        "MacAddress": "02:42:00:00:00:09",
                        "Ifname": "lan0",
                        "GwPriority": 7,
                        "Aliases": ["a", "b"],
                        "DriverOpts": {"k": "v"},
                    },
                    {"Network": "back"},
                ],
                "Publish": ["8080:80", "53:53/udp"],
                "Resolve": False,
                "Labels": {"a": "1"},
            },
        ),
        ("sandbox create web --network host", "POST", "/atoll/sandboxes/create", SANDBOX | {"NetworkMode": "host"}),
        ("sandbox create web --network none", "POST", "/atoll/sandboxes/create", SANDBOX | {"NetworkMode": "none"}),
        (
            "sandbox create web --network container:db",
            "POST",
            "/atoll/sandboxes/create",
            SANDBOX | {"NetworkMode": "container:db"},
        ),
        ("sandbox create web --pid 4711", "POST", "/atoll/sandboxes/create", SANDBOX | {"Pid": 4711}),
        ("sandbox create web --netns /x/../n", "POST", "/atoll/sandboxes/create", SANDBOX | {"NetnsPath": "/n"}),
        ("sandbox rm web", "DELETE", "/atoll/sandboxes/web", None),
    ],
)
def test_changing_commands(
    atoll: Atoll, daemon: Exchange, capsys: Captured, line: str, method: str, path: str, body: Any
) -> None:
    daemon.answers[f"{method} {path}"] = (200, {"Id": ID, "Warnings": []})
    assert atoll(line) == 0
    assert daemon.requests == [(method, path, {}, body)]
    capsys.readouterr()

    steps = [
        {"Line": "ip link add br7 type bridge", "Reason": "network front"},
        {"Line": "ip link set br7 up", "Reason": "network front"},
        {"Line": "sysctl -w a=1", "Reason": "no reason is left out"},
    ]
    daemon.answers[f"{method} {path}"] = (200, {"Steps": steps, "Warnings": ["routed elsewhere"]})
    assert atoll(f"{line} --dry-run") == 0
    assert daemon.requests[1] == (method, path, {"dry-run": "1"}, body)
    shown = capsys.readouterr()
    assert shown.out == (
        "# network front\nip link add br7 type bridge\nip link set br7 up\n# no reason is left out\nsysctl -w a=1\n"
    )
    assert shown.err == "atoll: warning: routed elsewhere\n"


def test_created_objects_print_their_id_and_warnings(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["POST /networks/create"] = (201, {"Id": ID, "Warning": "unknown option x"})
    assert atoll("network create front") == 0
    assert capsys.readouterr() == (f"{ID}\n", "atoll: warning: unknown option x\n")


def test_network_ls_has_dockers_layout(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["GET /networks"] = (200, NETWORKS)
    assert atoll("network ls") == 0
    assert capsys.readouterr().out == (
        "NETWORK ID     NAME      DRIVER    SCOPE\n"
        "333333333333   net2      bridge    local\n"
        "222222222222   net10     bridge    local\n"
        "111111111111   none      null      local\n"
    )


@pytest.mark.parametrize(
    ("options", "out"),
    [
        ("-q", "333333333333\n222222222222\n111111111111\n"),
        ("-q --no-trunc", "".join(f"{n * 64}\n" for n in "321")),
        ("--format '{{.Name}}:{{.IPv6}}'", "net2:true\nnet10:false\nnone:false\n"),
        (
            r"--format 'table {{.Name}}\t{{.Labels}}'",
            "NAME      LABELS\nnet2      a=1,b=2\nnet10     \nnone      \n",
        ),
    ],
)
def test_network_ls_formats(atoll: Atoll, daemon: Exchange, capsys: Captured, options: str, out: str) -> None:
    daemon.answers["GET /networks"] = (200, NETWORKS)
    assert atoll(f"network ls {options}") == 0
    assert capsys.readouterr().out == out


def test_network_ls_json_is_one_object_a_line(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["GET /networks"] = (200, NETWORKS)
    assert atoll("network ls --format json") == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["Name"] == "net2"
    assert first["ID"] == "3" * 12


def test_filters_of_one_key_are_collected(atoll: Atoll, daemon: Exchange) -> None:
    daemon.answers["GET /networks"] = (200, [])
    assert atoll("network ls -f label=a=1 --filter label=b -f driver=bridge") == 0
    assert json.loads(daemon.requests[0][2]["filters"]) == {"label": ["a=1", "b"], "driver": ["bridge"]}


def test_network_inspect_names_both_ends_of_the_cables(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["GET /networks/front"] = (200, {"Id": "f1", "Name": "front", "Containers": {ID: {"Name": "web"}}})
    daemon.answers["GET /atoll/sandboxes"] = (200, [SIDE, WEB])
    assert atoll("network inspect front") == 0
    (network,) = json.loads(capsys.readouterr().out)
    assert network["Containers"][ID] == {"Name": "web", "HostIfname": "av5e", "Ifname": "eth1"}
    assert json.loads(daemon.requests[1][2]["filters"]) == {"network": ["f1"]}


def test_inspect_shows_what_is_there_and_fails_for_the_rest(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["GET /networks/a"] = (200, {"Name": "a"})
    daemon.answers["GET /networks/b"] = (404, {"message": "network b not found", "hint": "atoll network ls"})
    assert atoll("network inspect b a") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == [{"Name": "a"}]
    assert shown.err == "atoll: network b not found\n  try: atoll network ls\n"


def test_inspect_as_a_table_of_fields(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["GET /networks/a"] = (
        200,
        {"Name": "a", "IPAM": {"Config": [{"Subnet": "10.5.0.0/16"}]}, "Labels": {}},
    )
    assert atoll("network inspect --format table a") == 0
    assert capsys.readouterr().out.splitlines() == [
        "FIELD                   VALUE",
        "Name                    a",
        "IPAM.Config[0].Subnet   10.5.0.0/16",
        "Labels                  ",
    ]


def test_rm_goes_through_all_names(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["DELETE /atoll/sandboxes/a"] = (204, None)
    daemon.answers["DELETE /atoll/sandboxes/c"] = (204, None)
    assert atoll("sandbox rm a b c") == 1
    shown = capsys.readouterr()
    assert shown.out == "a\nc\n"
    assert shown.err == "atoll: no answer for /atoll/sandboxes/b\n"
    assert atoll("sandbox rm b -f c") == 0
    assert capsys.readouterr() == ("c\n", "")


def test_rm_force_does_not_hide_another_error(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["DELETE /networks/bridge"] = (403, {"message": "bridge is a pre-defined network"})
    assert atoll("network rm -f bridge") == 1
    assert capsys.readouterr().err == "atoll: bridge is a pre-defined network\n"


def test_prune_lists_what_went(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["POST /networks/prune"] = (200, {"NetworksDeleted": ["a", "b"]})
    assert atoll("network prune --force --filter until=24h") == 0
    assert capsys.readouterr().out == "Deleted Networks:\na\nb\n"
    assert json.loads(daemon.requests[0][2]["filters"]) == {"until": ["24h"]}


@pytest.mark.parametrize("line", ["network prune", "purge"])
def test_asks_before_it_removes(
    atoll: Atoll, daemon: Exchange, capsys: Captured, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    daemon.answers["GET /atoll/status"] = (200, {"Pid": 1, "Ready": True})
    with open("/dev/null") as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert atoll(line) == 1
    assert [request for request in daemon.requests if request[0] != "GET"] == []
    assert capsys.readouterr().err.endswith(f"  try: atoll {line} --force\n")


def test_sandbox_ls_shows_addresses_ports_and_cables(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["GET /atoll/sandboxes"] = (200, [WEB, SIDE])
    assert atoll("sandbox ls --format '{{.ID}}|{{.Name}}|{{.Kind}}|{{.Networks}}|{{.Ports}}|{{.Cables}}'") == 0
    assert capsys.readouterr().out.splitlines() == [
        "3f2a9c1b7d5e|web|made|bridge(172.17.0.2), front(10.5.0.2 fd00::2)"
        "|*:8080-8082->80-82/tcp, [fd00::1]:53->53/udp|av3f2a9c1b7d5e <-> eth0, av5e <-> eth1",
        "444444444444|side|joined:web|||",
    ]
    assert atoll("sandbox ls") == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["ID", "NAME", "KIND", "NETWORKS", "PORTS", "CABLES"]


@pytest.mark.parametrize(
    ("line", "out"),
    [
        (
            "port web",
            "80-82/tcp -> 0.0.0.0:8080-8082\n80-82/tcp -> [::]:8080-8082\n53/udp -> [fd00::1]:53\n",
        ),
        ("sandbox port web 81", "0.0.0.0:8081\n[::]:8081\n"),
        ("port web 53/UDP", "[fd00::1]:53\n"),
    ],
)
def test_port(atoll: Atoll, daemon: Exchange, capsys: Captured, line: str, out: str) -> None:
    daemon.answers["GET /atoll/sandboxes/web"] = (200, WEB)
    assert atoll(line) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize("port", ["83", "79", "80/udp", "x"])
def test_port_that_is_not_published(atoll: Atoll, daemon: Exchange, capsys: Captured, port: str) -> None:
    daemon.answers["GET /atoll/sandboxes/web"] = (200, WEB)
    assert atoll(f"port web {port}") == 1
    assert f"port {port if '/' in port else port + '/tcp'} of web is not published" in capsys.readouterr().err


def test_events_in_dockers_layout(
    atoll: Atoll, daemon: Exchange, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    event = {
        "Type": "network",
        "Action": "connect",
        "Actor": {"ID": "abc", "Attributes": {"type": "bridge", "name": "front", "container": "web"}},
        "scope": "local",
        "time": 1714564800,
        "timeNano": 1714564800000000042,
    }
    daemon.answers["GET /events"] = (200, [json.dumps(event).encode() + b"\n"])
    assert atoll("events --filter type=network --since 1714564800 --until 2024-05-01T12:00:01+00:00") == 0
    assert daemon.requests[0][2] == {
        "filters": '{"type": ["network"]}',
        "since": "1714564800",
        "until": "1714564801.000000",
    }
    out = capsys.readouterr().out
    assert out.endswith(" network connect abc (container=web, name=front, type=bridge)\n")
    assert out.split()[0][20:29] == "000000042"
    assert atoll("events --format '{{.Action}} {{.Actor.Attributes.name}}'") == 0
    assert capsys.readouterr().out == "connect front\n"


RULES = {
    "Tables": ["inet atoll", "bridge atoll"],
    "Owned": True,
    "Networks": [
        {
            "Name": "bridge",
            "Bridge": "atoll0",
            "Ports": ["av1", "av2"],
            "Segments": [{"Bridge": "a1-1", "Ports": ["av3"]}],
            "Elements": [
                {"Table": "inet atoll", "Set": "nets", "Text": '{ "atoll0" }', "Meaning": "the bridge of a network"},
                {
                    "Table": "inet atoll",
                    "Set": "any4",
                    "Text": "{ tcp . 8080 : 172.17.0.2 . 80 }",
                    "Meaning": "published",
                    "Packets": 12,
                    "Bytes": 720,
                },
            ],
            "Iptables": ["       1       60 MASQUERADE  all"],
        },
        {"Name": "front", "Bridge": "at-1", "Ports": [], "Elements": [], "Iptables": []},
    ],
    "Counters": [
        {"Table": "inet atoll", "Chain": "postrouting", "Rule": "masquerade", "Packets": 7, "Bytes": 420},
    ],
}


def test_rules_are_aligned_beside_the_older_tools(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["GET /atoll/rules"] = (200, RULES)
    assert atoll("rules --counters") == 0
    assert daemon.requests[0][2] == {"counters": "1"}
    out = capsys.readouterr().out
    assert (
        "    TABLE       SET   ELEMENT                           PACKETS  BYTES  MEANING\n"
        '    inet atoll  nets  { "atoll0" }                      -        -      the bridge of a network\n'
        "    inet atoll  any4  { tcp . 8080 : 172.17.0.2 . 80 }  12       720    published\n"
    ) in out
    assert "           1       60 MASQUERADE  all\n" in out
    assert (
        "    bridge name  bridge id  STP enabled  interfaces\n"
        "    atoll0                  no           av1\n"
        "                                         av2\n"
        "    a1-1                    no           av3\n"
    ) in out
    assert "    inet atoll  postrouting  7        420    masquerade\n" in out


def test_rules_of_one_network(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["GET /atoll/rules"] = (200, RULES)
    assert atoll("rules front") == 0
    out = capsys.readouterr().out
    assert "at-1" in out
    assert "atoll0" not in out
    assert atoll("rules back") == 1


def test_version_with_and_without_a_daemon(atoll: Atoll, daemon: Exchange, capsys: Captured, tmp_path: Path) -> None:
    daemon.answers["GET /version"] = (200, {"Version": "9.9", "ApiVersion": "1.50", "MinAPIVersion": "1.24"})
    assert atoll("version") == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["daemon       9.9", "docker api   1.50 (oldest 1.24)"]
    assert atoll("version --format '{{.Server.Version}}'") == 0
    assert capsys.readouterr().out == "9.9\n"
    assert main(["--socket", str(tmp_path / "none"), "version"]) == 0
    assert "not running" in capsys.readouterr().out


def test_detail_is_for_those_who_ask(atoll: Atoll, daemon: Exchange, capsys: Captured) -> None:
    daemon.answers["GET /networks/a"] = (500, {"message": "m", "hint": "", "detail": "line 1\nline 2"})
    assert atoll("network inspect a") == 1
    assert capsys.readouterr().err == "atoll: m\n"
    assert atoll("network inspect --verbose a") == 1
    assert capsys.readouterr().err == "atoll: m\n  detail: line 1\n  detail: line 2\n"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("network create --gateway 10.0.0.1 x", "10.0.0.1"),
        ("network create --subnet 10.0.0.0/8 --subnet 11.0.0.0/8 --gateway 12.0.0.1 x", "12.0.0.1"),
        ("network create --subnet 10.0.0.0/8 --gateway 10.0.0.1 --gateway 10.0.0.2 x", "10.0.0.2"),
        ("network create --subnet 10.0.0.0/8 --subnet nonsense --gateway 12.0.0.1 x", "nonsense"),
        ("network create -o =x y", "=x"),
        ("network ls -f driver", "driver"),
        ("network ls --format '{{.Nme}}'", "Nme"),
        ("network inspect --format 'table {{.Name}}' a", "list"),
        ("sandbox create x --network front,color=red", "color"),
        ("sandbox create x --network front,10.0.0.1", "10.0.0.1"),
        ("sandbox create x --network front,gw-priority=high", "high"),
        ("sandbox create x --network ip=10.0.0.1", "ip=10.0.0.1"),
        ("sandbox create x --network host --network front", "front"),
        ("sandbox create x --network host,ip=10.0.0.1", "host"),
        ("sandbox create x --network 'front,\"ip=1'", "front"),
        ("events --since yesterday", "yesterday"),
    ],
)
def test_bad_values_are_named_before_anything_is_sent(
    atoll: Atoll, daemon: Exchange, capsys: Captured, line: str, named: str
) -> None:
    daemon.answers["GET /networks"] = (200, NETWORKS)
    daemon.answers["GET /networks/a"] = (200, {"Name": "a"})
    assert atoll(line) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("atoll: ")
    assert named in shown.err
    assert [request for request in daemon.requests if request[0] != "GET"] == []


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("", "usage: atoll"),
        ("network", "usage: atoll network"),
        ("netwrok ls", "unknown command 'netwrok'"),
        ("network lst", "unknown command 'lst'"),
        ("network create", "NAME"),
        ("network create --bogus x", "unknown argument --bogus"),
        ("network create --inter x", "unknown argument --inter"),
        ("network rm", "NETWORK"),
        ("network connect front", "SANDBOX"),
        ("network connect --gw-priority high front web", "high"),
        ("sandbox create x --pid 1 --netns /n", "--netns"),
        ("sandbox create x --pid one", "one"),
        ("sandbox exec web", "COMMAND"),
        ("completion tcsh", "tcsh"),
        ("port", "SANDBOX"),
    ],
)
def test_usage_errors_exit_2(atoll: Atoll, capsys: Captured, line: str, named: str) -> None:
    try:
        status = atoll(line)
    except SystemExit as exit:
        assert isinstance(exit.code, int)
        status = exit.code
    assert status == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert named in shown.err


def test_socket_from_the_environment(daemon: Exchange, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.answers["GET /networks"] = (200, NETWORKS)
    monkeypatch.setenv("ATOLL_SOCKET", str(daemon.socket))
    assert main(["network", "ls", "-q"]) == 0
    assert main(["--socket", "/nonexistent", "network", "ls"]) == 1
    assert main(["network", "ls", "--socket", "/nonexistent"]) == 1
    assert "/nonexistent" in capsys.readouterr().err
