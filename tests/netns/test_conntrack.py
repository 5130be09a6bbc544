"""Flushing forgets exactly the connections that it is asked for; packets made them, conntrack(8) judges."""

import re
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from atoll.kernel.conntrack import flush
from atoll.model.addresses import parse_address
from atoll.model.ops import FlushConntrack
from atoll.model.ports import PortRange, Protocol
from tests.netns.namespaces import inside, namespace, path_of, run

TCP, UDP, SCTP = Protocol.TCP, Protocol.UDP, Protocol.SCTP

RULES = """
table inet translated {
    chain output {
        type nat hook output priority -100
        ip daddr 10.78.0.1 udp dport 9000 dnat ip to 10.78.1.2:90
        ip6 daddr fd78::1 udp dport 9000 dnat ip6 to [fd78:1::2]:90
    }
    chain way_out {
        type nat hook postrouting priority srcnat
        ip saddr 10.78.0.2 masquerade
        ip6 saddr fd78::2 masquerade
    }
}
"""

DEAF = "table inet deaf { chain input { type filter hook input priority 0; tcp dport 8080 drop; }; }"
"""A connection that is refused would leave the table by itself."""

LOCAL, ALIAS, PEER, OTHER_PEER = "local", "alias", "peer", "other peer"
ADDRESSES = {
    4: {LOCAL: "10.78.0.1", ALIAS: "10.78.0.2", PEER: "10.78.1.2", OTHER_PEER: "10.78.1.3"},
    6: {LOCAL: "fd78::1", ALIAS: "fd78::2", PEER: "fd78:1::2", OTHER_PEER: "fd78:1::3"},
}


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with namespace("track") as name, namespace("trackpeer") as peer:
        run(name, f"ip link add out type veth peer name out netns {path_of(peer)}")
        for of, last in ((name, 1), (peer, 2), (peer, 3)):
            run(of, f"ip address add 10.78.1.{last}/24 dev out")
            run(of, f"ip address add fd78:1::{last}/64 dev out nodad")
        for of in (name, peer):
            run(of, "ip link set out up")
        for last in (1, 2):
            run(name, f"ip address add 10.78.0.{last}/32 dev lo")
            run(name, f"ip address add fd78::{last}/128 dev lo nodad")
        for family, net in (("-4", "10.78.0.0/24"), ("-6", "fd78::/64")):
            via = "10.78.1.1" if family == "-4" else "fd78:1::1"
            run(peer, f"ip {family} route add {net} via {via}")
        for of, rules in ((name, RULES), (peer, DEAF)):
            enter = ["nsenter", f"--net={path_of(of)}"]
            subprocess.run([*enter, "nft", "-f", "-"], input=rules, text=True, check=True)
        yield name


