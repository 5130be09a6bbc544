"""Whoever is slow, greedy or silent costs the relay no more than its limits."""

import hashlib
import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from atoll.model.ports import Protocol
from atoll.relay.limits import Limits
from tests.netns.namespaces import eventually
from tests.support.relayed import (
    RESET_ON_CLOSE,
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

UDP = Protocol.UDP


@pytest.fixture(scope="module")
def hosts() -> Iterator[Row]:
    with row() as made:
        yield made


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_slow_reader_costs_bounded_memory_and_delays_nobody(hosts: Row) -> None:
    body = os.urandom(1 << 20) * 48

    def pour(sock: socket.socket) -> None:
        if sock.recv(1) == b"p":
            sock.settimeout(60)
            sock.sendall(body)
        else:
            sock.sendall(b"!")

    with tcp_server(hosts.endpoint, pour), relay(hosts) as client, published(hosts, client):
        before = resident_bytes(client.pid())
        with connect(hosts.client, receive_bytes=4096) as slow:
            slow.sendall(b"p")
            for _ in range(20):
                with connect(hosts.client) as quick:
                    quick.sendall(b"q")
                    assert read_all(quick) == b"!"
            assert resident_bytes(client.pid()) - before < 4 << 20
            slow.shutdown(socket.SHUT_WR)
            assert hashlib.sha256(read_all(slow)).digest() == hashlib.sha256(body).digest()
        assert resident_bytes(client.pid()) - before < 4 << 20


def test_stalled_connection_leaves_the_relay_asleep(hosts: Row) -> None:
    body = bytes(32 << 20)

    def pour(sock: socket.socket) -> None:
        sock.sendall(body)

    with tcp_server(hosts.endpoint, pour), relay(hosts) as client, published(hosts, client):
        with connect(hosts.client, receive_bytes=4096) as stalled:
            stalled.shutdown(socket.SHUT_WR)
            eventually(lambda: client.entries()["web"].open == 1)
            pid = client.pid()
            ticks = _asleep(pid)
            assert ticks <= 1, f"{ticks} clock ticks of processor time in a second of waiting"
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        eventually(lambda: client.entries()["web"].open == 0)


def _asleep(pid: int) -> int:
    """Clock ticks of processor time that a process uses in one second, once it has settled."""

    def used() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    never = Event()
    never.wait(0.5)
    before = used()
    never.wait(1)
    return used() - before


@pytest.mark.parametrize("limits", [Limits(connections_max=3), Limits(listener_connections_max=3)])
def test_clients_above_the_limit_wait_for_their_turn(hosts: Row, limits: Limits) -> None:
    with tcp_server(hosts.endpoint, echo) as peers, relay(hosts, limits) as client, published(hosts, client):
        inside_ = [connect(hosts.client) for _ in range(3)]
        for sock in inside_:
            ask(sock)
        with connect(hosts.client) as waiting:
            waiting.sendall(b"hello")
            assert not select.select([waiting], [], [], 1)[0]
            assert len(peers) == 3
            inside_.pop().close()
            assert waiting.recv(100) == b"hello"
        for sock in inside_:
            ask(sock)
            sock.close()


def test_shortage_of_descriptors_is_survived(hosts: Row) -> None:
    with tcp_server(hosts.endpoint, echo), relay(hosts) as client, published(hosts, client), ExitStack() as open_:
        resource.prlimit(client.pid(), resource.RLIMIT_NOFILE, (32, 32))
        socks = [open_.enter_context(connect(hosts.client)) for _ in range(30)]
        served = 0
        for sock in socks:
            sock.settimeout(0.05)
            try:
                ask(sock)
            except TimeoutError:
                continue
            except ConnectionResetError:
                sock.close()
                continue
            served += 1
        assert 5 < served < 20
        ticks = _asleep(client.pid())
        assert ticks <= 2, f"{ticks} clock ticks of processor time in a second of waiting"
        open_.close()
        with connect(hosts.client) as sock:
            ask(sock)


def test_flows_end_when_idle_and_at_the_limit(hosts: Row) -> None:
    limits = Limits(flows_max=3, flow_idle_s=1)
    with udp_server(hosts.endpoint) as senders, relay(hosts, limits) as client, published(hosts, client, UDP):
        with ExitStack() as open_:
            socks = [open_.enter_context(udp_client(hosts.client)) for _ in range(5)]
            for sock in socks:
                sock.send(b"hello")
                assert sock.recv(100) == b"hello"
            assert client.entries()["web"].open == 3
            socks[0].send(b"again")
            assert socks[0].recv(100) == b"again"
        assert len(set(senders)) == 6
        eventually(lambda: client.entries()["web"].open == 0)


def test_relay_that_nobody_asks_for_anything_ends_by_itself(hosts: Row) -> None:
    limits = Limits(idle_exit_s=0.5)
    with relay(hosts, limits) as client, bound(hosts.host, UDP) as held:
        pid = client.pid()
        assert _asleep(pid) <= 1, "a controller keeps it"
        serve(client, {"web": target(UDP)}, {"web": [held]})
        client.close()
        assert _asleep(pid) <= 1, "a port keeps it"
        assert client.pid() == pid

        deserted = client.path.with_name("deserted")
        command = [sys.executable, "-m", "atoll.relay", "--control", str(deserted), "--idle-exit-s", "0.5"]
        subprocess.run(command, check=True)
        assert deserted.exists()
        eventually(lambda: not deserted.exists())
