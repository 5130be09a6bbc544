"""What the daemon says to the relay, and what becomes of ports when either of them dies."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from atoll.errors import InvalidRequest, Unavailable
from atoll.model.ports import PortRange, Protocol
from atoll.relay.client import Offer, RelayClient
from atoll.relay.messages import KEY_PORTS_MAX, Opened
from tests.netns.namespaces import eventually, inside, path_of, run
from tests.support.relayed import (
    PORT,
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


def test_removed_port_refuses_and_stays_held(hosts: Row) -> None:
    with tcp_server(hosts.endpoint, echo), relay(hosts) as client, published(hosts, client) as held:
        with connect(hosts.client) as sock:
            ask(sock)
            serve(client, {})
            with pytest.raises(ConnectionResetError):
                sock.recv(100)
        with pytest.raises(ConnectionRefusedError):
            connect(hosts.client)
        with pytest.raises(AssertionError, match="taken"):
            bound(hosts.host, TCP)
        serve(client, {"web": target()}, {"web": [held]})
        with connect(hosts.client) as sock:
            ask(sock)


def test_sync_changes_only_what_differs(hosts: Row) -> None:
    ports = range(PORT, PORT + 4)
    with relay(hosts) as client, ExitStack() as stack:
        held = {f"port {port}": [stack.enter_context(bound(hosts.host, port=port))] for port in ports}
        for port in (PORT, PORT + 1):
            stack.enter_context(tcp_server(hosts.endpoint, echo, port))
        kept, gone, moved, new = held
        serve(client, {kept: target(), gone: target(), moved: target()}, held)
        clients = {
            key: stack.enter_context(connect(hosts.client, port=port)) for key, port in zip(held, ports) if key != new
        }
        for sock in clients.values():
            ask(sock)

        again = RelayClient(client.path)
        desired = {kept: target(), moved: target(port=PORT + 1), new: target()}
        serve(again, desired, {new: held[new]})

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
        held = {f"tcp {port}": [stack.enter_context(bound(hosts.host, port=port))] for port in ports}
        desired = {key: target(port=port) for key, port in zip(held, ports)}
        serve(client, desired, held)
        assert {key: entry.target for key, entry in client.entries().items()} == desired
        serve(client, {})
        assert client.entries() == {}


@contextmanager
def bound_row(name: str, first: int, count: int, protocol: Protocol = TCP) -> Iterator[list[socket.socket]]:
    """Bound sockets of `count` ports from `first` on."""
    with ExitStack() as stack:
        yield [stack.enter_context(bound(name, protocol, port=port)) for port in range(first, first + count)]


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_ports_of_a_key_lead_to_ports_in_a_row(hosts: Row, protocol: Protocol) -> None:
    asked, inner = (20000, 20031, 20063), 30000
    with relay(hosts) as client, bound_row(hosts.host, 20000, KEY_PORTS_MAX, protocol) as held, ExitStack() as stack:
        # In any order: a socket knows its port.
        serve(client, {"range": target(protocol, port=inner)}, {"range": held[::-1]})
        for port in asked:
            number = inner + port - 20000
            if protocol is UDP:
                stack.enter_context(udp_server(hosts.endpoint, number))
                sock = stack.enter_context(udp_client(hosts.client, port=port))
            else:
                stack.enter_context(tcp_server(hosts.endpoint, echo, number))
                sock = stack.enter_context(connect(hosts.client, port=port))
            ask(sock)
        entry = client.entries()["range"]
        assert (entry.target, entry.open, entry.total) == (target(protocol, port=inner), 3, 3)
        taken = [stack.enter_context(each) for each in client.take("range")]
        assert [each.getsockname()[1] for each in taken] == list(range(20000, 20000 + KEY_PORTS_MAX))

        with tcp_server(hosts.endpoint, echo, 40063) if protocol is TCP else udp_server(hosts.endpoint, 40063):
            serve(client, {"range": target(protocol, port=40000)})
            with (connect if protocol is TCP else udp_client)(hosts.client, port=20063) as sock:
                ask(sock)


def test_sockets_that_are_no_row_of_ports_are_refused(hosts: Row) -> None:
    with relay(hosts) as client, bound_row(hosts.host, 20000, 3) as held, bound(hosts.host, TCP, "::1", 20003) as other:
        for sockets in (held[::2], [*held, other], [*held, held[0]]):
            failed = client.sync({"range": Offer(target(), sockets)})
            assert failed == {"range": "the sockets are not one address's ports in a row"}
        failed = client.sync({"range": Offer(target(port=65534), held)})
        assert failed == {"range": "the ports lead to ports above 65535"}
        serve(client, {"range": target(port=65533)}, {"range": held})
        failed = client.sync({"range": Offer(target(port=65534), held)})
        assert failed == {"range": "the ports lead to ports above 65535"}
        assert client.entries()["range"].target == target(port=65533)


@pytest.mark.parametrize("files_max", [40, 100])
def test_range_that_the_limit_of_files_cuts_is_not_served_at_all(hosts: Row, files_max: int) -> None:
    with relay(hosts) as client, bound_row(hosts.host, 20000, KEY_PORTS_MAX) as held:
        resource.prlimit(client.pid(), resource.RLIMIT_NOFILE, (files_max, 20000))
        failed = client.sync({"range": Offer(target(), held)})
        assert failed["range"].endswith(f"no file left to open of {files_max}")
        for port in (20000, 20063):
            with pytest.raises(ConnectionRefusedError):
                connect(hosts.client, port=port)
        resource.prlimit(client.pid(), resource.RLIMIT_NOFILE, (20000, 20000))
        serve(client, {"range": target()}, {"range": held})
        assert list(client.entries()) == ["range"]


@pytest.mark.parametrize("files_max", [40, 100])
def test_ports_that_the_relay_has_no_file_for_are_left_free(hosts: Row, files_max: int) -> None:
    with relay(hosts) as client:
        resource.prlimit(client.pid(), resource.RLIMIT_NOFILE, (files_max, 20000))
        failed = client.sync({"range": opened(20000, KEY_PORTS_MAX), "more": opened(21000, KEY_PORTS_MAX)})
        assert failed["more"] == f"no file left to open of {files_max}"
        assert list(client.entries()) == ([] if files_max == 40 else ["range"])
        with bound_row(hosts.host, 21000, KEY_PORTS_MAX):
            pass


def test_of_many_sockets_those_that_the_limit_of_files_lets_in_are_served(hosts: Row) -> None:
    with relay(hosts) as client, bound_row(hosts.host, 20000, 100) as held:
        resource.prlimit(client.pid(), resource.RLIMIT_NOFILE, (60, 20000))
        failed = client.sync({str(sock.getsockname()[1]): Offer(target(), [sock]) for sock in held})
        assert 40 < len(client.entries()) < 60
        assert failed.keys() | client.entries().keys() == {str(port) for port in range(20000, 20100)}
        assert not failed.keys() & client.entries().keys()
        assert all(reason.endswith("no file left to open of 60") for reason in failed.values())


def opened(first: int, count: int = 1, protocol: Protocol = TCP) -> Offer:
    """Ports that the relay opens itself."""
    return Offer(target(protocol), Opened(ip_address("::"), PortRange(first, first + count - 1)))


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_port_that_another_has_is_the_only_one_that_fails(hosts: Row, protocol: Protocol) -> None:
    with relay(hosts) as client, bound(hosts.host, protocol, "::1", 20500):
        failed = client.sync({str(port): opened(port, protocol=protocol) for port in range(20000, 21200)})
        assert failed == {"20500": "address already in use"}
        assert len(client.entries()) == 1199


def test_opened_port_leaves_ipv4_alone(hosts: Row) -> None:
    with relay(hosts) as client, bound(hosts.host, TCP, "0.0.0.0", 20000):
        assert client.sync({"one": opened(20000)}) == {}


def test_opened_port_moves_to_another_key_in_one_change(hosts: Row) -> None:
    with relay(hosts) as client:
        assert client.sync({str(port): opened(port) for port in range(20000, 20600)}) == {}
        served = {key: entry.target for key, entry in client.entries().items()}
        wider = {f"from {port}": opened(port, 50) for port in range(20000, 20600, 50)}
        assert client.change(served, wider).finish() == {}
        assert client.entries().keys() == wider.keys()


def test_opened_port_is_opened_again_over_what_remains_of_its_connections(hosts: Row) -> None:
    def quit_first(sock: socket.socket) -> None:
        sock.sendall(b"bye")

    with tcp_server(hosts.endpoint, quit_first), relay(hosts) as client:
        assert client.sync({"one": opened(20000)}) == {}
        with connect(hosts.client, port=20000) as sock:
            assert read_all(sock) == b"bye"
        eventually(lambda: "TIME-WAIT" in run(hosts.host, "ss -Htan sport = :20000"))
        assert client.sync({}) == {}
        assert client.sync({"other": opened(20000)}) == {}
        with connect(hosts.client, port=20000) as sock:
            assert read_all(sock) == b"bye"


def test_change_is_finished_before_anything_else_is_asked(hosts: Row) -> None:
    with relay(hosts) as client, bound(hosts.host, TCP, "::1", 20500):
        change = client.change({}, {str(port): opened(port) for port in range(20000, 21999)})
        assert len(client.entries()) == 1998
        assert change.finish() == {"20500": "address already in use"}


def test_change_of_a_relay_that_is_killed_in_it_is_an_error(hosts: Row) -> None:
    with relay(hosts) as client:
        pid = client.pid()
        os.kill(pid, signal.SIGSTOP)
        change = client.change({}, {str(port): opened(port) for port in range(20000, 21999)})
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(Unavailable):
            change.finish()
        inside(hosts.host, lambda: client.sync({"one": opened(20000)}))
        assert list(client.entries()) == ["one"]


def test_relay_in_another_namespace_is_replaced(hosts: Row) -> None:
    inodes = [
        inside(name, lambda: Path("/proc/thread-self/ns/net").stat().st_ino) for name in (hosts.host, hosts.client)
    ]
    with relay(hosts) as client:
        pid = client.pid()
        assert RelayClient(client.path, netns=inodes[0]).running()
        assert not RelayClient(client.path, netns=inodes[1]).running()
        eventually(lambda: not Path(f"/proc/{pid}").exists())


def test_removed_ports_are_free_at_once(hosts: Row) -> None:
    with relay(hosts) as client:
        for _ in range(30):
            with bound_row(hosts.host, 20000, KEY_PORTS_MAX) as lent:
                serve(client, {"range": target()}, {"range": lent})
            with pytest.raises(AssertionError, match="taken"):
                bound(hosts.host, port=20000)
            serve(client, {})


def test_killed_daemon_is_not_noticed_by_clients(hosts: Row, tmp_path: Path) -> None:
    path = Path(tempfile.mkdtemp(prefix="at-relay-")) / "relay"
    daemon = f"""
        import ipaddress, pathlib, signal
        from atoll.kernel.portsocket import bind_port
        from atoll.model.ports import PortRange, Protocol
        from atoll.relay.client import Offer, RelayClient
        from atoll.relay.messages import RelayTarget
        desired = {{}}
        for protocol in (Protocol.TCP, Protocol.UDP):
            held = bind_port(protocol, ipaddress.ip_address("::"), {PORT})
            target = RelayTarget(protocol, ipaddress.ip_address("10.9.0.2"), {PORT})
            desired[protocol.word] = Offer(target, [held])
        client = RelayClient(pathlib.Path({str(path)!r}))
        assert client.sync(desired) == {{}}
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
            with successor.take("tcp")[0] as held, successor.take("udp")[0]:
                assert held.getsockname()[:2] == ("::", PORT)
                serve(successor, {"tcp": target(), "udp": target(UDP)})
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
            inside(hosts.host, lambda: serve(client, {"web": target()}, {"web": [held]}))
            ask(sock)


