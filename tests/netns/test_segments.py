"""A network on several bridges is one network: who reaches whom, how it grows and shrinks, and what mends it.

lan ---- host ==== at-...  s0 s1        two endpoints a bridge, so that five of them need three
                    |- a1- s2 s3
                    \\- a2- s4
"""

import itertools
import json
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from atoll.engine.engine import Engine
from atoll.errors import Exhausted
from atoll.kernel import netns
from atoll.kernel.notices import Event, Notice, Subject
from atoll.model.addresses import Family, parse_network
from atoll.model.items import owner_alias
from atoll.model.network import NetworkRequest, PoolRequest
from atoll.model.options import ANTI_SPOOFING, ICC
from atoll.model.portspec import parse_publish
from atoll.model.sandbox import Endpoint, EndpointRequest, SandboxRequest
from atoll.plan.driver import Naming
from atoll.plan.segments import SEGMENTS_MAX
from tests.netns.frames import UDP, ip, packet, udp
from tests.netns.namespaces import eventually
from tests.netns.nft_scene import SERVER
from tests.support.engines import EngineHost, make_engine, settle
from tests.support.hosts import FreshHost, fresh_host

NAMES = tuple(f"s{number}" for number in range(5))
FAMILIES = pytest.mark.parametrize("family", list(Family), ids=["v4", "v6"])
LAN = {Family.V4: ("10.90.0.1", "10.90.0.2", 24), Family.V6: ("fd90::1", "fd90::2", 64)}
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Scene:
    """A host with an engine on it, whose bridges take two endpoints."""

    host: FreshHost
    engine: Engine
    nf_call: bool

    def endpoint(self, name: str) -> Endpoint:
        (found,) = self.engine.world.endpoints_of(self.engine.world.sandbox(name).id)
        return found

    def at(self, name: str) -> str:
        """The namespace of a sandbox, of the LAN, or the host's."""
        if name in ("host", "lan"):
            return self.host.path("lan") if name == "lan" else ""
        known = self.engine.world.sandbox(name).netns
        assert known is not None
        return known.path

    def address(self, name: str, family: Family) -> str:
        """A sandbox's address, or the gateway's."""
        if name == "gateway":
            return "10.91.0.1" if family is Family.V4 else "fd91::1"
        found = self.endpoint(name).address(family)
        assert found is not None
        return str(found.ip)

    def pings(self, pairs: Iterable[Pair], family: Family) -> set[Pair]:
        """Those pairs of which the first gets an answer from the second, all tried at once."""
        tries = {}
        for origin, target in pairs:
            at = self.at(origin)
            command = ["ping", "-qc1", "-W1", self.address(target, family)]
            tries[origin, target] = subprocess.Popen(
                [*(["nsenter", f"--net={at}"] if at else []), *command], stdout=subprocess.DEVNULL
            )
        return {pair for pair, process in tries.items() if process.wait() == 0}

    def add(self, name: str, *ports: str) -> Endpoint:
        request = SandboxRequest(name, endpoints=(EndpointRequest("web"),), mappings=parse_publish(list(ports)))
        self.engine.create_sandbox(request)
        return self.endpoint(name)

    def numbers(self) -> set[str]:
        """The host's bridges and joints by kind and number: a1, ad1, au1."""
        return {name.partition("-")[0] for name in self.links()}

    def links(self) -> dict[str, str]:
        """The host's bridges and joints, as `ip` shows them, by name."""
        found = {
            link["ifname"]: link
            for link in self.host.ip("-d", "link")
            if link["ifname"][:2] in ("a1", "a2", "ad", "au")
        }
        kept = ("ifname", "ifindex", "master", "ifalias", "flags")
        return {name: json.dumps({key: link.get(key) for key in kept}) for name, link in found.items()}


