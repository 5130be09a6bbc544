"""The relay with real sockets: bytes of both protocols, limits, and a daemon that dies."""

import errno
import hashlib
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

import pytest

from atoll.errors import InvalidRequest, Unavailable
from atoll.model.ports import Protocol
from atoll.relay.client import RelayClient
from atoll.relay.limits import Limits
from tests.netns.namespaces import eventually, inside, path_of
from tests.support.relayed import (
    HOST,
    HOST_SECOND,
    NOBODY,
    PORT,
    WAIT_S,
    Row,
    bound,
    connect,
    echo,
    read_all,
    row,
    target,
    tcp_server,
    udp_client,
    udp_server,
)

TCP, UDP = Protocol.TCP, Protocol.UDP
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Row]:
    with row() as made:
        yield made


@contextmanager
def relay(hosts: Row, limits: Limits | None = None) -> Iterator[RelayClient]:
    """A running relay in the host's namespace, ended with the block."""
    directory = Path(tempfile.mkdtemp(prefix="at-relay-"))
    client = RelayClient(directory / "relay", limits=limits)
    inside(hosts.host, client.ensure_running)
    try:
        yield client
    finally:
        log = (directory / "relay.log").read_text()
        client.stop()
        shutil.rmtree(directory)
    assert log == ""


@contextmanager
def published(hosts: Row, client: RelayClient, protocol: Protocol = TCP, **to: object) -> Iterator[socket.socket]:
    """A host port that the relay serves; yields the socket that the daemon holds."""
    with bound(hosts.host, protocol) as held:
        client.sync({"web": target(protocol, **to)}, {"web": held})  # type: ignore[arg-type]
        yield held
        client.sync({}, {})


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def ask(sock: socket.socket, text: bytes = b"hello") -> None:
    """One exchange with an echo server."""
    sock.sendall(text)
    got = b""
    while len(got) < len(text):
        chunk = sock.recv(65536)
        assert chunk, f"the stream ended after {got!r}"
        got += chunk
    assert got == text


# Bytes


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
            client.sync({"web": target()}, {"web": held})
            with connect(hosts.host, "127.0.0.1") as sock:
                ask(sock)
    with udp_server(hosts.endpoint), relay(hosts) as client:
        with bound(hosts.host, UDP, "0.0.0.0") as held:
            client.sync({"web": target(UDP)}, {"web": held})
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


# The ends of connections


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
        with connect(hosts.client) as sock, pytest.raises(ConnectionResetError):
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


# Limits


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


def test_idle_relay_ends_by_itself(hosts: Row) -> None:
    with relay(hosts, Limits(idle_exit_s=0.5)) as client:
        pid = client.pid()
        with published(hosts, client):
            client.close()
            assert _asleep(pid) <= 1
            assert client.running()
        assert _asleep(pid) <= 1
        client.close()
        eventually(lambda: not Path(f"/proc/{pid}").exists())
        assert not client.path.exists()


# The daemon's side


def test_removed_port_refuses_and_stays_held(hosts: Row) -> None:
    with tcp_server(hosts.endpoint, echo), relay(hosts) as client, published(hosts, client) as held:
        with connect(hosts.client) as sock:
            ask(sock)
            client.sync({}, {})
            with pytest.raises(ConnectionResetError):
                sock.recv(100)
        with pytest.raises(ConnectionRefusedError):
            connect(hosts.client)
        with pytest.raises(AssertionError, match="taken"):
            bound(hosts.host, TCP)
        client.sync({"web": target()}, {"web": held})
        with connect(hosts.client) as sock:
            ask(sock)


def test_sync_changes_only_what_differs(hosts: Row) -> None:
    ports = range(PORT, PORT + 4)
    with relay(hosts) as client, ExitStack() as stack:
        held = {f"port {port}": stack.enter_context(bound(hosts.host, TCP, port=port)) for port in ports}
        for port in (PORT, PORT + 1):
            stack.enter_context(tcp_server(hosts.endpoint, echo, port))
        kept, gone, moved, new = held
        client.sync({kept: target(), gone: target(), moved: target()}, held)
        clients = {
            key: stack.enter_context(connect(hosts.client, port=port)) for key, port in zip(held, ports) if key != new
        }
        for sock in clients.values():
            ask(sock)

        again = RelayClient(client.path)
        desired = {kept: target(), moved: target(port=PORT + 1), new: target()}
        again.sync(desired, {new: held[new]})

        assert {key: entry.target for key, entry in again.entries().items()} == desired
        ask(clients[kept])
        for key in (gone, moved):
            with pytest.raises(ConnectionResetError):
                clients[key].recv(100)
        for port in (PORT, PORT + 2, PORT + 3):
            with connect(hosts.client, port=port) as sock:
                ask(sock)
        again.close()


