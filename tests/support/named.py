"""Sandboxes that ask for names, and a resolver that the name service asks, for tests.

host   192.0.2.1, 192.0.2.2 on loopback: resolvers      one, two: namespaces that ask at 127.0.0.11
"""

import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset

from atoll.dns.client import NameClient
from atoll.dns.entries import Entry
from atoll.dns.limits import Limits
from atoll.kernel.namesockets import open_name_sockets
from tests.netns.namespaces import inside, path_of, run

NAME_SERVER = "127.0.0.11"
RESOLVERS = ("192.0.2.1", "192.0.2.2")
WAIT_S = 10

Reply = Callable[[dns.message.Message], dns.message.Message | None]
"""What a resolver says; None is silence."""


def asked(
    namespace: str, name: str, rrtype: str = "A", *, tcp: bool = False, timeout_s: float = WAIT_S, **options: object
) -> dns.message.Message:
    """The answer that a program in a namespace gets, checked by dnspython to be one."""
    query = dns.message.make_query(name, rrtype, **options)  # type: ignore[arg-type]
    ask = dns.query.tcp if tcp else dns.query.udp
    return inside(namespace, lambda: ask(query, NAME_SERVER, timeout=timeout_s))


def data(answer: dns.message.Message) -> list[str] | str:
    """The data of an answer, sorted; its code when that isn't NOERROR."""
    if answer.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(answer.rcode())
    return sorted(item.to_text() for rrset in answer.answer for item in rrset)


@contextmanager
def name_service(host: str, limits: Limits | None = None, resolvers: Sequence[str] = RESOLVERS) -> Iterator[NameClient]:
    """A running name service whose own namespace is `host`; stopped at the end."""
    directory = Path(tempfile.mkdtemp(prefix="at-dns-"))
    resolv_conf = directory / "resolv.conf"
    resolv_conf.write_text("".join(f"nameserver {server}\n" for server in resolvers))
    client = NameClient(directory / "dns.sock", resolv_conf=resolv_conf, limits=limits)
    inside(host, client.ensure_running)
    try:
        yield client
    finally:
        # The one that runs now may not be the one that the client knew.
        client.close()
        NameClient(client.path).stop()
        shutil.rmtree(directory)


def tell(client: NameClient, entries: Sequence[Entry], askers: Mapping[str, str]) -> dict[str, str]:
    """Let a service know exactly these entries, and answer askers in these namespaces."""

    @contextmanager
    def lend(key: str) -> Iterator[tuple[socket.socket, socket.socket]]:
        udp, tcp = inside(askers[key], open_name_sockets)
        with udp, tcp:
            yield udp, tcp

    inodes = {key: path_of(name).stat().st_ino for key, name in askers.items()}
    return client.sync({entry.key: entry for entry in entries}, inodes, lend)


def knows(addresses: Mapping[str, str]) -> Reply:
    """A resolver that knows these names' A records, and that there are no others."""

    def reply(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        address = addresses.get(question.name.to_text(omit_final_dot=True).lower())
        if address is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", address))
        return answer

    return reply


@contextmanager
def resolver(host: str, address: str, reply: Reply) -> Iterator[list[dns.message.Message]]:
    """A resolver on a host's loopback, by UDP and TCP; the questions that it got are yielded."""
    run(host, f"ip addr replace {address}/32 dev lo")
    questions: list[dns.message.Message] = []
    with ExitStack() as stack:
        udp, tcp = (
            stack.enter_context(inside(host, lambda kind=kind: _bound(address, kind)))  # type: ignore[misc]
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        )
        threads = [
            Thread(target=_serve_udp, args=(udp, reply, questions)),
            Thread(target=_serve_tcp, args=(tcp, reply, questions)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield questions
        finally:
            for sock in (udp, tcp):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def _bound(address: str, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, 53))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


def _serve_udp(sock: socket.socket, reply: Reply, questions: list[dns.message.Message]) -> None:
    while True:
        try:
            packet, peer = sock.recvfrom(4096)
        except OSError:
            return
        if not packet:
            return
        query = dns.message.from_wire(packet)
        questions.append(query)
        answer = reply(query)
        if answer is not None:
            sock.sendto(answer.to_wire(max_size=65535), peer)


def _serve_tcp(sock: socket.socket, reply: Reply, questions: list[dns.message.Message]) -> None:
    while True:
        try:
            client, _ = sock.accept()
        except OSError:
            return
        with client:
            length = client.recv(2, socket.MSG_WAITALL)
            if len(length) < 2:
                continue
            query = dns.message.from_wire(client.recv(struct.unpack(">H", length)[0], socket.MSG_WAITALL))
            questions.append(query)
            answer = reply(query)
            if answer is not None:
                wire = answer.to_wire()
                client.sendall(struct.pack(">H", len(wire)) + wire)
