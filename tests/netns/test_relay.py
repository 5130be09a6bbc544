"""The relay carries bytes of both protocols, and tells the ends of connections apart."""

import errno
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event

import pytest

from atoll.model.ports import Protocol
from atoll.relay.limits import Limits
from tests.netns.namespaces import eventually
from tests.support.relayed import (
    HOST,
    HOST_SECOND,
    NOBODY,
    RESET_ON_CLOSE,
    WAIT_S,
    Row,
    ask,
    bound,
    connect,
    echo,
    published,
    read_all,
    relay,
    row,
    serve,
    target,
    tcp_server,
    udp_client,
    udp_server,
)

TCP, UDP = Protocol.TCP, Protocol.UDP


@pytest.fixture(scope="module")
def hosts() -> Iterator[Row]:
    with row() as made:
        yield made


def test_ipv6_client_reaches_ipv4_endpoint(hosts: Row) -> None:
    with tcp_server(hosts.endpoint, echo) as peers, relay(hosts) as client, published(hosts, client):
        with connect(hosts.client) as sock:
            ask(sock)
        assert peers == ["10.9.0.1"]


@pytest.mark.parametrize("address", ["::1", HOST])
def test_host_reaches_endpoint_over_ipv6(hosts: Row, address: str) -> None:
    with tcp_server(hosts.endpoint, echo), relay(hosts) as client, published(hosts, client):
        with connect(hosts.host, address) as sock:
            ask(sock)
    with udp_server(hosts.endpoint), relay(hosts) as client, published(hosts, client, UDP):
        with udp_client(hosts.host, address) as sock:
            sock.send(b"hello")
            assert sock.recv(100) == b"hello"


def test_ipv4_host_port_is_carried_too(hosts: Row) -> None:
    with tcp_server(hosts.endpoint, echo), relay(hosts) as client:
        with bound(hosts.host, TCP, "127.0.0.1") as held:
            serve(client, {"web": target()}, {"web": [held]})
            with connect(hosts.host, "127.0.0.1") as sock:
                ask(sock)
    with udp_server(hosts.endpoint), relay(hosts) as client:
        with bound(hosts.host, UDP, "0.0.0.0") as held:
            serve(client, {"web": target(UDP)}, {"web": [held]})
            with udp_client(hosts.host, "127.0.0.7") as sock:
                sock.send(b"hello")
                assert sock.recv(100) == b"hello"


def test_datagrams_are_answered_from_the_address_they_were_sent_to(hosts: Row) -> None:
    with udp_server(hosts.endpoint) as senders, relay(hosts) as client, published(hosts, client, UDP):
        first, second = udp_client(hosts.client, HOST), udp_client(hosts.client, HOST_SECOND)
        with first, second:
            for number in range(20):
                for sock in (first, second):
                    sock.send(b"%d" % number)
                    assert sock.recv(100) == b"%d" % number
        assert {address for address, _ in senders} == {"10.9.0.1"}
        assert len({port for _, port in senders}) == 2
        assert client.entries()["web"].open == 2


@pytest.mark.parametrize("size", [0, 1, 1400, 9000, 65507])
def test_datagram_sizes(hosts: Row, size: int) -> None:
    datagram = os.urandom(size)
    with udp_server(hosts.endpoint), relay(hosts) as client, published(hosts, client, UDP):
        with udp_client(hosts.client) as sock:
            sock.send(datagram)
            assert sock.recv(65535) == datagram


def test_five_hundred_connections_at_once(hosts: Row) -> None:
    with tcp_server(hosts.endpoint, echo), relay(hosts) as client, published(hosts, client), ExitStack() as open_:
        socks = [open_.enter_context(connect(hosts.client)) for _ in range(500)]
        for number, sock in enumerate(socks):
            sock.sendall(b"connection %d\n" % number * 100)
        for number, sock in enumerate(socks):
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b"connection %d\n" % number * 100
        assert client.entries()["web"].total == 500
        eventually(lambda: client.entries()["web"].open == 0)


def test_client_half_closes_and_reads_the_answer(hosts: Row) -> None:
    def digest(sock: socket.socket) -> None:
        sock.sendall(hashlib.sha256(read_all(sock)).hexdigest().encode())

    body = os.urandom(3_000_000)
    with tcp_server(hosts.endpoint, digest), relay(hosts) as client, published(hosts, client):
        with connect(hosts.client) as sock:
            sock.sendall(body)
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock).decode() == hashlib.sha256(body).hexdigest()


def test_endpoint_half_closes_and_reads_on(hosts: Row) -> None:
    received: list[bytes] = []
    done = Event()

    def greet(sock: socket.socket) -> None:
        sock.sendall(b"welcome")
        sock.shutdown(socket.SHUT_WR)
        received.append(read_all(sock))
        done.set()

    with tcp_server(hosts.endpoint, greet), relay(hosts) as client, published(hosts, client):
        with connect(hosts.client) as sock:
            assert read_all(sock) == b"welcome"
            sock.sendall(b"thanks")
        assert done.wait(WAIT_S)
        assert received == [b"thanks"]


def test_reset_of_the_endpoint_reaches_the_client_after_its_last_bytes(hosts: Row) -> None:
    def break_off(sock: socket.socket) -> None:
        sock.sendall(b"last words")
        # A reset overtakes bytes that are still on their way, also between two hosts without a relay.
        sock.recv(100)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    with tcp_server(hosts.endpoint, break_off), relay(hosts) as client, published(hosts, client):
        with connect(hosts.client) as sock:
            assert sock.recv(100) == b"last words"
            sock.sendall(b"go")
            with pytest.raises(ConnectionResetError):
                sock.recv(100)


def test_reset_of_the_client_reaches_an_endpoint_that_says_nothing(hosts: Row) -> None:
    errors: list[OSError] = []
    done = Event()

    def listen(sock: socket.socket) -> None:
        sock.recv(100)
        try:
            sock.recv(100)
        except OSError as error:
            errors.append(error)
        done.set()

    with tcp_server(hosts.endpoint, listen), relay(hosts) as client, published(hosts, client):
        with connect(hosts.client) as sock:
            sock.sendall(b"hello")
            eventually(lambda: client.entries()["web"].open == 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        assert done.wait(WAIT_S)
    assert [error.errno for error in errors] == [errno.ECONNRESET]


def test_endpoint_that_refuses_resets_the_client(hosts: Row) -> None:
    with relay(hosts) as client, published(hosts, client):
        # The reset may come before connect has returned.
        with pytest.raises(ConnectionResetError), connect(hosts.client) as sock:
            sock.recv(100)
        entry = client.entries()["web"]
        assert (entry.open, entry.total, entry.failed) == (0, 1, 1)


def test_endpoint_that_is_silent_resets_the_client_in_time(hosts: Row) -> None:
    limits = Limits(connect_timeout_s=0.5)
    with relay(hosts, limits) as client, published(hosts, client, address=NOBODY):
        with connect(hosts.client) as sock, pytest.raises(ConnectionResetError):
            sock.recv(100)
        assert client.entries()["web"].failed == 1


def test_datagrams_to_a_closed_port_are_survived(hosts: Row) -> None:
    with relay(hosts) as client, published(hosts, client, UDP), udp_client(hosts.client) as sock:
        for _ in range(5):
            sock.send(b"anyone?")
        eventually(lambda: client.entries()["web"].open == 1)
        with udp_server(hosts.endpoint):
            sock.send(b"hello")
            assert sock.recv(100) == b"hello"
