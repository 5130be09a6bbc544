"""The rules do to real packets what their comments say.

lan ---- host ==== at-red ---- red      10.81.0.0/24, fd81::/64
(10.80.0.0/24,  \\== at-blue --- blue    10.82.0.0/24, fd82::/64
 fd80::/64)
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from ipaddress import ip_address, ip_network

import pytest

from atoll.kernel.nft.firewall import Firewall
from atoll.model.addresses import Family, IPAddress
from atoll.model.firewall import NFPROTO, address_part
from atoll.model.items import Element, Span
from tests.netns.namespaces import eventually, inside, namespace, run, running
from tests.netns.nft_support import adds, firewall_of, removes

TCP, UDP = 6, 17
NETWORKS = {"red": "81", "blue": "82"}
NODAD = {Family.V4: "", Family.V6: "nodad"}

SERVER = """
import select, socket, sys
sockets = []
for family in (socket.AF_INET, socket.AF_INET6):
    for port in map(int, sys.argv[1:]):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            made = socket.socket(family, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(("", port))
            if kind == socket.SOCK_STREAM:
                made.listen(50)
            sockets.append(made)
print("ready", flush=True)
while True:
    for one in select.select(sockets, [], [])[0]:
        if one.type == socket.SOCK_STREAM:
            connection, peer = one.accept()
            connection.sendall(f"{peer[0]} {one.getsockname()[1]}".encode())
            connection.close()
        else:
            _, peer = one.recvfrom(100)
            one.sendto(f"{peer[0]} {one.getsockname()[1]}".encode(), peer)
"""


def at(network: str, last: int, family: Family) -> IPAddress:
    """An address of one of the networks; `network` is the digits of its subnet."""
    return ip_address(f"10.{network}.0.{last}" if family is Family.V4 else f"fd{network}::{last}")


def subnet(network: str, family: Family) -> Span:
    part = address_part(ip_network(f"10.{network}.0.0/24" if family is Family.V4 else f"fd{network}::/64"))
    assert isinstance(part, Span)
    return part


def everywhere(family: Family) -> Span:
    part = address_part(ip_network("0.0.0.0/0" if family is Family.V4 else "::/0"))
    assert isinstance(part, Span)
    return part


def elements_of(name: str, network: str) -> list[Element]:
    """What a bridge network with masquerade and icc has in the table."""
    bridge = f"at-{name}"
    elements = [Element("nets", (bridge,)), Element("pairs", (bridge, bridge))]
    for family in Family:
        elements += [
            Element(f"lan{int(family)}", (bridge, subnet(network, family))),
            Element("masq", (NFPROTO[family], bridge)),
            Element(f"gateway{int(family)}", (at(network, 1, family),)),
        ]
    return elements


class Scene:
    """Four namespaces; the firewall is the host's."""

    def __init__(self, stack: ExitStack) -> None:
        self.names = {word: stack.enter_context(namespace(f"nft-{word}")) for word in ("host", "lan", *NETWORKS)}
        host = self.names["host"]
        run(host, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        self._join("lan", "80", host_end="at-lan", bridged=False)
        for word, network in NETWORKS.items():
            run(host, f"ip link add at-{word} type bridge")
            self._join(word, network, host_end=f"av-{word}", bridged=True)
            run(host, f"sysctl -qw net.ipv4.conf.at-{word}.route_localnet=1")
            # Frames inside a bridge stay there, as on most hosts.
            run(host, "sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0")
        self.firewall: Firewall = stack.enter_context(firewall_of(host))
        for word in ("host", "lan", *NETWORKS):
            ports = ["80"] if word == "host" else ["80", "81", "82"]
            server = stack.enter_context(running(self.names[word], [sys.executable, "-c", SERVER, *ports]))
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"

    def _join(self, word: str, network: str, *, host_end: str, bridged: bool) -> None:
        host, there = self.names["host"], self.names[word]
        run(host, f"ip link add {host_end} type veth peer name eth0 netns {there}")
        gateway_ifname = f"at-{word}"
        if bridged:
            run(host, f"ip link set {host_end} master {gateway_ifname}")
        for ifname in {host_end, gateway_ifname}:
            run(host, f"ip link set {ifname} up")
        run(there, "ip link set eth0 up")
        for family, length in ((Family.V4, 24), (Family.V6, 64)):
            run(host, f"ip addr add {at(network, 1, family)}/{length} dev {gateway_ifname} {NODAD[family]}")
            run(there, f"ip addr add {at(network, 2, family)}/{length} dev eth0 {NODAD[family]}")
            run(there, f"ip -{int(family)} route add default via {at(network, 1, family)}")

    def ask(self, origin: str, target: IPAddress, port: int, *, protocol: int = TCP, wait_s: float = 0.25) -> str:
        """What a server answers to `origin`: the peer it saw and its own port; "" when nothing comes back."""
        kind = socket.SOCK_STREAM if protocol == TCP else socket.SOCK_DGRAM

        def talk() -> str:
            with socket.socket(socket.AF_INET if target.version == 4 else socket.AF_INET6, kind) as client:
                client.settimeout(wait_s)
                try:
                    client.connect((str(target), port))
                    if kind == socket.SOCK_DGRAM:
                        client.send(b"?")
                    return client.recv(200).decode()
                except OSError:
                    return ""

        return inside(self.names[origin], talk)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        made = Scene(stack)
        # IPv6 works a moment after the links are up.
        for family in Family:
            eventually(partial(made.ask, "lan", at("80", 1, family), 80))
            for network in NETWORKS.values():
                eventually(partial(made.ask, "host", at(network, 2, family), 80))
        yield made


@pytest.fixture(autouse=True)
def networks(scene: Scene) -> None:
    scene.firewall.refill([element for word, number in NETWORKS.items() for element in elements_of(word, number)])


FAMILIES = pytest.mark.parametrize("family", list(Family), ids=["v4", "v6"])
PROTOCOLS = pytest.mark.parametrize("protocol", [TCP, UDP], ids=["tcp", "udp"])


@FAMILIES
@PROTOCOLS
@pytest.mark.parametrize("form", ["any", "addr", "span", "from"])
def test_a_published_port_reaches_its_endpoint_and_closes_with_its_element(
    scene: Scene, form: str, protocol: int, family: Family
) -> None:
    host, endpoint, number = at("80", 1, family), at("81", 2, family), int(family)
    element, port, inner = {
        "any": (Element(f"any{number}", (protocol, 8080), (endpoint, 80)), 8080, 80),
        "addr": (Element(f"addr{number}", (host, protocol, 8080), (endpoint, 80)), 8080, 80),
        "span": (Element(f"span{number}", (everywhere(family), host, protocol, Span(81, 82)), (endpoint,)), 82, 82),
        "from": (Element(f"from{number}", (subnet("80", family), host, protocol, 8080), (endpoint, 80)), 8080, 80),
    }[form]
    assert scene.ask("lan", host, port, protocol=protocol) == ""
    scene.firewall.apply(adds(element))
    assert scene.ask("lan", host, port, protocol=protocol, wait_s=2) == f"{at('80', 2, family)} {inner}"
    assert scene.ask("lan", host, port + 1, protocol=protocol) == ""
    published = next(count for count in scene.firewall.counters() if count.rule == "ct status dnat counter accept")
    assert published.packets == 1
    scene.firewall.apply(removes(element))
    assert scene.ask("lan", host, port, protocol=protocol) == ""


@FAMILIES
def test_a_port_for_some_sources_is_closed_to_the_rest(scene: Scene, family: Family) -> None:
    host, number = at("80", 1, family), int(family)
    elsewhere = Element(f"from{number}", (subnet("99", family), host, TCP, 8080), (at("81", 2, family), 80))
    scene.firewall.apply(adds(elsewhere))
    assert scene.ask("lan", host, 8080) == ""


@FAMILIES
@PROTOCOLS
def test_container_addresses_are_closed_to_a_lan_that_routes_to_them(
    scene: Scene, protocol: int, family: Family
) -> None:
    assert scene.ask("lan", at("81", 2, family), 80, protocol=protocol) == ""


@FAMILIES
@PROTOCOLS
def test_gateway_addresses_are_closed_to_the_lan_and_open_to_containers(
    scene: Scene, protocol: int, family: Family
) -> None:
    gateway = at("81", 1, family)
    assert scene.ask("lan", gateway, 80, protocol=protocol) == ""
    assert scene.ask("red", gateway, 80, protocol=protocol, wait_s=2) == f"{at('81', 2, family)} 80"
    assert scene.ask("host", gateway, 80, protocol=protocol, wait_s=2) == f"{gateway} 80"
    # The host's own address on the LAN is the administrator's business.
    assert scene.ask("lan", at("80", 1, family), 80, protocol=protocol, wait_s=2) == f"{at('80', 2, family)} 80"


@FAMILIES
def test_the_way_out_is_masqueraded_only_with_its_element(scene: Scene, family: Family) -> None:
    lan = at("80", 2, family)
    assert scene.ask("red", lan, 80, wait_s=2) == f"{at('80', 1, family)} 80"
    scene.firewall.apply(removes(Element("masq", (NFPROTO[family], "at-red"))))
    assert scene.ask("red", lan, 80, wait_s=2) == f"{at('81', 2, family)} 80"


@FAMILIES
def test_a_fixed_source_address_goes_before_masquerade(scene: Scene, family: Family) -> None:
    fixed = at("80", 7, family)
    # Deprecated, so that masquerade goes on choosing the first address.
    run(scene.names["host"], f"ip addr replace {fixed} dev at-lan preferred_lft 0 {NODAD[family]}")
    scene.firewall.apply(adds(Element(f"snat{int(family)}", ("at-red",), (fixed,))))
    assert scene.ask("red", at("80", 2, family), 80, wait_s=2) == f"{fixed} 80"
    assert scene.ask("blue", at("80", 2, family), 80, wait_s=2) == f"{at('80', 1, family)} 80"


@FAMILIES
def test_networks_are_closed_to_each_other_until_a_pair_opens_one_direction(scene: Scene, family: Family) -> None:
    red, blue = at("81", 2, family), at("82", 2, family)
    assert scene.ask("red", blue, 80) == ""
    pair = Element("pairs", ("at-red", "at-blue"))
    scene.firewall.apply(adds(pair))
    assert scene.ask("red", blue, 80, wait_s=2) == f"{red} 80"
    assert scene.ask("blue", red, 80) == ""
    scene.firewall.apply(removes(pair))
    assert scene.ask("red", blue, 80) == ""


@FAMILIES
def test_an_internal_network_has_no_way_out_and_only_its_own_gateway(scene: Scene, family: Family) -> None:
    host, number = at("80", 1, family), int(family)
    scene.firewall.apply(
        adds(Element("internal", ("at-red",)), Element(f"any{number}", (TCP, 8080), (at("81", 2, family), 80)))
    )
    for target, port in ((at("80", 2, family), 80), (at("82", 2, family), 80), (host, 80), (at("82", 1, family), 80)):
        assert scene.ask("red", target, port) == "", target
    assert scene.ask("lan", host, 8080) == ""
    assert scene.ask("red", at("81", 1, family), 80, wait_s=2) == f"{at('81', 2, family)} 80"


@FAMILIES
def test_unprotected_and_opened_networks_let_the_lan_in(scene: Scene, family: Family) -> None:
    red, blue, lan = at("81", 2, family), at("82", 2, family), at("80", 2, family)
    opened = Element(f"open{int(family)}", (red, TCP, Span(80, 81)))
    scene.firewall.apply(adds(Element("unprotected", ("at-blue",)), opened))
    assert scene.ask("lan", blue, 82, wait_s=2) == f"{lan} 82"
    assert scene.ask("lan", red, 81, wait_s=2) == f"{lan} 81"
    assert scene.ask("lan", red, 82) == ""


@FAMILIES
def test_a_published_port_answers_containers_and_the_host_itself(scene: Scene, family: Family) -> None:
    host, red, blue = at("80", 1, family), at("81", 2, family), at("82", 2, family)
    scene.firewall.apply(adds(Element(f"any{int(family)}", (TCP, 8080), (red, 80))))
    assert scene.ask("blue", host, 8080, wait_s=2) == f"{blue} 80"
    assert scene.ask("host", host, 8080, wait_s=2) == f"{host} 80"
    if family is Family.V4:
        assert scene.ask("host", ip_address("127.0.0.1"), 8080, wait_s=2) == f"{at('81', 1, family)} 80"


def test_elements_change_under_a_flow_without_touching_it(scene: Scene) -> None:
    red = at("81", 2, Family.V4)
    scene.firewall.apply(adds(Element("any4", (TCP, 8080), (red, 80))))
    ping = ["ping", "-q", "-i", "0.002", "-c", "500", "-W", "1", str(red)]
    with running(scene.names["host"], ping) as flow:
        current = list(scene.firewall.survey().values())
        while flow.poll() is None:
            scene.firewall.refill(current)  # type: ignore[arg-type]
        assert flow.stdout is not None
        assert ", 0% packet loss" in flow.stdout.read()
