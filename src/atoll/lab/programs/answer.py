"""Answer everybody on many ports with `NAME ADDRESS PORT`: who answers, and which client it saw.

Arguments: NAME, then `PROTOCOL/ADDRESS/PORT` for each port. Prints `ready` once all are open. Runs until killed.
TCP closes after the answer; UDP answers each datagram; SCTP answers an INIT with an INIT ACK that has it as cookie.
"""

import selectors
import socket
import sys
from collections.abc import Callable

from atoll.lab.programs import sctp

Ready = Callable[[], None]


def main(name: str, *ports: str) -> None:
    """Open the ports and answer for ever."""
    selector = selectors.DefaultSelector()
    raw_ports: dict[str, set[int]] = {}
    for text in ports:
        protocol, address, port = text.split("/")
        if protocol == "sctp":
            raw_ports.setdefault(address, set()).add(int(port))
        else:
            endpoint = open_port(protocol, address, int(port))
            answer = tcp_answer if protocol == "tcp" else udp_answer
            selector.register(endpoint, selectors.EVENT_READ, answer(endpoint, name))
    for address, numbers in raw_ports.items():
        raw = sctp.open_raw(family_of(address))
        selector.register(raw, selectors.EVENT_READ, sctp_answer(raw, name, numbers))
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            key.data()


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET6 for what has a colon."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def open_port(protocol: str, address: str, port: int) -> socket.socket:
    """A bound, for TCP listening, socket of exactly one family."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    endpoint = socket.socket(family_of(address), kind)
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        endpoint.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    endpoint.bind((address, port))
    if protocol == "tcp":
        endpoint.listen(256)
    return endpoint


def tcp_answer(listener: socket.socket, name: str) -> Ready:
    """Accept one connection, answer, close."""

    def ready() -> None:
        connection, client = listener.accept()
        with connection:
            connection.sendall(f"{name} {client[0]} {client[1]}".encode())

    return ready


def udp_answer(endpoint: socket.socket, name: str) -> Ready:
    """Answer one datagram."""

    def ready() -> None:
        _, client = endpoint.recvfrom(2048)
        endpoint.sendto(f"{name} {client[0]} {client[1]}".encode(), client)

    return ready


def sctp_answer(raw: socket.socket, name: str, ports: set[int]) -> Ready:
    """Answer one INIT for one of the ports; a raw socket sees every SCTP packet of the namespace."""

    def ready() -> None:
        octets, client = raw.recvfrom(2048)
        if raw.family == socket.AF_INET:  # IPv4 raw sockets give the IP header too, raw(7)
            octets = octets[(octets[0] & 15) * 4 :]
        packet = sctp.decode(octets)
        if packet is None or packet.kind != sctp.INIT or packet.target_port not in ports:
            return
        cookie = f"{name} {client[0]} {packet.source_port}".encode()
        reply = sctp.SctpPacket(packet.target_port, packet.source_port, packet.tag, sctp.INIT_ACK, 1, cookie)
        raw.sendto(sctp.encode(reply), client)

    return ready


if __name__ == "__main__":
    main(*sys.argv[1:])