def test_many_ports_are_listed_page_by_page(hosts: Row) -> None:
    ports = range(20000, 20250)
    with relay(hosts) as client, ExitStack() as stack:
        held = {f"tcp {port}": stack.enter_context(bound(hosts.host, TCP, port=port)) for port in ports}
        desired = {key: target(port=port) for key, port in zip(held, ports)}
        client.sync(desired, held)
        assert {key: entry.target for key, entry in client.entries().items()} == desired
        client.sync({}, {})
        assert client.entries() == {}


def test_killed_daemon_is_not_noticed_by_clients(hosts: Row, tmp_path: Path) -> None:
    path = Path(tempfile.mkdtemp(prefix="at-relay-")) / "relay"
    daemon = f"""
        import ipaddress, pathlib, signal
        from atoll.kernel.portsocket import bind_port
        from atoll.model.ports import Protocol
        from atoll.relay.client import RelayClient
        from atoll.relay.wire import RelayTarget
        target = {{}}
        held = {{}}
        for protocol in (Protocol.TCP, Protocol.UDP):
            held[protocol.word] = bind_port(protocol, ipaddress.ip_address("::"), {PORT})
            target[protocol.word] = RelayTarget(protocol, ipaddress.ip_address("10.9.0.2"), {PORT})
        RelayClient(pathlib.Path({str(path)!r})).sync(target, held)
        print("serving", flush=True)
        signal.pause()
    """
    command = ["nsenter", f"--net={path_of(hosts.host)}", sys.executable, "-c", textwrap.dedent(daemon)]
    with tcp_server(hosts.endpoint, echo), udp_server(hosts.endpoint):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        with connect(hosts.client) as tcp, udp_client(hosts.client) as udp:
            ask(tcp)
            process.send_signal(signal.SIGKILL)
            # The relay has none of its daemon's files, so this pipe ends.
            assert process.communicate(timeout=WAIT_S) == ("", None)
            ask(tcp)
            udp.send(b"hello")
            assert udp.recv(100) == b"hello"
            with connect(hosts.client) as new:
                ask(new)

            successor = RelayClient(path)
            assert os.getsid(successor.pid()) == successor.pid()
            with successor.take("tcp") as held, successor.take("udp"):
                assert held.getsockname()[:2] == ("::", PORT)
                successor.sync({"tcp": target(), "udp": target(UDP)}, {})
                ask(tcp)
                successor.stop()
                assert not successor.running()
                with pytest.raises(AssertionError, match="taken"):
                    bound(hosts.host, TCP)
    shutil.rmtree(path.parent)


def test_killed_relay_is_started_again_with_the_held_sockets(hosts: Row) -> None:
    with tcp_server(hosts.endpoint, echo), relay(hosts) as client, published(hosts, client) as held:
        os.kill(client.pid(), signal.SIGKILL)
        # Nobody accepts now, but the port still listens: this client waits in the queue.
        with connect(hosts.client) as sock:
            inside(hosts.host, lambda: client.sync({"web": target()}, {"web": held}))
            ask(sock)


def test_second_relay_on_one_path_is_refused(hosts: Row) -> None:
    with relay(hosts) as client:
        command = [sys.executable, "-m", "atoll.relay", "--control", str(client.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, f"another relay serves {client.path}\n")
        assert client.running()


def test_socket_of_the_wrong_kind_is_refused_by_name(hosts: Row) -> None:
    with relay(hosts) as client, bound(hosts.host, UDP) as udp, bound(hosts.host, TCP) as tcp:
        with pytest.raises(Unavailable, match=r"web: .*not a bound tcp socket"):
            client.sync({"web": target(), "dns": target(UDP)}, {"web": udp, "dns": udp})
        with pytest.raises(Unavailable, match="no socket came with it"):
            client.sync({"web": target()}, {})
        with pytest.raises(InvalidRequest, match="'web' is not served"):
            client.take("web")
        client.sync({"web": target()}, {"web": tcp})


def test_nonsense_on_the_control_socket_is_answered_or_cut_off(hosts: Row) -> None:
    with relay(hosts) as client, open(os.devnull) as no_socket:
        for packet in (b"nonsense", b"[]", b'{"op":"reboot"}', b'{"op":"add"}', b" " * 70000):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
                sock.connect(str(client.path))
                sock.settimeout(WAIT_S)
                socket.send_fds(sock, [packet], [no_socket.fileno()] * 6)
                assert b'"error"' in sock.recv(65536)
        crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(12)]
        for sock in crowd:
            sock.connect(str(client.path))
        assert client.running()
        for sock in crowd:
            sock.close()
        descriptors = Path(f"/proc/{client.pid()}/fd")
        eventually(lambda: len(list(descriptors.iterdir())) < 12)


def test_control_socket_is_root_only(hosts: Row) -> None:
    with relay(hosts) as client:
        assert client.path.stat().st_mode & 0o777 == 0o600
