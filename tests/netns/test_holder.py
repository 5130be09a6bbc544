"""Held ports are held against everybody, and only real holders stand in their way."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from atoll.errors import InvalidRequest, PortTaken
from atoll.kernel.holder import SocketHolder
from atoll.kernel.listeners import sockets_at
from atoll.model.ports import PortBinding, PortRange, Protocol
from tests.netns.namespaces import eventually, inside, namespace, path_of, run, running

TCP, UDP, SCTP = Protocol.TCP, Protocol.UDP, Protocol.SCTP
OWNER, OTHER = "3f2a" * 16, "b0b0" * 16
KINDS = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM}


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with namespace("holder") as name:
        run(name, "ip address add 10.77.0.1/32 dev lo")
        run(name, "ip address add fd77::1/128 dev lo nodad")
        yield name


def binding(first: int, last: int = 0, *, protocol: Protocol = TCP, address: str | None = None) -> PortBinding:
    ports = PortRange(first, last or first)
    return PortBinding(protocol, None if address is None else ip_address(address), ports, ports)


def refused(host: str, function: Callable[[], object]) -> PortTaken:
    with pytest.raises(PortTaken) as caught:
        inside(host, function)
    return caught.value


def another(protocol: Protocol, address: str, port: int, *, reuse: bool = False) -> None:
    """What another program would do to have the port: bind and, for TCP, listen. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, KINDS[protocol]) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        one.bind((address, port))
        if protocol is TCP:
            one.listen()


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "10.77.0.1", "::", "::1", "fd77::1"])
@pytest.mark.parametrize("reuse", [False, True])
def test_nobody_else_can_have_a_held_port(host: str, protocol: Protocol, address: str, reuse: bool) -> None:
    holder = SocketHolder()
    inside(host, lambda: holder.hold(OWNER, [binding(8080, protocol=protocol)]))
    with pytest.raises(OSError, match="Address already in use"):
        inside(host, lambda: another(protocol, address, 8080, reuse=reuse))
    holder.release(OWNER)
    inside(host, lambda: another(protocol, address, 8080, reuse=reuse))


def test_one_address_leaves_the_others_free(host: str) -> None:
    holder = SocketHolder()
    inside(host, lambda: holder.hold(OWNER, [binding(8080, address="10.77.0.1"), binding(8081, address="fd77::1")]))
    inside(host, lambda: another(TCP, "127.0.0.1", 8080))
    inside(host, lambda: another(TCP, "::1", 8081))
    for address, port in (("10.77.0.1", 8080), ("fd77::1", 8081)):
        with pytest.raises(OSError, match="Address already in use"):
            inside(host, lambda a=address, p=port: another(TCP, a, p))
    holder.release(OWNER)


@pytest.mark.parametrize(
    ("listen", "protocol", "address", "where"),
    [
        ("TCP-LISTEN:8080", TCP, None, "0.0.0.0:8080/tcp"),
        ("TCP-LISTEN:8080,reuseaddr", TCP, None, "0.0.0.0:8080/tcp"),
        ("TCP-LISTEN:8080,reuseaddr,reuseport", TCP, "10.77.0.1", "10.77.0.1:8080/tcp"),
        ("TCP-LISTEN:8080,bind=127.0.0.1,reuseaddr", TCP, None, "0.0.0.0:8080/tcp"),
        ("TCP6-LISTEN:8080,ipv6only=1,reuseaddr", TCP, None, "[::]:8080/tcp"),
        ("TCP6-LISTEN:8080,ipv6only=0", TCP, "10.77.0.1", "10.77.0.1:8080/tcp"),
        ("UDP-RECV:8080", UDP, None, "0.0.0.0:8080/udp"),
        ("UDP6-RECV:8080,ipv6only=1", UDP, "fd77::1", "[fd77::1]:8080/udp"),
    ],
)
def test_conflict_names_the_process(
    host: str, listen: str, protocol: Protocol, address: str | None, where: str
) -> None:
    holder = SocketHolder()
    wanted = binding(8080, protocol=protocol, address=address)
    with running(host, ["socat", "-u", listen, "STDIO"]) as process:
        eventually(lambda: inside(host, lambda: sockets_at(protocol, 8080)))
        error = refused(host, lambda: holder.hold(OWNER, [wanted]))
        assert error.message == f"cannot publish {where}: the port is held by socat (pid {process.pid})"
        assert error.hint.startswith("ss -a")
    eventually(lambda: inside(host, lambda: not sockets_at(protocol, 8080)))
    inside(host, lambda: holder.hold(OWNER, [wanted]))
    holder.release(OWNER)


