"""atoll's API held to a real dockerd's, both asked the same at version 1.41: bodies, types, statuses, messages."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemon import Answer, DaemonHost, daemon_host
from tests.support.dockerd import PINNED, Dockerd, dockerd

MTU = "com.docker.network.driver.mtu"
ICC = "com.docker.network.bridge.enable_icc"
CREATE = "/networks/create"


@dataclass
class Both:
    """Two engines with the same networks; "one" is a container here and a sandbox there."""

    docker: Dockerd
    atoll: DaemonHost

    def ask(self, method: str, target: str, body: Any = None, **options: Any) -> tuple[Answer, Answer]:
        """dockerd's answer and atoll's."""
        path = target if target.startswith("/v") else PINNED + target
        return (
            self.docker.ask(method, path, body, **options),
            self.atoll.ask(method, path, body, **options),
        )


def ipam(*pools: dict[str, Any]) -> dict[str, Any]:
    return {"Driver": "default", "Options": {}, "Config": list(pools)}


NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {"IPAM": ipam()},
    "v4": {"IPAM": ipam({"Subnet": "10.41.0.0/24", "Gateway": "10.41.0.1"})},
    "dual": {
        "EnableIPv6": True,
        "IPAM": ipam(
            {"Subnet": "10.42.0.0/24", "Gateway": "10.42.0.1"}, {"Subnet": "fd00:42::/64", "Gateway": "fd00:42::1"}
        ),
    },
    "closed": {"Internal": True, "IPAM": ipam({"Subnet": "10.43.0.0/24", "Gateway": "10.43.0.1"})},
    "labelled": {
        "Attachable": True,
        "Labels": {"colour": "red", "empty": ""},
        "IPAM": ipam({"Subnet": "10.44.0.0/24", "Gateway": "10.44.0.254"}),
    },
    "optioned": {
        "Options": {MTU: "1400", ICC: "false", "com.example.unknown": "kept"},
        "IPAM": {**ipam({"Subnet": "10.45.0.0/24", "Gateway": "10.45.0.1"}), "Options": {"note": "kept"}},
    },
    "ranged": {
        "IPAM": ipam(
            {
                "Subnet": "10.46.0.0/16",
                "IPRange": "10.46.128.0/24",
                "Gateway": "10.46.0.1",
                "AuxiliaryAddresses": {"printer": "10.46.128.1", "camera": "10.46.128.7"},
            }
        )
    },
}
PREDEFINED = ("bridge", "host", "none")


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    assert "IPAM" in NETWORKS["plain"]
    with dockerd("dk") as docker, daemon_host("dk-atoll") as atoll:
        for engine_must in (docker.must, lambda *args: atoll.must(args[0], PINNED + args[1], *args[2:])):
            for name, body in NETWORKS.items():
                engine_must("POST", CREATE, {"Name": name, **body})
        docker.run_container("one", {"dual": {"IPAMConfig": {"IPv4Address": "10.42.0.9"}}})
        endpoint = {"Network": "dual", "IPv4Address": "10.42.0.9"}
        atoll.must("POST", "/atoll/sandboxes/create", {"Name": "one", "Endpoints": [endpoint]})
        yield Both(docker, atoll)


def shape(value: Any) -> Any:
    """Keys and JSON types."""
    match value:
        case dict():
            return {key: shape(item) for key, item in sorted(value.items())}
        case list():
            return [shape(item) for item in value]
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case None:
            return "null"
        case _:
            return "string"


def plain(body: Any) -> Any:
    """A body without what is chosen at random, or by the clock."""
    if isinstance(body, dict):
        kept = {key if not re.fullmatch("[0-9a-f]{64}", key) else "ID": plain(value) for key, value in body.items()}
        return {key: "*" if key in {"Id", "Created", "EndpointID"} else value for key, value in kept.items()}
    return [plain(item) for item in body] if isinstance(body, list) else body


@pytest.mark.parametrize("name", NETWORKS)
def test_inspect_equals_dockerds(both: Both, name: str) -> None:
    theirs, ours = (answer.body for answer in both.ask("GET", f"/networks/{name}"))
    assert shape(plain(ours)) == shape(plain(theirs))
    if name == "plain":  # which subnet is free differs
        theirs, ours = ({**body, "IPAM": None} for body in (theirs, ours))
    assert plain(ours) == plain(theirs)
    for body in (theirs, ours):
        assert re.fullmatch("[0-9a-f]{64}", body["Id"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", body["Created"])


@pytest.mark.parametrize("name", PREDEFINED)
def test_inspect_of_a_predefined_network_equals_dockerds(both: Both, name: str) -> None:
    theirs, ours = (plain(answer.body) for answer in both.ask("GET", f"/networks/{name}"))
    # What 20.10 shows as the default bridge's gateway depends on whether its bridge was there before it.
    for config in theirs["IPAM"]["Config"]:
        config.setdefault("Gateway", config["Subnet"].replace("0.0/16", "0.1"))
    theirs["Options"] |= {"com.docker.network.bridge.name": "atoll0"} if name == "bridge" else {}
    assert ours == theirs


def test_members_are_shown_as_dockerd_does(both: Both) -> None:
    theirs, ours = (plain(answer.body)["Containers"] for answer in both.ask("GET", "/networks/dual"))
    assert ours == theirs
    assert ours["ID"]["IPv4Address"] == "10.42.0.9/24"


def test_lists_equal_dockerds(both: Both) -> None:
    theirs, ours = (answer.body for answer in both.ask("GET", "/networks"))
    by_name = [{network["Name"]: network for network in networks} for networks in (theirs, ours)]
    assert by_name[0].keys() == by_name[1].keys() == {*NETWORKS, *PREDEFINED}
    for name in ("v4", "dual", "ranged", "host"):
        assert plain(by_name[1][name]) == plain(by_name[0][name])


def test_what_is_not_asked_for_is_shown_where_dockerd_leaves_it_out(both: Both) -> None:
    """The two differences in a body, each on purpose: a chosen gateway is shown, and absent IPAM options are {}."""
    body = {"Name": "bare", "IPAM": {"Config": [{"Subnet": "10.47.0.0/24"}]}}
    both.ask("POST", CREATE, body)
    theirs, ours = (answer.body["IPAM"] for answer in both.ask("GET", "/networks/bare"))
    both.ask("DELETE", "/networks/bare")
    assert theirs == {"Driver": "default", "Options": None, "Config": [{"Subnet": "10.47.0.0/24"}]}
    assert ours == {
        "Driver": "default",
        "Options": {},
        "Config": [{"Subnet": "10.47.0.0/24", "Gateway": "10.47.0.1"}],
    }


@pytest.mark.parametrize(
    "filters",
    [
        {"driver": ["bridge"]},
        {"driver": {"host": True, "null": True}},
        {"name": ["l"]},
        {"name": ["^du"]},
        {"name": {"dual": True, "v4": True}},
        {"label": ["colour"]},
        {"label": ["colour=red", "empty"]},
        {"label": ["colour=blue"]},
        {"type": ["custom"]},
        {"type": {"builtin": True}},
        {"scope": ["local"]},
        {"scope": ["swarm"]},
        {"id": ["zz"]},
        {"driver": ["bridge"], "name": ["o"]},
    ],
    ids=str,
)
def test_filters_let_the_same_networks_through(both: Both, filters: dict[str, Any]) -> None:
    theirs, ours = both.ask("GET", f"/networks?filters={quote(json.dumps(filters))}")
    assert {network["Name"] for network in ours.body} == {network["Name"] for network in theirs.body}


def test_dangling_networks_are_those_that_nobody_uses(both: Both) -> None:
    """20.10 asks before it has counted the members, and so calls networks in use dangling too."""
    for value, used in (("true", False), ("false", True)):
        theirs, ours = both.ask("GET", filtered(f'{{"dangling": ["{value}"]}}'))
        names = [{network["Name"] for network in answer.body} for answer in (theirs, ours)]
        assert names[0] ^ names[1] == {"dual"}
        assert ("dual" in names[1]) is used


@dataclass(frozen=True)
class Call:
    """A request and what both answer. `theirs` is dockerd's status where it differs, with the reason in `why`."""

    method: str
    target: str
    status: int
    body: Any = None
    theirs: int = 0
    why: str = ""
    message: bool = False
    """The messages are the same, too."""


