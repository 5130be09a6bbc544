"""Who speaks for whom: frames that an endpoint sends as itself arrive, those that it sends as others don't.

Each is sent by hand from inside a sandbox, and looked for at the other end. The same frames without anti-spoofing show
that nothing else would have stopped them. `pytest -s` prints the table.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from atoll.engine.engine import Engine
from atoll.kernel import netns
from atoll.model.addresses import Family, link_local_of, parse_network
from atoll.model.network import NetworkRequest, PoolRequest
from atoll.model.options import ANTI_SPOOFING
from atoll.model.sandbox import EndpointRequest, SandboxRequest
from tests.netns.frames import (
    ADVERT,
    BROADCAST,
    DESTINATION_OPTIONS,
    ECHO,
    FRAGMENT,
    HOP_BY_HOP,
    ICMPV6,
    MLD2_REPORT,
    MLD_REPORT,
    REDIRECT,
    REPLY,
    REQUEST,
    ROUTER_ADVERT,
    SOLICIT,
    TCP,
    UDP,
    arp,
    checked,
    ethernet,
    fragment,
    icmp6,
    ip,
    options,
    packet,
    tcp,
    udp,
)
from tests.support.engines import EngineHost, make_engine, settle
from tests.support.hosts import FreshHost, fresh_host

GATEWAY, OTHER, SENDER, THIRD, NOBODY = 1, 2, 3, 4, 9
FROM, TO = f"02:42:0a:58:00:0{SENDER}", f"02:42:0a:58:00:0{OTHER}"
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
WAIT_S = 2.0


def v4(last: int) -> str:
    return f"10.88.0.{last}"


def v6(last: int) -> str:
    return f"fd88::{last}"


def mac(last: int) -> str:
    return f"02:42:0a:58:00:0{last}"


def local(last: int) -> str:
    return str(link_local_of(mac(last)))


def plain(address: str, mark: bytes, *, from_mac: str = FROM, port: int = 9) -> bytes:
    """A UDP packet to the other endpoint."""
    target = v6(OTHER) if ":" in address else v4(OTHER)
    return packet(from_mac, TO, ip(address, target, UDP, udp(port, mark)))


def segment(address: str, mark: bytes, *, from_mac: str = FROM) -> bytes:
    """A TCP segment to the other endpoint."""
    target = v6(OTHER) if ":" in address else v4(OTHER)
    return packet(from_mac, TO, ip(address, target, TCP, tcp(mark)))


def discovery(address: str, kind: int, mark: bytes, *, target: str = "", from_mac: str = FROM) -> bytes:
    return packet(from_mac, ALL_NODES_MAC, ip(address, ALL_NODES, ICMPV6, icmp6(kind, mark, target=target)))


def resolution(
    operation: int, sender: str, mark: bytes, *, outer: str = FROM, inner: str = FROM, target: str = v4(OTHER)
) -> bytes:
    return ethernet(outer, BROADCAST, 0x0806, arp(operation, inner, sender, target, mark))


def hidden(kind: int, following: int, mark: bytes) -> bytes:
    """A discovery message behind a header of options."""
    body = options(ICMPV6, checked(local(SENDER), ALL_NODES, icmp6(kind, mark)))
    return packet(FROM, ALL_NODES_MAC, ip(local(SENDER), ALL_NODES, following, body))


def first_fragment_without_its_message(mark: bytes) -> bytes:
    """It says that options and then ICMPv6 follow, and ends before that."""
    body = fragment(DESTINATION_OPTIONS, 0, more=True, payload=bytes((ICMPV6, 8)) + bytes(6) + mark)
    return packet(FROM, ALL_NODES_MAC, ip(local(SENDER), ALL_NODES, FRAGMENT, body))


def fragments(address: str, offset: int, mark: bytes) -> bytes:
    body = icmp6(ECHO, mark) if offset == 0 else bytes(8) + mark
    return packet(FROM, TO, ip(address, v6(OTHER), FRAGMENT, fragment(ICMPV6, offset, more=not offset, payload=body)))


def honest(mark: bytes) -> dict[str, bytes]:
    """What an endpoint may send."""
    return {
        "IPv4": plain(v4(SENDER), mark),
        "IPv4, from a DHCP client's port": plain(v4(SENDER), mark, port=67),
        "IPv4, TCP": segment(v4(SENDER), mark),
        "ARP request": resolution(REQUEST, v4(SENDER), mark),
        "ARP reply": resolution(REPLY, v4(SENDER), mark),
        "ARP announcement": resolution(REQUEST, v4(SENDER), mark, target=v4(SENDER)),
        "ARP probe for its own address": resolution(REQUEST, "0.0.0.0", mark, target=v4(SENDER)),
        "IPv6": plain(v6(SENDER), mark),
        "IPv6, TCP": segment(v6(SENDER), mark),
        "IPv6, link-local": plain(local(SENDER), mark),
        "IPv6 echo": packet(FROM, TO, ip(v6(SENDER), v6(OTHER), ICMPV6, icmp6(ECHO, mark))),
        "IPv6 echo, first fragment": fragments(v6(SENDER), 0, mark),
        "IPv6 echo, later fragment": fragments(v6(SENDER), 1480, mark),
        "neighbour solicitation": discovery(v6(SENDER), SOLICIT, mark, target=v6(OTHER)),
        "duplicate detection": discovery("::", SOLICIT, mark, target=local(SENDER)),
        "neighbour advertisement": discovery(v6(SENDER), ADVERT, mark, target=v6(SENDER)),
        "neighbour advertisement, link-local": discovery(local(SENDER), ADVERT, mark, target=local(SENDER)),
    }


def spoofed(mark: bytes) -> dict[str, bytes]:
    """What it may not."""
    tagged = b"\0\7\x08\0" + ip(v4(SENDER), v4(OTHER), UDP, udp(9, mark))
    tagged_segment = b"\0\7\x08\0" + ip(v4(SENDER), v4(OTHER), TCP, tcp(mark))
    return {
        "MAC of another, IPv4": plain(v4(SENDER), mark, from_mac=mac(THIRD)),
        "MAC of another, IPv6": plain(v6(SENDER), mark, from_mac=mac(THIRD)),
        "MAC of another, IPv4, TCP": segment(v4(SENDER), mark, from_mac=mac(THIRD)),
        "MAC of another, IPv6, TCP": segment(v6(SENDER), mark, from_mac=mac(THIRD)),
        "IPv4 of another, TCP": segment(v4(THIRD), mark),
        "IPv6 of another, TCP": segment(v6(THIRD), mark),
        "MAC of the gateway, IPv4": plain(v4(SENDER), mark, from_mac=mac(GATEWAY)),
        "MAC and IPv4 of another": plain(v4(THIRD), mark, from_mac=mac(THIRD)),
        "IPv4 of another": plain(v4(THIRD), mark),
        "IPv4 of the gateway": plain(v4(GATEWAY), mark),
        "IPv4 of the subnet that nobody has": plain(v4(99), mark),
        "IPv4 from outside": plain("192.0.2.1", mark),
        "IPv4 of nobody": plain("0.0.0.0", mark),
        "IPv6 of another": plain(v6(THIRD), mark),
        "IPv6 of the gateway": plain(v6(GATEWAY), mark),
        "IPv6 of another, link-local": plain(local(THIRD), mark),
        "IPv6 from outside": plain("2001:db8::1", mark),
        "IPv6 of nobody": plain("::", mark),
        "IPv6 of another, later fragment": fragments(v6(THIRD), 1480, mark),
        "ARP request of another's address": resolution(REQUEST, v4(THIRD), mark),
        "ARP reply for the gateway": resolution(REPLY, v4(GATEWAY), mark),
        "ARP reply, MAC of another inside": resolution(REPLY, v4(SENDER), mark, inner=mac(THIRD)),
        "ARP reply, MAC of another outside": resolution(REPLY, v4(SENDER), mark, outer=mac(THIRD)),
        "ARP reply, all of it another's": resolution(REPLY, v4(THIRD), mark, outer=mac(THIRD), inner=mac(THIRD)),
        "ARP probe for another's address": resolution(REQUEST, "0.0.0.0", mark, target=v4(THIRD)),
        "neighbour advertisement for another": discovery(v6(SENDER), ADVERT, mark, target=v6(THIRD)),
        "neighbour advertisement for the gateway": discovery(v6(SENDER), ADVERT, mark, target=v6(GATEWAY)),
        "neighbour advertisement as another": discovery(v6(THIRD), ADVERT, mark, target=v6(THIRD)),
        "neighbour solicitation as another": discovery(v6(THIRD), SOLICIT, mark, target=v6(OTHER)),
        "duplicate detection of another's address": discovery("::", SOLICIT, mark, target=local(THIRD)),
        "router advertisement": discovery(local(SENDER), ROUTER_ADVERT, mark),
        "router advertisement behind hop-by-hop options": hidden(ROUTER_ADVERT, HOP_BY_HOP, mark),
        "router advertisement behind destination options": hidden(ROUTER_ADVERT, DESTINATION_OPTIONS, mark),
        "router advertisement in fragments": first_fragment_without_its_message(mark),
        "redirect": discovery(local(SENDER), REDIRECT, mark, target=v6(GATEWAY)),
        "MLD report": discovery(local(SENDER), MLD_REPORT, mark),
        "MLDv2 report without an address": discovery("::", MLD2_REPORT, mark),
        "DHCPv4 server's answer": plain(v4(SENDER), mark, port=68),
        "DHCPv6 server's answer": plain(local(SENDER), mark, port=546),
        "ethertype 802.1Q": ethernet(FROM, TO, 0x8100, tagged),
        "ethertype 802.1Q, TCP": ethernet(FROM, TO, 0x8100, tagged_segment),
        "ethertype 802.1ad, TCP": ethernet(FROM, TO, 0x88A8, tagged_segment),
        "ethertype 802.1ad": ethernet(FROM, TO, 0x88A8, tagged),
        "ethertype PPPoE": ethernet(FROM, TO, 0x8863, bytes(40) + mark),
        "ethertype LLDP": ethernet(FROM, TO, 0x88CC, bytes(40) + mark),
        "ethertype of an experiment": ethernet(FROM, TO, 0x88B5, bytes(40) + mark),
        "no ethertype but a length": ethernet(FROM, TO, 48, bytes(40) + mark),
    }


@dataclass(frozen=True, slots=True)
class Scene:
    """Two sandboxes' namespaces and what tells frames that arrive at one of them."""

    host: FreshHost
    engine: Engine
    sender: str
    receiver: str
    inside: socket.socket
    outside: socket.socket

    @property
    def guarded(self) -> bool:
        bridge = self.engine.world.network("web").bridge
        return bridge is not None and bridge.anti_spoofing

    def port(self, name: str) -> str:
        (endpoint,) = self.engine.world.endpoints_of(self.engine.world.sandbox(name).id)
        return endpoint.host_ifname

    def arrives(self, frame: bytes, mark: bytes) -> bool:
        """Send a frame, and an honest one after it: the first has arrived before the second, or it doesn't."""
        end = os.urandom(8)
        self.inside.send(frame)
        self.inside.send(plain(v4(SENDER), end))
        seen = False
        while True:
            found = self.outside.recv(4096)
            if found.endswith(end):
                return seen
            seen = seen or found.endswith(mark)


