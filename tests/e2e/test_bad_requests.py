"""Bad requests: each is refused with its status and a message that names the value, and nothing has changed."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemon import DaemonHost, daemon_host

MTU = "com.docker.network.driver.mtu"
BRIDGE_NAME = "com.docker.network.bridge.name"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv4"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
INJECTION = 'x" }; flush ruleset; add table inet evil; #'
CREATE = "/networks/create"
SANDBOX = "/atoll/sandboxes/create"


@dataclass(frozen=True)
class Bad:
    """A request, the status that answers it, and what the message has to name."""

    case: str
    method: str
    target: str
    status: int
    names: tuple[str, ...]
    body: Any = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def post(case: str, target: str, status: int, *names: str, **body: Any) -> Bad:
    return Bad(case, "POST", target, status, names, body)


def raw(case: str, target: str, status: int, *names: str, content: bytes, **headers: str) -> Bad:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Bad(case, "POST", target, status, names, raw=content, headers=sent)


def get(case: str, target: str, status: int, *names: str, method: str = "GET") -> Bad:
    return Bad(case, method, target, status, names)


def pool(case: str, status: int, *names: str, more: dict[str, Any] | None = None, **config: Any) -> Bad:
    """A network with one pool."""
    return post(case, CREATE, status, *names, Name="fresh", IPAM={"Config": [config]}, **(more or {}))


def option(case: str, status: int, key: str, value: str, *names: str) -> Bad:
    return post(case, CREATE, status, *names, value[:20], Name="fresh", Options={key: value})


def publish(case: str, status: int, spec: str, *names: str) -> Bad:
    return post(case, SANDBOX, status, *names, Name="fresh", Publish=[spec])


def on_network(case: str, status: int, *names: str, network: str = "used", **endpoint: Any) -> Bad:
    return post(case, SANDBOX, status, *names, Name="fresh", Endpoints=[{"Network": network, **endpoint}])


def connect(case: str, status: int, *names: str, network: str = "other", container: Any = "web", **config: Any) -> Bad:
    target = f"/networks/{network}/connect"
    return post(case, target, status, *names, Container=container, EndpointConfig=config)


NAMES = [
    post("no name", CREATE, 400, "name"),
    post("empty name", CREATE, 400, "name", Name=""),
    post("name with a slash", CREATE, 400, "a/b", Name="a/b"),
    post("name with a space", CREATE, 400, "a b", Name="a b"),
    post("name that begins with a dash", CREATE, 400, "-rf", Name="-rf"),
    post("name that climbs", CREATE, 400, "../../etc", Name="../../etc"),
    post("name with a newline", CREATE, 400, "\\n", Name="a\nb"),
    post("name with nft in it", CREATE, 400, "flush ruleset", Name=INJECTION),
    post("endless name", CREATE, 400, "300 characters", Name="x" * 300),
    post("name like an id", CREATE, 400, "a" * 64, Name="a" * 64),
    post("name taken", CREATE, 409, "used", Name="used"),
    post("predefined name", CREATE, 403, "bridge", Name="bridge"),
    post("sandbox without a name", SANDBOX, 400, "name"),
    post("sandbox name with nft in it", SANDBOX, 400, "flush ruleset", Name=INJECTION),
    post("sandbox name that climbs", SANDBOX, 400, "../x", Name="../x"),
    post("sandbox name taken", SANDBOX, 409, "web", Name="web"),
    on_network("alias with a space", 400, "a b", Aliases=["a b"]),
]

DRIVERS = [
    post("unknown driver", CREATE, 404, 'plugin "weave" not found', Name="fresh", Driver="weave"),
    post("unknown ipam driver", CREATE, 404, 'plugin "dhcp" not found', Name="fresh", IPAM={"Driver": "dhcp"}),
    post("second host network", CREATE, 403, "host", Name="fresh", Driver="host"),
    post("second null network", CREATE, 403, "null", Name="fresh", Driver="null"),
    post("unknown scope", CREATE, 400, "galaxy", Name="fresh", Scope="galaxy"),
    post("swarm scope", CREATE, 403, "swarm", Name="fresh", Scope="swarm"),
    post("ingress", CREATE, 403, "fresh", Name="fresh", Ingress=True),
    post("configuration only", CREATE, 501, "fresh", Name="fresh", ConfigOnly=True),
    post("configuration from", CREATE, 501, "fresh", Name="fresh", ConfigFrom={"Network": "used"}),
    post("no family", CREATE, 400, "IPv4, IPv6", Name="fresh", EnableIPv4=False),
]

POOLS = [
    pool("subnet without a length", 400, "10.70.0.0", Subnet="10.70.0.0"),
    pool("subnet that is none", 400, "many addresses", Subnet="many addresses"),
    pool("subnet with nft in it", 400, "flush ruleset", Subnet=INJECTION),
    pool("subnet of an endless length", 400, "10.70.0.0/33", Subnet="10.70.0.0/33"),
    pool("subnet of everything", 400, "0.0.0.0/0", Subnet="0.0.0.0/0"),
    pool("loopback subnet", 400, "127.0.0.0/8", Subnet="127.0.0.0/8"),
    pool("multicast subnet", 400, "224.0.0.0/24", Subnet="224.0.0.0/24"),
    pool("link-local IPv6 subnet", 400, "fe80::/64", Subnet="fe80::/64", more={"EnableIPv6": True}),
    pool("subnet of another network", 403, "10.60.0.0/25", Subnet="10.60.0.0/25"),
    pool("IPv6 subnet of another network", 403, "fd00:60::/64", Subnet="fd00:60::/64", more={"EnableIPv6": True}),
    pool("subnet around another network", 403, "10.0.0.0/8", Subnet="10.0.0.0/8"),
    pool("subnet of a host interface", 403, "10.99.0.0/24", Subnet="10.99.0.0/24"),
    pool("subnet of one address", 400, "10.70.0.0/32", "endpoint", Subnet="10.70.0.0/32"),
    pool("IPv6 subnet of one address", 400, "fd70::/128", Subnet="fd70::/128", more={"EnableIPv6": True}),
    pool("IPv6 subnet of two addresses", 400, "fd70::/127", Subnet="fd70::/127", more={"EnableIPv6": True}),
    pool("gateway outside", 400, "10.71.0.1", Subnet="10.70.0.0/24", Gateway="10.71.0.1"),
    pool("gateway that is none", 400, "door", Subnet="10.70.0.0/24", Gateway="door"),
    pool("gateway of the other family", 400, "fd00::1", Subnet="10.70.0.0/24", Gateway="fd00::1"),
    pool("broadcast as gateway", 400, "10.70.0.255", Subnet="10.70.0.0/24", Gateway="10.70.0.255"),
    pool("gateway without a subnet", 400, "10.70.0.1", Gateway="10.70.0.1"),
    pool("range outside", 400, "10.71.0.0/25", Subnet="10.70.0.0/24", IPRange="10.71.0.0/25"),
    pool("range larger than the subnet", 400, "10.70.0.0/16", Subnet="10.70.0.0/24", IPRange="10.70.0.0/16"),
    pool("range that is none", 400, "10.70.0.x", Subnet="10.70.0.0/24", IPRange="10.70.0.x"),
    pool("auxiliary outside", 400, "10.71.0.9", Subnet="10.70.0.0/24", AuxiliaryAddresses={"a": "10.71.0.9"}),
    pool("auxiliary that is none", 400, "nine", Subnet="10.70.0.0/24", AuxiliaryAddresses={"a": "nine"}),
    post(
        "two subnets of one family",
        CREATE,
        400,
        "10.70.0.0/24",
        "10.71.0.0/24",
        Name="fresh",
        IPAM={"Config": [{"Subnet": "10.70.0.0/24"}, {"Subnet": "10.71.0.0/24"}]},
    ),
]

OPTIONS = [
    option("MTU that is none", 400, MTU, "jumbo"),
    option("negative MTU", 400, MTU, "-1"),
    option("MTU too small", 400, MTU, "67"),
    option("MTU too large", 400, MTU, "65536"),
    option("bridge name too long", 400, BRIDGE_NAME, "sixteen-letters-"),
    option("bridge name with nft in it", 400, BRIDGE_NAME, 'x"; flush'),
    option("bridge name that climbs", 400, BRIDGE_NAME, "../all"),
    option("bridge name 'all'", 400, BRIDGE_NAME, "all"),
    option("bridge name of another network", 403, BRIDGE_NAME, "br-used"),
    option("bridge name of a foreign link", 403, BRIDGE_NAME, "uplink"),
    option("icc maybe", 400, ICC, "maybe"),
    option("masquerade maybe", 400, MASQUERADE, "sometimes"),
    option("gateway mode that does not exist", 400, GATEWAY_MODE, "bridged"),
    option("isolated without internal", 400, GATEWAY_MODE, "isolated"),
    option("multicast host binding", 400, HOST_BINDING, "224.0.0.1", "multicast"),
    option("host binding that is no address", 400, HOST_BINDING, "everywhere"),
]

REFERENCES = [
    get("inspect an unknown network", "/networks/absent", 404, "absent"),
    get("remove an unknown network", "/networks/absent", 404, "absent", method="DELETE"),
    get("remove a predefined network", "/networks/bridge", 403, "bridge", method="DELETE"),
    get("remove a network in use", "/networks/used", 403, "used", "web", method="DELETE"),
    get("inspect nft", f"/networks/{quote(INJECTION, safe='')}", 404, "flush ruleset"),
    get("inspect an unknown sandbox", "/atoll/sandboxes/absent", 404, "absent"),
    get("remove an unknown sandbox", "/atoll/sandboxes/absent", 404, "absent", method="DELETE"),
    get("remove a sandbox that others share", "/atoll/sandboxes/web", 403, "web", "member", method="DELETE"),
    connect("connect to an unknown network", 404, "absent", network="absent"),
    connect("connect an unknown sandbox", 404, "absent", container="absent"),
    connect("connect nobody", 400, '""', container=""),
    connect("connect twice", 403, "web", "used", network="used"),
    connect("connect a joined sandbox", 403, "member", container="member"),
    connect("connect a sandbox of the host", 403, "hostly", container="hostly"),
    connect("connect to the host network", 400, "host", network="host"),
    post("disconnect the unconnected", "/networks/other/disconnect", 403, "web", "other", Container="web"),
    post("disconnect an unknown sandbox", "/networks/used/disconnect", 404, "absent", Container="absent"),
    post("allow an unknown network", "/atoll/networks/used/allow", 404, "absent", Target="absent"),
    post("allow nobody", "/atoll/networks/used/allow", 400, "Target", Target=""),
    post("allow itself", "/atoll/networks/used/allow", 400, "used", Target="used"),
    post("allow the host network", "/atoll/networks/used/allow", 400, "host", Target="host"),
]

ADDRESSES = [
    connect("address that is none", 400, "10.61.0.x", IPAMConfig={"IPv4Address": "10.61.0.x"}),
    connect("address outside the subnet", 400, "10.62.0.9", IPAMConfig={"IPv4Address": "10.62.0.9"}),
    connect("address of the other family", 400, "fd00::9", IPAMConfig={"IPv4Address": "fd00::9"}),
    connect("address of a family that is off", 400, "fd00:61::9", IPAMConfig={"IPv6Address": "fd00:61::9"}),
    connect("link-local address", 501, "169.254.9.9", IPAMConfig={"LinkLocalIPs": ["169.254.9.9"]}),
    connect("link", 501, "db:database", Links=["db:database"]),
    connect("MAC that is none", 400, "02:42", MacAddress="02:42"),
    connect("multicast MAC", 400, "03:42:0a:00:00:09", MacAddress="03:42:0a:00:00:09"),
    connect("endless priority", 400, str(2**40), GwPriority=2**40),
    on_network("address of another sandbox", 403, "10.60.0.7", "web", IPv4Address="10.60.0.7"),
    on_network("address of the gateway", 400, "10.60.0.1", IPv4Address="10.60.0.1"),
    on_network("auxiliary address", 403, "10.60.0.9", IPv4Address="10.60.0.9"),
    on_network("network address", 400, "10.60.0.0", IPv4Address="10.60.0.0"),
    on_network("broadcast address", 400, "10.60.0.255", IPv4Address="10.60.0.255"),
    on_network("MAC of another sandbox", 403, "02:42:0a:3c:00:07", MacAddress="02:42:0a:3c:00:07"),
    on_network("interface name with nft in it", 400, "flush", Ifname='x"; flush'),
    on_network("interface name too long", 400, "sixteen-letters-", Ifname="sixteen-letters-"),
    on_network("address on the none network", 400, "10.60.0.8", network="none", IPv4Address="10.60.0.8"),
    on_network("unknown network", 404, "absent", network="absent"),
]

PORTS = [
    publish("port that is none", 400, "http", "http"),
    publish("port 0", 400, "8080:0", "8080:0"),
    publish("port too large", 400, "8080:65536", "65536"),
    publish("ranges of different lengths", 400, "8000-8010:80-81", "8000-8010:80-81"),
    publish("backward range", 400, "90-80:90-80", "90-80"),
    publish("unknown protocol", 400, "8080:80/icmp", "icmp"),
    publish("address without a port", 400, "10.0.0.1:80", "10.0.0.1"),
    publish("port with nft in it", 400, '8080:80"; flush', "flush"),
    publish("address that the host has not", 400, "10.98.0.1:8090:80", "10.98.0.1"),
    publish("broadcast host address", 400, "255.255.255.255:8090:80", "255.255.255.255", "broadcast"),
    publish("broadcast address of a network", 400, "10.99.0.255:8090:80", "10.99.0.255", "broadcast"),
    publish("long range at a network's broadcast address", 400, "10.99.0.255:8100-8500:8100-8500", "broadcast"),
    publish("multicast host address", 400, "239.1.2.3:8090:80", "239.1.2.3", "multicast"),
    publish("IPv6 multicast address", 400, "[ff02::1]:8090:80", "ff02::1", "multicast"),
    publish("address of this network", 400, "0.0.0.7:8090:80", "0.0.0.7", "this network"),
    publish("zero in other words", 400, "0:8090:80", "0:8090:80"),
    publish("IPv4-mapped zero", 400, "[::ffff:0.0.0.0]:8090:80", "::ffff:0.0.0.0"),
    publish("port held by a sandbox", 409, "8080:80", "8080", "web"),
    publish("port held by a range of a sandbox", 409, "9050:80", "9050"),
    post("port asked for twice", SANDBOX, 400, "8081", Name="fresh", Publish=["8081:80", "8081:81"]),
]

NAMESPACES = [
    post("missing namespace", SANDBOX, 400, "/run/netns/absent", Name="fresh", NetnsPath="/run/netns/absent"),
    post("file that is no namespace", SANDBOX, 400, "/etc/hostname", Name="fresh", NetnsPath="/etc/hostname"),
    post("directory as a namespace", SANDBOX, 400, "/etc", Name="fresh", NetnsPath="/etc"),
    post("pid that nobody has", SANDBOX, 400, "4194304", Name="fresh", Pid=4194304),
    post("negative pid", SANDBOX, 400, "-1", Name="fresh", Pid=-1),
    post("path and pid", SANDBOX, 400, "--netns", "--pid", Name="fresh", NetnsPath="/proc/1/ns/net", Pid=1),
    post("join nobody", SANDBOX, 400, "container:", Name="fresh", NetworkMode="container:"),
    post("join an unknown sandbox", SANDBOX, 404, "absent", Name="fresh", NetworkMode="container:absent"),
    post("unknown mode", SANDBOX, 400, "private", Name="fresh", NetworkMode="private"),
    post("publish of a joined", SANDBOX, 400, "web", Name="fresh", NetworkMode="container:web", Publish=["81:81"]),
    post("publish on the host network", SANDBOX, 400, "host", Name="fresh", NetworkMode="host", Publish=["81:81"]),
]

BODIES = [
    raw("no body", CREATE, 400, "no body", content=b""),
    raw("cut JSON", CREATE, 400, '{"Name": "fr', content=b'{"Name": "fr'),
    raw("two values", CREATE, 400, "{}{}", content=b"{}{}"),
    raw("not UTF-8", CREATE, 400, "JSON", content=b'{"Name": "\xff"}'),
    raw("a list", CREATE, 400, "[]", content=b"[]"),
    raw("a number", CREATE, 400, "7", content=b"7"),
    raw("nesting", CREATE, 400, "nested", content=b"[" * 100_000),
    raw("plain text", CREATE, 400, "text/plain", content=b'{"Name": "fresh"}', Content_Type="text/plain"),
    raw("huge body", CREATE, 413, "1048576", content=json.dumps({"Name": "x" * (2 << 20)}).encode()),
    raw("huge sandbox", SANDBOX, 413, "1048576", content=b" " * (2 << 20)),
    post("number for a name", CREATE, 400, "Name", "5", Name=5),
    post("text for a boolean", CREATE, 400, "Internal", "yes", Name="fresh", Internal="yes"),
    post("text for a list", CREATE, 400, "IPAM.Config", "here", Name="fresh", IPAM={"Config": "here"}),
    post("number for a label", CREATE, 400, "Labels", "1", Name="fresh", Labels={"a": 1}),
    post("list of options", CREATE, 400, "Options", Name="fresh", Options=["a=b"]),
    post("number for a subnet", CREATE, 400, "IPAM.Config[0].Subnet", Name="fresh", IPAM={"Config": [{"Subnet": 10}]}),
    post("number for a port", SANDBOX, 400, "Publish[0]", "80", Name="fresh", Publish=[80]),
    post("text for a pid", SANDBOX, 400, "Pid", "one", Name="fresh", Pid="one"),
    connect("number for a sandbox", 400, "Container", "5", container=5),
    post("text for force", "/networks/used/disconnect", 400, "Force", "no", Container="web", Force="no"),
]


def filtered(case: str, target: str, filters: str, *names: str, method: str = "GET") -> Bad:
    return get(case, f"{target}?filters={quote(filters)}", 400, *names, method=method)


QUERIES = [
    get("version too new", "/v1.99/networks", 400, "1.99", "too new", "1.50"),
    get("version too old", "/v1.9/networks", 400, "1.9", "too old", "1.24"),
    get("version that is none", "/v1.2.3/networks", 400, "1.2.3"),
    get("unknown route", "/v1.44/nets", 404, "page not found"),
    get("wrong method", "/networks", 404, "page not found", method="DELETE"),
    get("containers that are none", "/v1.44/containers/absent/json", 404, "absent"),
    get("swarm", "/swarm", 501, "/swarm"),
    filtered("filters that are no JSON", "/networks", "name=x", "name=x"),
    filtered("filters that are a list", "/networks", '["name"]', '["name"]'),
    filtered("unknown filter", "/networks", '{"colour": ["red"]}', "colour"),
    filtered("filter without a list", "/networks", '{"name": "x"}', "name", "x"),
    filtered("filter type", "/networks", '{"type": ["odd"]}', "odd"),
    filtered("filter dangling", "/networks", '{"dangling": ["perhaps"]}', "perhaps"),
    filtered("filter that could take for ever", "/networks", '{"name": ["(a+)+$"]}', "(a+)+$"),
    filtered("prune filter", "/networks/prune", '{"name": ["x"]}', "name", method="POST"),
    filtered("prune until", "/networks/prune", '{"until": ["tomorrow"]}', "tomorrow", method="POST"),
    filtered("sandbox filter", "/atoll/sandboxes", '{"colour": ["red"]}', "colour"),
    filtered("event filter", "/events", '{"colour": ["red"]}', "colour"),
    get("events since", "/events?since=yesterday", 400, "yesterday"),
    get("events backwards", "/events?since=9&until=5", 400, "9", "5"),
    get("verbose", "/networks/bridge?verbose=very", 400, "very"),
    get("dry run", "/networks/other?dry-run=perhaps", 400, "perhaps", method="DELETE"),
]

CASES = [
    *NAMES, *DRIVERS, *POOLS, *OPTIONS, *REFERENCES, *ADDRESSES, *PORTS, *NAMESPACES, *BODIES, *QUERIES
]  # fmt: skip


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60
    assert len({bad.case for bad in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with daemon_host("bad") as host:
        host.run("ip link add uplink type veth peer name uplink-peer")
        host.run("ip addr add 10.99.0.1/24 dev uplink")
        for link in ("uplink", "uplink-peer"):
            host.run(f"ip link set {link} up")
        auxiliary = {"router": "10.60.0.9"}
        config = [{"Subnet": "10.60.0.0/24", "AuxiliaryAddresses": auxiliary}, {"Subnet": "fd00:60::/64"}]
        options = {BRIDGE_NAME: "br-used"}
        used = {"Name": "used", "EnableIPv6": True, "IPAM": {"Config": config}, "Options": options}
        host.must("POST", CREATE, used)
        host.must("POST", CREATE, {"Name": "other", "IPAM": {"Config": [{"Subnet": "10.61.0.0/24"}]}})
        endpoint = {"Network": "used", "IPv4Address": "10.60.0.7"}
        web = {"Name": "web", "Endpoints": [endpoint], "Publish": ["8080:80", "9000-9100:9000-9100"]}
        host.must("POST", SANDBOX, web)
        host.must("POST", SANDBOX, {"Name": "member", "NetworkMode": "container:web"})
        host.must("POST", SANDBOX, {"Name": "hostly", "NetworkMode": "host"})
        yield host


@pytest.fixture(scope="module")
def before(host: DaemonHost) -> str:
    return settled_state(host)


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.case.replace(" ", "-"))
def test_bad_request_is_refused_and_changes_nothing(host: DaemonHost, before: str, bad: Bad) -> None:
    answer = host.ask(bad.method, bad.target, bad.body, raw=bad.raw, headers=bad.headers)
    for left in ("/networks/fresh", "/atoll/sandboxes/fresh") if answer.status < 300 else ():
        host.ask("DELETE", left)  # so that one failure is one failure
    assert answer.status == bad.status, answer.body
    for name in bad.names:
        assert name in answer.message, (name, answer.message)
    assert "internal error" not in answer.message
    after = state(host)
    if after != before:
        pytest.fail(changes(before, after))


def test_nothing_broke_the_daemon(host: DaemonHost) -> None:
    """Runs last: not one of the requests was unexpected."""
    assert "Traceback" not in host.log
    assert host.must("GET", "/atoll/status")["Degraded"] == []


def state(host: DaemonHost) -> str:
    """All that the kernel, the file system and the daemon say of the host."""
    commands = (
        "ip -j -d link",
        "ip -j addr",
        "ip -j route show table all",
        "ip -j -6 route show table all",
        "ip -j neigh show nud permanent",
        "nft -s list ruleset",
        "ss -Hltun",
    )
    # A bridge's timers run down.
    seen = [re.sub(r'"\w+_timer":[\d.]+,', "", host.run(command)) for command in commands]
    directories = (host.netns_directory, host.state, host.directory / "run")
    seen += [" ".join(sorted(path.name for path in directory.iterdir())) for directory in directories]
    made = re.compile(r"atoll-[0-9a-f]{12}\Z")
    seen.append(" ".join(sorted(path.name for path in Path("/run/netns").iterdir() if made.match(path.name))))
    for target in ("/networks", "/networks/used", "/atoll/sandboxes", "/atoll/rules"):
        seen.append(json.dumps(host.must("GET", target), sort_keys=True))
    return "\n".join(seen)


def changes(before: str, after: str) -> str:
    """What differs, for people."""
    words = [re.sub(r"([{,])", r"\1\n", text).splitlines() for text in (before, after)]
    return "\n".join(line for line in unified_diff(*words, n=0, lineterm=""))


def settled_state(host: DaemonHost) -> str:
    """The state once it has stopped moving: links come up a moment after they are made."""
    last = state(host)
    for _ in range(40):
        time.sleep(0.25)
        now = state(host)
        if now == last and '"tentative"' not in now:
            return now
        last = now
    raise AssertionError("the host does not come to rest")