SLOPPY = "dockerd answers 500 to what the caller got wrong"


def create(status: int, **options: Any) -> Call:
    known = ("theirs", "why", "message")
    rest = {key: options.pop(key) for key in known if key in options}
    return Call("POST", CREATE, status, options, **rest)


def filtered(text: str) -> str:
    return f"/networks?filters={quote(text)}"


def prune(text: str) -> str:
    return f"/networks/prune?filters={quote(text)}"


CALLS = [
    Call("GET", "/networks/absent", 404, message=True),
    Call("DELETE", "/networks/absent", 404, message=True),
    Call("DELETE", "/networks/bridge", 403, message=True),
    Call("DELETE", "/networks/host", 403, message=True),
    Call("DELETE", "/networks/dual", 403),
    Call("GET", "/nope", 404, message=True),
    Call("PUT", "/networks/bridge", 404, message=True),
    Call("DELETE", "/networks", 404, message=True),
    Call("GET", "/v1.99/networks", 400),
    Call("GET", "/v1.9/networks", 400),
    Call("GET", filtered('{"colour":["x"]}'), 400),
    Call("GET", filtered('{"dangling":["x"]}'), 400),
    Call("GET", filtered("nonsense"), 400, theirs=500, why=SLOPPY),
    Call("GET", filtered('{"type":["x"]}'), 400, theirs=500, why=SLOPPY),
    Call("GET", filtered('{"name":"x"}'), 400, theirs=500, why=SLOPPY),
    create(400, theirs=500, why=SLOPPY),
    create(400, Name=5),
    create(400, Name="x", Internal="yes"),
    create(400, Name="x", IPAM={"Config": "here"}),
    create(403, Name="bridge"),
    create(409, Name="dual", CheckDuplicate=True, message=True),
    create(400, Name="a/b", theirs=201, why="names reach file names and people's shells"),
    create(403, Name="x", Driver="host", message=True),
    create(403, Name="x", Driver="null", message=True),
    create(403, Name="x", Scope="swarm"),
    create(403, Name="x", Ingress=True),
    create(403, Name="x", IPAM=ipam({"Subnet": "10.42.0.0/25"})),
    create(400, Name="x", IPAM=ipam({"Subnet": "10.48.0.0"}), theirs=500, why=SLOPPY),
    create(400, Name="x", IPAM=ipam({"Subnet": "10.48.0.0/24", "Gateway": "10.49.0.1"}), theirs=500, why=SLOPPY),
    create(400, Name="x", IPAM=ipam({"Subnet": "10.48.0.0/24", "Gateway": "door"}), theirs=500, why=SLOPPY),
    create(400, Name="x", IPAM=ipam({"Subnet": "10.48.0.0/24", "IPRange": "x"}), theirs=500, why=SLOPPY),
    create(400, Name="x", IPAM=ipam({"Gateway": "10.48.0.1"}), theirs=500, why=SLOPPY),
    create(400, Name="x", Options={MTU: "jumbo"}, theirs=500, why=SLOPPY),
    create(400, Name="x", Options={ICC: "maybe"}, theirs=500, why=SLOPPY),
    create(501, Name="x", ConfigOnly=True, theirs=201, why="not built yet, and said so"),
    Call("POST", "/networks/dual/connect", 403, {"Container": "one"}, message=True),
    Call("POST", "/networks/host/connect", 400, {"Container": "one"}, message=True),
    Call("POST", "/networks/none/connect", 400, {"Container": "one"}, message=True),
    Call("POST", "/networks/dual/connect", 404, {"Container": "absent"}),
    Call("POST", "/networks/dual/connect", 400, {"Container": ""}),
    Call("POST", "/networks/dual/connect", 400, {"Container": 5}),
    Call("POST", "/networks/dual/disconnect", 404, {"Container": "absent"}),
    Call("POST", "/networks/v4/disconnect", 403, {"Container": "one"}, theirs=500, why=SLOPPY),
    Call(
        "POST",
        "/networks/v4/connect",
        400,
        {"Container": "one", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.99.0.9"}}},
        theirs=500,
        why=SLOPPY,
    ),
    Call("GET", "/events?since=9&until=5", 400, message=True),
    Call("GET", "/events?since=yesterday", 400, theirs=500, why=SLOPPY),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.target} {call.body or ''}"[:90])
def test_statuses_equal_dockerds_but_where_it_is_wrong(both: Both, call: Call) -> None:
    theirs, ours = both.ask(call.method, call.target, call.body)
    if theirs.status == 201:
        both.docker.must("DELETE", f"/networks/{theirs.body['Id']}")
    assert ours.status == call.status, ours.body
    assert theirs.status == (call.theirs or call.status), theirs.body
    if call.theirs:
        assert call.why
    if call.message:
        assert ours.message == theirs.message
    assert set(ours.body) == {"message"}


def test_good_calls_are_answered_alike(both: Both) -> None:
    """One network's life."""
    wanted = {"Name": "life", "IPAM": ipam({"Subnet": "10.50.0.0/24"})}
    steps = [
        ("POST", CREATE, wanted, 201),
        ("POST", "/networks/life/connect", {"Container": "one"}, 200),
        ("POST", "/networks/life/disconnect", {"Container": "one"}, 200),
        ("DELETE", "/networks/life", None, 204),
        ("POST", CREATE, wanted, 201),
        ("POST", prune('{"label!": {"colour": true}, "until": {"24h": true}}'), None, 200),
        ("POST", prune('{"label": ["absent"]}'), None, 200),
        ("DELETE", "/networks/life", None, 204),
    ]
    for method, target, body, status in steps:
        theirs, ours = both.ask(method, target, body)
        assert ours.status == theirs.status == status, (method, target, theirs, ours)
        assert shape(ours.body) == shape(theirs.body)
        assert ours.headers.get("Content-Type") == theirs.headers.get("Content-Type"), (method, target)


def test_events_are_told_alike(both: Both) -> None:
    since = int(time.time())
    for method, target, body in (
        ("POST", CREATE, {"Name": "told"}),
        ("POST", "/networks/told/connect", {"Container": "one"}),
        ("POST", "/networks/told/disconnect", {"Container": "one"}),
        ("DELETE", "/networks/told", None),
    ):
        both.ask(method, target, body)
    filters = quote('{"type": {"network": true}}')
    theirs, ours = both.ask("GET", f"/events?since={since}&until={int(time.time()) + 1}&filters={filters}")
    told = [[json.loads(line) for line in lines(answer)] for answer in (theirs, ours)]
    told = [[event for event in events if event["Actor"]["Attributes"].get("name") == "told"] for events in told]
    assert [event["Action"] for event in told[1]] == ["create", "connect", "disconnect", "destroy"]
    # dockerd tells a disconnect twice.
    shapes = [{event["Action"]: shape(event) for event in events} for events in told]
    assert shapes[1] == shapes[0]
    assert ours.headers["Content-Type"] == theirs.headers["Content-Type"]


def lines(answer: Answer) -> list[str]:
    text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
    return [line for line in text.splitlines() if line]


def test_ping_has_dockerds_headers(both: Both) -> None:
    for method in ("GET", "HEAD"):
        theirs, ours = both.docker.ask(method, "/_ping"), both.atoll.ask(method, "/_ping")
        assert ours.status == theirs.status == 200
        assert theirs.headers.keys() - {"Content-Length"} <= ours.headers.keys()
        for name in ("Cache-Control", "Content-Type", "Docker-Experimental", "Ostype", "Pragma"):
            assert ours.headers[name] == theirs.headers[name], name


@pytest.mark.parametrize("target", ["/info", "/version"])
def test_fields_have_dockerds_types(both: Both, target: str) -> None:
    """Not all of them are there, but those that are can be read by the same clients."""
    theirs, ours = both.ask("GET", target)
    assert ours.status == theirs.status == 200
    for name, value in ours.body.items():
        assert name in theirs.body, name
        if value is not None and theirs.body[name] is not None:
            assert type(value) is type(theirs.body[name]), name
