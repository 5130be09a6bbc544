"""Hosts and peers for the relay's tests: three namespaces in a row, servers in the last one.

client 2001:db8:1::2 ---- 2001:db8:1::1, ::3  host  10.9.0.1 ---- 10.9.0.2  endpoint (IPv4 only)
"""

import contextlib
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from types import MappingProxyType

from atoll.kernel.portsocket import bind_port
from atoll.model.ports import Protocol
from atoll.relay.client import Offer, RelayClient
from atoll.relay.limits import Limits
from atoll.relay.messages import RelayTarget
from tests.netns.namespaces import inside, namespace, run

PORT = 8080
HOST = "2001:db8:1::1"
HOST_SECOND = "2001:db8:1::3"
ENDPOINT = "10.9.0.2"
NOBODY = "10.9.0.9"
"""An address whose neighbour entry leads nowhere: a connect to it gets no answer at all."""

WAIT_S = 10

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER, socket(7): on, without waiting."""


@dataclass(frozen=True)
class Row:
    """Names of the three namespaces."""

    client: str
    host: str
    endpoint: str


@contextmanager
def row() -> Iterator[Row]:
    with namespace("relay-c") as client, namespace("relay-h") as host, namespace("relay-e") as endpoint:
        for outer, name in ((client, "eth0"), (endpoint, "ve")):
            run(host, f"ip link add {name} type veth peer name eth0 netns {outer}")
            run(host, f"ip link set {name} up")
            run(outer, "ip link set eth0 up")
        run(client, "ip addr add 2001:db8:1::2/64 dev eth0 nodad")
        for address in (HOST, HOST_SECOND):
            run(host, f"ip addr add {address}/64 dev eth0 nodad")
        run(host, "ip addr add 10.9.0.1/24 dev ve")
        run(host, f"ip neigh add {NOBODY} lladdr 02:42:00:00:00:99 dev ve")
        run(endpoint, "ip addr add 10.9.0.2/24 dev eth0")
        yield Row(client, host, endpoint)


def target(protocol: Protocol = Protocol.TCP, *, address: str = ENDPOINT, port: int = PORT) -> RelayTarget:
    return RelayTarget(protocol, ip_address(address), port)


def bound(name: str, protocol: Protocol = Protocol.TCP, address: str = "::", port: int = PORT) -> socket.socket:
    """A socket as the daemon holds a port with. Raises AssertionError when another has the port."""
    held = inside(name, lambda: bind_port(protocol, ip_address(address), port))
    assert held is not None, f"port {port} is taken"
    return held


def connect(name: str, address: str = HOST, port: int = PORT, *, receive_bytes: int = 0) -> socket.socket:
    """A TCP client in a namespace."""

    def dial() -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(WAIT_S)
        sock.connect((address, port))
        return sock

    return inside(name, dial)


def udp_client(name: str, address: str = HOST, port: int = PORT) -> socket.socket:
    """A UDP client that hears only answers from where it sends to."""

    def dial() -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(WAIT_S)
        sock.connect((address, port))
        return sock

    return inside(name, dial)


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def echo(sock: socket.socket) -> None:
    """Send back what comes, until the client ends."""
    while chunk := sock.recv(65536):
        sock.sendall(chunk)


@contextmanager
def tcp_server(
    name: str, serve: Callable[[socket.socket], None], port: int = PORT, address: str = ENDPOINT
) -> Iterator[list[str]]:
    """A TCP server with a thread a client; yields the peers' addresses as they come.

    `serve` has the accepted socket, which is closed after it.
    """
    listening = inside(name, lambda: socket.create_server((address, port), backlog=1024))
    peers: list[str] = []

    def serve_one(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(WAIT_S)
            serve(sock)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, peer = listening.accept()
                peers.append(peer[0])
                Thread(target=serve_one, args=(sock,), daemon=True).start()

    thread = Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield peers
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(WAIT_S)


@contextmanager
def udp_server(name: str, port: int = PORT) -> Iterator[list[tuple[str, int]]]:
    """A UDP echo server; yields the senders as they come."""

    def bind() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((ENDPOINT, port))
        return sock

    sock = inside(name, bind)
    senders: list[tuple[str, int]] = []

    def answer() -> None:
        while True:
            datagram, sender = sock.recvfrom(65535)
            if sock.getsockname() == sender:
                return
            senders.append(sender)
            sock.sendto(datagram, sender)

    thread = Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield senders
    finally:
        sock.sendto(b"", sock.getsockname())
        thread.join(WAIT_S)
        sock.close()


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


def serve(
    client: RelayClient,
    desired: Mapping[str, RelayTarget],
    sockets: Mapping[str, Sequence[socket.socket]] = MappingProxyType({}),
) -> None:
    """Have exactly `desired` served, on these sockets where they are new."""
    assert client.sync(offers(desired, sockets)) == {}


def offers(
    desired: Mapping[str, RelayTarget], sockets: Mapping[str, Sequence[socket.socket]] = MappingProxyType({})
) -> dict[str, Offer]:
    """Keys to be served on these sockets."""
    return {key: Offer(target, sockets.get(key, ())) for key, target in desired.items()}


@contextmanager
def published(
    hosts: Row, client: RelayClient, protocol: Protocol = Protocol.TCP, address: str = ENDPOINT
) -> Iterator[socket.socket]:
    """A host port that the relay serves; yields the socket that the daemon holds."""
    with bound(hosts.host, protocol) as held:
        serve(client, {"web": target(protocol, address=address)}, {"web": [held]})
        yield held
        serve(client, {})


def ask(sock: socket.socket, text: bytes = b"hello") -> None:
    """One exchange with an echo server."""
    sock.sendall(text)
    got = b""
    while len(got) < len(text):
        chunk = sock.recv(65536)
        assert chunk, f"the stream ended after {got!r}"
        got += chunk
    assert got == text