def raw(path: str) -> socket.socket:
    """A socket that sends and hears every frame of eth0 in a namespace."""

    def opened() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
        made.bind(("eth0", 3))
        made.settimeout(WAIT_S)
        return made

    return netns.run_in(path, opened)


@pytest.fixture(scope="module", params=[True, False], ids=["guarded", "unguarded"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("spoofing")
    with ExitStack() as stack:
        host = stack.enter_context(fresh_host(folder / "netns"))
        host.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0")
        engine = make_engine(EngineHost("", folder))
        engine.start()
        pools = tuple(PoolRequest(parse_network("subnet", text)) for text in ("10.88.0.0/24", "fd88::/64"))
        wanted = {ANTI_SPOOFING: str(request.param).lower()}
        engine.create_network(NetworkRequest("web", pools=pools, ipv6=True, options=wanted))
        for name in ("other", "sender", "third"):
            engine.create_sandbox(SandboxRequest(name, endpoints=(EndpointRequest("web"),)))
        settle(engine)
        paths = {name: engine.world.sandbox(name).netns.path for name in ("other", "sender")}  # type: ignore[union-attr]
        inside, outside = (stack.enter_context(raw(paths[name])) for name in ("sender", "other"))
        yield Scene(host, engine, paths["sender"], paths["other"], inside, outside)


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    rows: list[str] = []
    yield rows
    print("\n" + "\n".join(rows))


def row(scene: Scene, name: str, *, passed: bool) -> str:
    return f"{'guarded' if scene.guarded else 'not guarded':12} {name:50} {'passes' if passed else 'dropped'}"


NODAD = {Family.V4: (), Family.V6: ("nodad",)}
MARK = bytes.fromhex("a701 dead beef a701")


@pytest.mark.parametrize("name", honest(MARK))
def test_an_endpoint_speaks_as_itself(scene: Scene, table: list[str], name: str) -> None:
    passed = scene.arrives(honest(MARK)[name], MARK)
    table.append(row(scene, name, passed=passed))
    assert passed


@pytest.mark.parametrize("name", spoofed(MARK))
def test_an_endpoint_speaks_as_others_only_where_it_is_let(scene: Scene, table: list[str], name: str) -> None:
    passed = scene.arrives(spoofed(MARK)[name], MARK)
    table.append(row(scene, name, passed=passed))
    assert passed is not scene.guarded


def test_a_mac_is_not_learned_from_frames_that_meet_no_rule(scene: Scene) -> None:
    # Link layer discovery: a bridge keeps it to itself, before any hook.
    scene.arrives(ethernet(mac(NOBODY), "01:80:c2:00:00:0e", 0x88CC, bytes(40) + MARK), MARK)
    learned = json.loads(scene.host.run("bridge", "-j", "fdb", "show", "dev", scene.port("sender")))
    assert mac(SENDER) in {entry["mac"] for entry in learned}
    assert mac(NOBODY) not in {entry["mac"] for entry in learned}


@pytest.mark.parametrize("family", list(Family), ids=["v4", "v6"])
def test_an_address_that_was_added_inside_is_of_no_use(scene: Scene, family: Family) -> None:
    added, length, other = (v4(50), 24, v4(OTHER)) if family is Family.V4 else (v6(50), 64, v6(OTHER))
    address = (f"{added}/{length}", "dev", "eth0")
    scene.host.run("ip", "addr", "add", *address, *NODAD[family], at=scene.sender)
    answer = scene.host.run("ping", "-c1", "-W1", "-I", added, other, at=scene.sender, check=False)
    scene.host.run("ip", "addr", "del", *address, at=scene.sender)
    assert ("1 received" in answer) is not scene.guarded


@pytest.mark.parametrize("family", list(Family), ids=["v4", "v6"])
def test_large_packets_pass_in_fragments(scene: Scene, family: Family) -> None:
    for target in (OTHER, GATEWAY):
        address = v4(target) if family is Family.V4 else v6(target)
        assert "1 received" in scene.host.run("ping", "-c1", "-W2", "-s", "5000", address, at=scene.sender)
