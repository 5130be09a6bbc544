"""A host with a LAN and two networks, and who reaches whom: the ground of the packet tests."""

import socket
import sys
from contextlib import ExitStack
from ipaddress import ip_address, ip_network

from atoll.kernel.kernel import Count
from atoll.kernel.nft.firewall import Firewall
from atoll.model.addresses import Family, IPAddress
from atoll.model.firewall import NFPROTO, address_part
from atoll.model.items import Element, Span
from tests.netns.namespaces import inside, namespace, run, running
from tests.netns.nft_support import counted, firewall_of

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
            Element(f"subnet{int(family)}", (NFPROTO[family], subnet(network, family))),
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
            # IPv6 has no route_localnet: an answer to ::1 is taken in where a local route says so.
            run(host, f"ip -6 route append local ::1 dev at-{word} table local metric 4096")
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
            run(host, f"ip link set {host_end} type bridge_slave hairpin on")
        for ifname in {host_end, gateway_ifname}:
            run(host, f"ip link set {ifname} up")
        run(there, "ip link set eth0 up")
        for family, length in ((Family.V4, 24), (Family.V6, 64)):
            run(host, f"ip addr add {at(network, 1, family)}/{length} dev {gateway_ifname} {NODAD[family]}")
            run(there, f"ip addr add {at(network, 2, family)}/{length} dev eth0 {NODAD[family]}")
            run(there, f"ip -{int(family)} route add default via {at(network, 1, family)}")

    def ask(
        self,
        origin: str,
        target: IPAddress,
        port: int,
        *,
        protocol: int = TCP,
        source: IPAddress | None = None,
        wait_s: float = 0.25,
    ) -> str:
        """What a server answers to `origin`: the peer it saw and its own port; "" when nothing comes back."""
        kind = socket.SOCK_STREAM if protocol == TCP else socket.SOCK_DGRAM

        def talk() -> str:
            with socket.socket(socket.AF_INET if target.version == 4 else socket.AF_INET6, kind) as client:
                client.settimeout(wait_s)
                if source is not None:
                    client.bind((str(source), 0))
                try:
                    client.connect((str(target), port))
                    if kind == socket.SOCK_DGRAM:
                        client.send(b"?")
                    return client.recv(200).decode()
                except OSError:
                    return ""

        return inside(self.names[origin], talk)

    def pings(self, origin: str, target: IPAddress) -> bool:
        """True when an echo comes back."""
        with running(self.names[origin], ["ping", "-c1", "-W1", str(target)]) as echo:
            return echo.wait() == 0

    def counted(self, element: Element) -> Count:
        """What an element has counted; the nft command says the same."""
        found = self.firewall.element_counts()[element.key]
        assert counted(self.names["host"], element.set)[element.key] == found
        return found

    def count(self, rule: str, *, chain: str = "") -> int:
        """Packets that a rule has counted; `chain` where several have one of that text."""
        rules = self.firewall.counters()
        (only,) = (each for each in rules if each.rule == rule and chain in ("", each.chain))
        return only.count.packets