LEAVE_TIME_WAIT = """
import socket, sys
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(sys.argv[1]))
server.bind(("127.0.0.1", 8090)); server.listen()
client = socket.create_connection(("127.0.0.1", 8090))
accepted, _ = server.accept()
accepted.close(); client.recv(1); client.close(); server.close()
"""


@pytest.mark.parametrize("reuse", ["0", "1"])
def test_time_wait_is_no_conflict_but_the_port_is_held_as_firmly(reuse: str) -> None:
    with namespace("leftover") as host:
        enter = ["nsenter", f"--net={path_of(host)}"]
        subprocess.run([*enter, sys.executable, "-c", LEAVE_TIME_WAIT, reuse], check=True)
        left = inside(host, lambda: sockets_at(TCP, 8090))
        assert left
        assert not any(each.holding for each in left)
        holder = SocketHolder()
        inside(host, lambda: holder.hold(OWNER, [binding(8090)]))
        for again in (False, True):
            with pytest.raises(OSError, match="Address already in use"):
                inside(host, lambda again=again: another(TCP, "127.0.0.1", 8090, reuse=again))
        second = SocketHolder()
        assert f"(pid {os.getpid()})" in refused(host, lambda: second.hold(OTHER, [binding(8090)])).message
        holder.release(OWNER)


def test_living_connection_of_a_gone_listener_is_no_conflict(host: str) -> None:
    def connect() -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 8091)) as server:
            return socket.create_connection(("127.0.0.1", 8091)), server.accept()[0]

    client, accepted = inside(host, connect)
    holder = SocketHolder()
    with client, accepted:
        inside(host, lambda: holder.hold(OWNER, [binding(8091)]))
        accepted.send(b"on")
        assert client.recv(2) == b"on"
    holder.release(OWNER)


def test_leftovers_beside_a_bound_socket_are_a_conflict() -> None:
    with namespace("beside") as host:
        enter = ["nsenter", f"--net={path_of(host)}"]
        subprocess.run([*enter, sys.executable, "-c", LEAVE_TIME_WAIT, "1"], check=True)

        def bind() -> socket.socket:
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 8090))
            return one

        with inside(host, bind):
            refused(host, lambda: SocketHolder().hold(OWNER, [binding(8090)]))


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_another_holder_of_the_machine_is_a_conflict(host: str, protocol: Protocol) -> None:
    first, second = SocketHolder(), SocketHolder()
    inside(host, lambda: first.hold(OWNER, [binding(8080, protocol=protocol)]))
    error = refused(host, lambda: second.hold(OTHER, [binding(8080, protocol=protocol)]))
    assert f"(pid {os.getpid()})" in error.message
    first.release(OWNER)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (binding(8080), binding(8080)),
        (binding(8080), binding(8079, 8081, address="10.77.0.1")),
        (binding(8000, 8100), binding(8080)),
        (binding(8080), binding(8000, 8100)),
        (binding(8000, 8100), binding(8100, 8200)),
        (binding(8080, protocol=SCTP), binding(8080, protocol=SCTP, address="fd77::1")),
    ],
)
def test_port_of_another_owner_is_taken(host: str, mine: PortBinding, theirs: PortBinding) -> None:
    holder = SocketHolder()
    inside(host, lambda: holder.hold(OWNER, [mine]))
    error = refused(host, lambda: holder.hold(OTHER, [theirs]))
    assert "the port is held by sandbox 3f2a3f2a3f2a" in error.message
    assert error.subject == OWNER
    holder.release(OWNER)
    inside(host, lambda: holder.hold(OTHER, [theirs]))
    holder.release(OTHER)