def send(host: str, source: str, destination: str, port: int, *, protocol: Protocol = UDP) -> None:
    """One packet, so one tracked connection."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET

    def once() -> None:
        kind = socket.SOCK_STREAM if protocol is TCP else socket.SOCK_DGRAM
        with socket.socket(family, kind) as one:
            one.bind((source, 0))
            one.setblocking(False)
            one.connect_ex((destination, port))
            if protocol is UDP:
                one.send(b"hello")

    inside(host, once)


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def hosts(request: pytest.FixtureRequest, host: str) -> dict[str, str]:
    """The four addresses of one family, and connections among them."""
    run(host, "conntrack -F")
    names = ADDRESSES[request.param]
    for source, destination, port in CONNECTIONS:
        send(host, names[source], names[destination], port)
    send(host, names[LOCAL], names[PEER], 8080, protocol=TCP)
    assert tracked(host, names) == EVERYTHING
    return names


CONNECTIONS = [
    (LOCAL, LOCAL, 8080),
    (LOCAL, ALIAS, 8080),
    (LOCAL, ALIAS, 8081),
    (LOCAL, PEER, 8080),
    (ALIAS, PEER, 53),
    (ALIAS, OTHER_PEER, 53),
    (LOCAL, LOCAL, 9000),
]
EVERYTHING = {(UDP, *each) for each in CONNECTIONS} | {(TCP, LOCAL, PEER, 8080)}
LINE = re.compile(r"(tcp|udp) .*?src=(\S+) dst=(\S+) sport=\d+ dport=(\d+) ")


def tracked(host: str, names: dict[str, str]) -> set[tuple[Protocol, str, str, int]]:
    """Original directions of UDP and TCP connections of one family, addresses by their role."""
    role = {address: name for name, address in names.items()}
    lines = run(host, f"conntrack -L -f {'ipv6' if ':' in names[LOCAL] else 'ipv4'}").splitlines()
    found = [match.groups() for line in lines if (match := LINE.search(line))]
    return {
        (Protocol[word.upper()], role[str(ip_address(source))], role[str(ip_address(destination))], int(port))
        for word, source, destination, port in found
    }


def forgotten(host: str, names: dict[str, str], *requests: FlushConntrack) -> set[tuple[Protocol, str, str, int]]:
    """What a flush takes away; as many as it says."""
    count = inside(host, lambda: flush(*requests))
    gone = EVERYTHING - tracked(host, names)
    assert count == len(gone)
    return gone


def test_ports_without_address_mean_every_address_of_this_host_only(host: str, hosts: dict[str, str]) -> None:
    request = FlushConntrack(protocol=UDP, ports=PortRange(8080, 8080))
    assert forgotten(host, hosts, request) == {(UDP, LOCAL, LOCAL, 8080), (UDP, LOCAL, ALIAS, 8080)}


def test_ports_with_unspecified_address_mean_the_same_of_one_family(host: str, hosts: dict[str, str]) -> None:
    unspecified = parse_address("address", "::" if ":" in hosts[LOCAL] else "0.0.0.0")
    request = FlushConntrack(protocol=UDP, address=unspecified, ports=PortRange(8080, 8080))
    assert forgotten(host, hosts, request) == {(UDP, LOCAL, LOCAL, 8080), (UDP, LOCAL, ALIAS, 8080)}


def test_ports_with_address(host: str, hosts: dict[str, str]) -> None:
    address = parse_address("address", hosts[ALIAS])
    request = FlushConntrack(protocol=UDP, address=address, ports=PortRange(8080, 8080))
    assert forgotten(host, hosts, request) == {(UDP, LOCAL, ALIAS, 8080)}


def test_port_range(host: str, hosts: dict[str, str]) -> None:
    request = FlushConntrack(protocol=UDP, ports=PortRange(8081, 60000))
    assert forgotten(host, hosts, request) == {(UDP, LOCAL, ALIAS, 8081), (UDP, LOCAL, LOCAL, 9000)}


def test_original_destination_counts_not_where_translation_led(host: str, hosts: dict[str, str]) -> None:
    assert forgotten(host, hosts, FlushConntrack(protocol=UDP, ports=PortRange(90, 90))) == set()
    request = FlushConntrack(protocol=UDP, ports=PortRange(9000, 9000))
    assert forgotten(host, hosts, request) == {(UDP, LOCAL, LOCAL, 9000)}


def test_other_protocol_stays(host: str, hosts: dict[str, str]) -> None:
    assert forgotten(host, hosts, FlushConntrack(protocol=TCP, ports=PortRange(1, 65535))) == set()
    assert forgotten(host, hosts, FlushConntrack(protocol=SCTP, ports=PortRange(8080, 8080))) == set()
    address = parse_address("address", hosts[PEER])
    request = FlushConntrack(protocol=TCP, address=address, ports=PortRange(8080, 8080))
    assert forgotten(host, hosts, request) == {(TCP, LOCAL, PEER, 8080)}


def test_address_means_what_leads_to_it_directly_or_translated(host: str, hosts: dict[str, str]) -> None:
    request = FlushConntrack(address=parse_address("address", hosts[PEER]))
    assert forgotten(host, hosts, request) == {
        (UDP, LOCAL, PEER, 8080),
        (TCP, LOCAL, PEER, 8080),
        (UDP, ALIAS, PEER, 53),
        (UDP, LOCAL, LOCAL, 9000),
    }


def test_source_means_the_source_before_translation(host: str, hosts: dict[str, str]) -> None:
    request = FlushConntrack(source=parse_address("address", hosts[ALIAS]))
    assert forgotten(host, hosts, request) == {(UDP, ALIAS, PEER, 53), (UDP, ALIAS, OTHER_PEER, 53)}


def test_source_and_address_mean_the_original_direction(host: str, hosts: dict[str, str]) -> None:
    source, address = parse_address("source", hosts[LOCAL]), parse_address("address", hosts[PEER])
    request = FlushConntrack(source=source, address=address)
    assert forgotten(host, hosts, request) == {(UDP, LOCAL, PEER, 8080), (TCP, LOCAL, PEER, 8080)}


def test_prefixes(host: str, hosts: dict[str, str]) -> None:
    v6 = ":" in hosts[LOCAL]
    source = ip_network("fd78::2/127" if v6 else "10.78.0.2/31")
    address = ip_network("fd78:1::2/127" if v6 else "10.78.1.2/31")
    request = FlushConntrack(source=source, address=address)
    assert forgotten(host, hosts, request) == {(UDP, ALIAS, PEER, 53), (UDP, ALIAS, OTHER_PEER, 53)}


def test_several_requests_together_are_as_one_after_the_other(host: str, hosts: dict[str, str]) -> None:
    ports = [FlushConntrack(protocol=UDP, ports=PortRange(port, port)) for port in (8080, 8081, 8082, 90)]
    at_peer = parse_address("address", hosts[PEER])
    others = [
        FlushConntrack(protocol=TCP, address=at_peer, ports=PortRange(8080, 8080)),
        FlushConntrack(source=parse_address("address", hosts[ALIAS]), address=at_peer),
        FlushConntrack(protocol=TCP, ports=PortRange(9000, 9000)),
    ]
    assert forgotten(host, hosts, *ports, *others) == {
        (UDP, LOCAL, LOCAL, 8080),
        (UDP, LOCAL, ALIAS, 8080),
        (UDP, LOCAL, ALIAS, 8081),
        (TCP, LOCAL, PEER, 8080),
        (UDP, ALIAS, PEER, 53),
    }


def test_more_connections_than_one_datagram_takes(host: str) -> None:
    run(host, "conntrack -F")

    def many() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            for port in range(20000, 21000):
                one.sendto(b"", ("10.78.1.2", port))

    inside(host, many)
    assert inside(host, lambda: flush(FlushConntrack(address=ip_address("10.78.1.2"), source=None))) == 1000
    assert "dst=10.78.1.2" not in run(host, "conntrack -L -f ipv4")


def test_nothing_tracked_is_nothing_forgotten() -> None:
    with namespace("untracked") as empty:
        assert inside(empty, lambda: flush(FlushConntrack(ports=PortRange(80, 80)))) == 0


def test_flushing_everything_is_never_meant() -> None:
    with pytest.raises(AssertionError):
        flush(FlushConntrack(protocol=TCP))
