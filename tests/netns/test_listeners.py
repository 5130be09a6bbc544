"""The listener dump tells what real sockets hold."""

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from atoll.kernel.listeners import BoundSocket, first_in, holder_of, listeners, sockets_at
from atoll.model.ports import PortRange, Protocol
from tests.netns.namespaces import eventually, inside, namespace, running

STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with namespace("listeners") as name:
        yield name


def bound(family: int, kind: int, address: str, port: int, *, v6only: bool = True) -> socket.socket:
    made = socket.socket(family, kind)
    if family == V6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    made.bind((address, port))
    return made


@pytest.mark.parametrize(
    ("family", "kind", "address", "v6only", "shown"),
    [
        (V4, STREAM, "127.0.0.1", True, "127.0.0.1"),
        (V4, STREAM, "0.0.0.0", True, "0.0.0.0"),
        (V6, STREAM, "::1", True, "::1"),
        (V6, STREAM, "::", False, "::"),
        (V6, STREAM, "::", True, "::"),
        (V6, STREAM, "::ffff:127.0.0.1", False, "127.0.0.1"),
        (V4, DATAGRAM, "127.0.0.1", True, "127.0.0.1"),
        (V6, DATAGRAM, "::", False, "::"),
    ],
)
def test_listener_is_told_with_address_port_inode(
    host: str, family: int, kind: int, address: str, v6only: bool, shown: str
) -> None:
    def look() -> tuple[list[BoundSocket], int]:
        with bound(family, kind, address, 4321, v6only=v6only) as one:
            if kind == STREAM:
                one.listen()
            return listeners(), os.fstat(one.fileno()).st_ino

    found, inode = inside(host, look)
    protocol = Protocol.TCP if kind == STREAM else Protocol.UDP
    assert found == [BoundSocket(protocol, ip_address(shown), 4321, inode, v6only and family == V6, True)]


def test_connections_hold_nothing(host: str) -> None:
    def look() -> tuple[list[BoundSocket], list[BoundSocket]]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            accepted, peer = server.accept()
            talking = socket.socket(V4, DATAGRAM)
            talking.connect(("127.0.0.1", 9))
            with client, accepted, talking:
                return listeners(), sockets_at(Protocol.TCP, peer[1])

    found, ends = inside(host, look)
    assert [each.protocol for each in found] == [Protocol.TCP]
    assert [each.holding for each in ends] == [False]


def test_bound_socket_that_never_listens_is_told(host: str) -> None:
    def look() -> list[BoundSocket]:
        with bound(V4, STREAM, "0.0.0.0", 4321), bound(V4, STREAM, "0.0.0.0", 4322):
            return sockets_at(Protocol.TCP, 4321)

    assert [(each.port, each.holding) for each in inside(host, look)] == [(4321, True)]


def test_sctp_has_none(host: str) -> None:
    assert inside(host, lambda: listeners((Protocol.SCTP,))) == []
    assert inside(host, lambda: sockets_at(Protocol.SCTP, 80)) == []


@pytest.mark.parametrize(
    ("address", "v6only", "wanted", "met"),
    [
        ("0.0.0.0", False, None, True),
        ("0.0.0.0", False, "10.0.0.1", True),
        ("0.0.0.0", False, "::", False),
        ("10.0.0.1", False, "0.0.0.0", True),
        ("10.0.0.1", False, "10.0.0.2", False),
        ("::", False, "10.0.0.1", True),
        ("::", True, "10.0.0.1", False),
        ("::", True, "fd00::1", True),
        ("fd00::1", False, "0.0.0.0", False),
    ],
)
def test_first_in_knows_which_addresses_meet(address: str, v6only: bool, wanted: str | None, met: bool) -> None:
    one = BoundSocket(Protocol.TCP, ip_address(address), 8080, 1, v6only, True)
    asked = None if wanted is None else ip_address(wanted)
    assert (first_in([one], Protocol.TCP, asked, PortRange(8000, 9000)) is one) == met
    assert first_in([one], Protocol.UDP, asked, PortRange(8000, 9000)) is None
    assert first_in([one], Protocol.TCP, asked, PortRange(8081, 9000)) is None


def test_holder_is_named_with_its_pid(host: str) -> None:
    with running(host, ["socat", "TCP-LISTEN:4400", "STDIO"]) as process:
        found = eventually(lambda: inside(host, lambda: sockets_at(Protocol.TCP, 4400)))
        assert holder_of(found[0].inode) == f"socat (pid {process.pid})"
    assert holder_of(found[0].inode) == ""
    assert holder_of(0) == ""