def test_protocols_and_families_do_not_meet(host: str) -> None:
    holder = SocketHolder()
    inside(
        host,
        lambda: holder.hold(
            OWNER,
            [
                binding(8080, address="0.0.0.0"),
                binding(8080, address="::"),
                binding(8080, protocol=UDP),
                binding(8080, protocol=SCTP),
                binding(8000, 8079),
                binding(8081, 8200),
            ],
        ),
    )
    assert [each.family for _, each in holder.sockets(OWNER)] == [
        socket.AF_INET, socket.AF_INET6, socket.AF_INET, socket.AF_INET6,
    ]  # fmt: skip
    holder.release(OWNER)


def test_all_or_none(host: str) -> None:
    holder = SocketHolder()
    with running(host, ["socat", "-u", "TCP-LISTEN:8005", "STDIO"]):
        eventually(lambda: inside(host, lambda: sockets_at(TCP, 8005)))
        refused(host, lambda: holder.hold(OWNER, [binding(9000, protocol=SCTP), binding(7000), binding(8000, 8010)]))
    assert holder.sockets(OWNER) == []
    for port in (7000, 8000, 8004):
        assert inside(host, lambda p=port: sockets_at(TCP, p)) == []
    inside(host, lambda: holder.hold(OTHER, [binding(9000, protocol=SCTP)]))
    holder.release(OTHER)


def test_holding_again_keeps_the_same_sockets(host: str) -> None:
    holder = SocketHolder()
    wanted = [binding(8000, 8010), binding(9000, 9100), binding(8080, protocol=UDP)]
    inside(host, lambda: holder.hold(OWNER, wanted))
    before = holder.sockets(OWNER)
    inside(host, lambda: holder.hold(OWNER, wanted))
    assert holder.sockets(OWNER) == before
    assert len(before) == 2 * 11 + 2
    holder.release(OWNER, [wanted[0]])
    holder.release(OWNER, [wanted[0]])
    holder.release(OTHER)
    assert [each for each, _ in holder.sockets(OWNER)] == [wanted[2]] * 2
    holder.release(OWNER)


def test_failed_hold_leaves_the_earlier_ones(host: str) -> None:
    holder = SocketHolder()
    inside(host, lambda: holder.hold(OWNER, [binding(8080)]))
    inside(host, lambda: holder.hold(OTHER, [binding(8081)]))
    refused(host, lambda: holder.hold(OWNER, [binding(8080), binding(8081)]))
    assert [each for each, _ in holder.sockets(OWNER)] == [binding(8080)] * 2
    holder.release(OWNER)
    holder.release(OTHER)


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_long_range_has_no_sockets_and_meets_listeners(host: str, protocol: Protocol) -> None:
    holder = SocketHolder()
    wanted = binding(20000, 50000, protocol=protocol)
    with running(
        host, ["socat", "-u", f"{protocol.name}-{'LISTEN' if protocol is TCP else 'RECV'}:30000", "STDIO"]
    ) as one:
        eventually(lambda: inside(host, lambda: sockets_at(protocol, 30000)))
        error = refused(host, lambda: holder.hold(OWNER, [wanted]))
        assert error.message.startswith(f"cannot publish 0.0.0.0:30000/{protocol.word}: the port is held by socat")
        assert f"(pid {one.pid})" in error.message
    eventually(lambda: inside(host, lambda: not sockets_at(protocol, 30000)))
    inside(host, lambda: holder.hold(OWNER, [wanted]))
    assert holder.sockets(OWNER) == []
    holder.release(OWNER)


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_very_many_ports_of_one_call_have_no_sockets_and_meet_listeners(host: str, protocol: Protocol) -> None:
    holder = SocketHolder()
    wanted = [binding(port, protocol=protocol) for port in range(20000, 22000, 4)]
    listen = f"{protocol.name}-{'LISTEN' if protocol is TCP else 'RECV'}"
    with running(host, ["socat", "-u", f"{listen}:20400", "STDIO"]) as one:
        eventually(lambda: inside(host, lambda: sockets_at(protocol, 20400)))
        error = refused(host, lambda: holder.hold(OWNER, wanted))
        assert error.message.startswith(f"cannot publish 0.0.0.0:20400/{protocol.word}: the port is held by socat")
        assert f"(pid {one.pid})" in error.message
    eventually(lambda: inside(host, lambda: not sockets_at(protocol, 20400)))
    with running(host, ["socat", "-u", f"{listen}:20401", "STDIO"]):
        eventually(lambda: inside(host, lambda: sockets_at(protocol, 20401)))
        inside(host, lambda: holder.hold(OWNER, wanted))
    assert holder.sockets(OWNER) == []
    for theirs in (wanted[1], binding(20001, 20004, protocol=protocol), binding(19000, 20000, protocol=protocol)):
        assert refused(host, lambda theirs=theirs: holder.hold(OTHER, [theirs])).subject == OWNER
    holder.release(OWNER, wanted[:100])
    inside(host, lambda: holder.hold(OTHER, wanted[:100]))
    holder.release(OWNER)
    holder.release(OTHER)