def test_second_relay_on_one_path_is_refused(hosts: Row) -> None:
    with relay(hosts) as client:
        command = [sys.executable, "-m", "atoll.relay", "--control", str(client.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, f"another relay serves {client.path}\n")
        assert client.running()


def test_socket_of_the_wrong_kind_is_refused_by_name(hosts: Row) -> None:
    with relay(hosts) as client, bound(hosts.host, UDP) as udp, bound(hosts.host, TCP) as tcp:
        failed = client.sync({"web": Offer(target(), [udp]), "dns": Offer(target(UDP), [udp])})
        assert failed == {"web": "a socket is not a bound tcp socket"}
        assert list(client.entries()) == ["dns"]
        failed = client.sync({"web": Offer(target(), [])})
        assert failed == {"web": "the key is new, and no socket came with it"}
        with pytest.raises(InvalidRequest, match="'web' is not served"):
            client.take("web")
        serve(client, {"web": target()}, {"web": [tcp]})


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


def test_controller_that_leaves_ends_a_relay_that_serves_nothing(hosts: Row) -> None:
    with relay(hosts) as client:
        pid = client.pid()
        with published(hosts, client):
            client.close()
            assert client.pid() == pid
        client.close()
        eventually(lambda: not Path(f"/proc/{pid}").exists())
        assert not client.path.exists()