@contextmanager
def scene_of(folder: Path, *, nf_call: bool, icc: bool, guarded: bool = True) -> Iterator[Scene]:
    with fresh_host(folder / "netns") as host:
        switch = str(int(nf_call))
        host.run("sysctl", "-qw", *(f"net.bridge.bridge-nf-call-{word}={switch}" for word in ("iptables", "ip6tables")))
        netns.make(host.path("lan"))
        host.run("ip", "link", "add", "lan0", "type", "veth", "peer", "eth0", "netns", host.path("lan"))
        host.run("ip", "link", "set", "lan0", "up")
        host.run("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0", at=host.path("lan"))
        host.run("ip", "link", "set", "eth0", "up", at=host.path("lan"))
        for family, (ours, theirs, length) in LAN.items():
            nodad = ("nodad",) if family is Family.V6 else ()
            host.run("ip", "addr", "add", f"{ours}/{length}", "dev", "lan0", *nodad)
            host.run("ip", "addr", "add", f"{theirs}/{length}", "dev", "eth0", *nodad, at=host.path("lan"))
        engine = make_engine(EngineHost("", folder), naming=Naming(endpoints_max=2))
        engine.start()
        scene = Scene(host, engine, nf_call)
        pools = tuple(PoolRequest(parse_network("subnet", text)) for text in ("10.91.0.0/24", "fd91::/64"))
        wanted = {ICC: str(icc).lower(), ANTI_SPOOFING: str(guarded).lower()}
        engine.create_network(NetworkRequest("web", pools=pools, ipv6=True, options=wanted))
        for name in NAMES:
            scene.add(name, *(["8082:80"] if name == "s2" else []))
        settle(engine)
        yield scene


@pytest.fixture(scope="module", params=[0, 1], ids=["nf-call 0", "nf-call 1"])
def open_scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ExitStack() as stack:
        scene = stack.enter_context(scene_of(tmp_path_factory.mktemp("open"), nf_call=bool(request.param), icc=True))
        for name in ("s2", "lan"):
            command = ["nsenter", f"--net={scene.at(name)}", sys.executable, "-c", SERVER, "80"]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.callback(server.wait)
            stack.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield scene


@pytest.fixture(scope="module", params=[0, 1], ids=["nf-call 0", "nf-call 1"])
def closed_scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    # Without anti-spoofing: isolation doesn't stand on it.
    with scene_of(tmp_path_factory.mktemp("closed"), nf_call=bool(request.param), icc=False, guarded=False) as scene:
        yield scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with scene_of(tmp_path, nf_call=False, icc=True) as made:
        yield made


def ask(scene: Scene, origin: str, address: str, port: int) -> str:
    """What a server answers: whom it saw, and its port; "" when nothing comes back."""

    def talk() -> str:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as client:
            client.settimeout(1)
            try:
                client.connect((address, port))
                return client.recv(200).decode()
            except OSError:
                return ""

    at = scene.at(origin)
    return netns.run_in(at, talk) if at else talk()


@FAMILIES
def test_everybody_reaches_everybody(open_scene: Scene, family: Family) -> None:
    assert [open_scene.endpoint(name).segment for name in NAMES] == [0, 0, 1, 1, 2]
    pairs = {*itertools.permutations(NAMES, 2), *((name, "gateway") for name in NAMES), *(("host", n) for n in NAMES)}
    # A link-local address, which the host asks from, is of use a second after its interface.
    assert eventually(lambda: open_scene.pings(pairs, family) == pairs)


@FAMILIES
def test_published_ports_and_the_way_out_are_those_of_the_network(open_scene: Scene, family: Family) -> None:
    ours, theirs, _ = LAN[family]
    assert ask(open_scene, "lan", ours, 8082) == f"{theirs} 80"
    assert ask(open_scene, "host", ours, 8082) == f"{ours} 80"
    gateway = open_scene.address("gateway", family)
    for name in NAMES:
        # Where bridged frames cross the inet hooks, one that comes by a joint and is translated can't go back by it.
        stuck = open_scene.nf_call and name in ("s2", "s3")
        assert ask(open_scene, name, ours, 8082) == ("" if stuck else f"{gateway} 80"), name
        assert ask(open_scene, name, theirs, 80) == f"{ours} 80", name