@pytest.mark.parametrize("count", [2, 600])
def test_call_that_asks_for_a_port_twice_holds_nothing(host: str, count: int) -> None:
    holder = SocketHolder()
    wanted = [binding(port) for port in range(20000, 20000 + count)]
    assert refused(host, lambda: holder.hold(OWNER, [*wanted, binding(19999, 20000)])).subject == OWNER
    inside(host, lambda: holder.hold(OTHER, wanted))
    holder.release(OTHER)


@pytest.mark.parametrize("protocol", [TCP, UDP, SCTP])
@pytest.mark.parametrize("address", ["10.99.0.1", "fd99::1"])
@pytest.mark.parametrize("last", [8080, 9000])
def test_foreign_address_is_an_invalid_request(host: str, protocol: Protocol, address: str, last: int) -> None:
    with pytest.raises(InvalidRequest, match=f"{address}: not an address of this host"):
        inside(host, lambda: SocketHolder().hold(OWNER, [binding(8080, last, protocol=protocol, address=address)]))


@pytest.mark.parametrize("address", ["224.0.0.1", "ff02::1"])
def test_multicast_address_is_an_invalid_request(host: str, address: str) -> None:
    with pytest.raises(InvalidRequest, match="multicast"):
        inside(host, lambda: SocketHolder().hold(OWNER, [binding(8080, address=address)]))


def test_held_socket_can_be_listened_on(host: str) -> None:
    """What the relay does with a socket it was handed."""
    holder = SocketHolder()
    inside(host, lambda: holder.hold(OWNER, [binding(8080, address="::")]))
    ((_, held),) = holder.sockets(OWNER)
    held.listen()
    with inside(host, lambda: socket.create_connection(("::1", 8080))) as client:
        accepted, _ = held.accept()
        with accepted:
            client.send(b"hello")
            assert accepted.recv(5) == b"hello"
    holder.release(OWNER)


def test_held_udp_socket_buffers_nearly_nothing(host: str) -> None:
    holder = SocketHolder()
    inside(host, lambda: holder.hold(OWNER, [binding(8080, protocol=UDP, address="127.0.0.1")]))
    ((_, held),) = holder.sockets(OWNER)
    assert held.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 4096
    holder.release(OWNER)


def test_file_limit_is_raised_when_it_is_reached(host: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    holder = SocketHolder()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        inside(host, lambda: holder.hold(OWNER, [binding(10000, 10063), binding(10064, 10127)]))
        assert len(holder.sockets(OWNER)) == 256
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        holder.release(OWNER)


def test_ephemeral_range_is_the_namespaces_own(host: str) -> None:
    def change_and_read() -> PortRange:
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40100")
        return SocketHolder().ephemeral()

    assert inside(host, change_and_read) == PortRange(40000, 40100)