def test_nobody_reaches_the_host_by_a_segments_own_interface(open_scene: Scene) -> None:
    (bridge,) = (link for link in open_scene.host.ip("link") if link["ifname"].startswith("a1-"))
    sender = open_scene.endpoint("s2")
    theirs = LAN[Family.V4][1]

    def raw(proto: int) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(proto))
        made.bind(("eth0", proto))
        made.settimeout(0.5)
        return made

    with (
        netns.run_in(open_scene.at("s2"), partial(raw, 0)) as inside,
        netns.run_in(open_scene.at("lan"), partial(raw, 3)) as outside,
    ):

        def arrives(mac: str, target: str) -> bool:
            mark = mac.encode() + target.encode()
            inside.send(packet(sender.mac, mac, ip(open_scene.address("s2", Family.V4), target, UDP, udp(9, mark))))
            try:
                while True:
                    if outside.recv(4096).endswith(mark):
                        return True
            except TimeoutError:
                return False

        ask(open_scene, "host", theirs, 80)  # so that the host knows where the LAN is
        assert arrives("02:42:0a:5b:00:01", theirs)
        assert not arrives(bridge["address"], theirs)
        assert not arrives("ff:ff:ff:ff:ff:ff", theirs)
    dropped = [count for count in open_scene.engine.rules(counters=True).counters if count.chain in ("across", "input")]
    assert sum(count.count.packets for count in dropped) >= 1


@FAMILIES
def test_isolated_endpoints_reach_the_gateway_and_nobody_else(closed_scene: Scene, family: Family) -> None:
    open_pairs = {*((name, "gateway") for name in NAMES), *(("host", name) for name in NAMES)}
    assert eventually(lambda: closed_scene.pings(open_pairs, family) == open_pairs)
    assert closed_scene.pings(itertools.permutations(NAMES, 2), family) == set()


def test_a_network_grows_by_the_lowest_bridge_with_room_and_shrinks_with_the_last_endpoint(scene: Scene) -> None:
    assert scene.numbers() == {"a1", "ad1", "au1", "a2", "ad2", "au2"}
    scene.engine.remove_sandbox("s4")
    settle(scene.engine)
    assert scene.numbers() == {"a1", "ad1", "au1"}
    scene.engine.remove_sandbox("s1")
    assert scene.add("s5").segment == 0
    assert scene.add("s6").segment == 2
    scene.engine.disconnect("web", "s2")
    assert scene.numbers() == {"a1", "ad1", "au1", "a2", "ad2", "au2"}
    scene.engine.disconnect("web", "s3")
    assert scene.numbers() == {"a2", "ad2", "au2"}
    for _ in scene.engine.purge():
        pass
    assert scene.links() == {}
    assert "atoll" not in scene.host.run("nft", "list", "ruleset")


def test_a_network_is_full_when_its_first_bridge_has_no_port_for_a_joint(scene: Scene) -> None:
    for number in range(len(NAMES), 2 * SEGMENTS_MAX):
        scene.add(f"s{number}")
    with pytest.raises(Exhausted, match="network web has 48 endpoints"):
        scene.add("one-more")
    last = f"s{2 * SEGMENTS_MAX - 1}"
    assert eventually(lambda: len(scene.pings([(last, "s0"), ("s0", last), ("host", last)], Family.V4)) == 3)


BROKEN = ("del a1", "del ad1", "del au1", "nomaster ad1", "nomaster au1", "down au1", "hairpin au1", "isolated au1")


@pytest.mark.parametrize(
    ("damage", "noticed"), [(each, False) for each in BROKEN] + [(each, True) for each in BROKEN if "del" in each]
)
def test_what_somebody_breaks_is_mended(scene: Scene, damage: str, noticed: bool) -> None:
    wanted = scene.numbers()
    verb, prefix = damage.split()
    (ifname,) = (name for name in scene.links() if name.startswith(f"{prefix}-"))
    flag = ["type", "bridge_slave", verb, "on"] if verb in ("hairpin", "isolated") else [verb]
    scene.host.run("ip", "link", *(["del", ifname] if verb == "del" else ["set", ifname, *flag]))
    if noticed:
        alias = owner_alias("network", scene.engine.world.network("web").id)
        alias += ":far" if prefix == "au1" else ""
        scene.engine.notice([Notice(Subject.LINK, Event.DEL, ifindex=1, ifname=ifname, alias=alias)])
    else:
        scene.engine.sweep()
    settle(scene.engine)
    assert scene.numbers() == wanted
    pairs = set(itertools.permutations(NAMES, 2))
    assert eventually(lambda: scene.pings(pairs, Family.V4) == pairs)
