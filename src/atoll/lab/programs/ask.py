"""Ask many ports at once, and say for each what came back.

Reads from stdin a JSON list of `[ID, PROTOCOL, ADDRESS, PORT, WAIT_S]`, writes a JSON object of
ID to `[ANSWER, ERROR]`, of which one is "". ERROR is `timeout`, `closed` (the stream ended without an answer), or
an errno name. PROTOCOL `icmp` is an echo request; PORT means nothing to it, and the answer is who replied.
"""

import errno
import json
import os
import selectors
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

from atoll.lab.programs import icmp, sctp

SCTP_SOURCE_PORT = 20000
"""First source port of hand-made SCTP; each question takes the next."""

SocketAddress = tuple[Any, ...]


@dataclass
class Question:
    """One question that is under way."""

    id: str
    protocol: str
    endpoint: socket.socket
    deadline: float
    number: int


def main() -> None:
    """Ask all, wait for all."""
    selector = selectors.DefaultSelector()
    answers: dict[str, tuple[str, str]] = {}
    waiting: dict[str, Question] = {}
    for number, (name, protocol, address, port, wait_s) in enumerate(json.load(sys.stdin)):
        question = Question(name, protocol, open_endpoint(protocol, address), time.monotonic() + wait_s, number)
        try:
            send(question, address, port)
        except OSError as error:
            answers[name] = ("", errno.errorcode[error.errno or 0])
            question.endpoint.close()
            continue
        waiting[name] = question
        selector.register(question.endpoint, selectors.EVENT_READ, question)
    while waiting:
        soonest = min(question.deadline for question in waiting.values())
        ready = selector.select(max(0.0, soonest - time.monotonic()))
        found = {key.data.id: receive(key.data) for key, _ in ready}
        now = time.monotonic()
        # Also of those that are ready without an answer, as a socket may stay when an unreachable was reported to it.
        found.update({n: ("", "timeout") for n, q in waiting.items() if q.deadline <= now and not found.get(n)})
        for name, answer in found.items():
            if answer is not None:
                answers[name] = answer
                selector.unregister(waiting[name].endpoint)
                waiting.pop(name).endpoint.close()
    json.dump(answers, sys.stdout)


def open_endpoint(protocol: str, address: str) -> socket.socket:
    """A socket that does not block."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if protocol == "sctp":
        endpoint = sctp.open_raw(family)
    elif protocol == "icmp":
        endpoint = socket.socket(family, socket.SOCK_RAW, icmp.protocol_of(family))
    else:
        endpoint = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    endpoint.setblocking(False)
    return endpoint


def send(question: Question, address: str, port: int) -> None:
    """Begin the exchange; for TCP that's the connection alone."""
    endpoint = question.endpoint
    # A link-local address has its scope behind a %.
    target = socket.getaddrinfo(address, port, endpoint.family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0][4]
    if question.protocol == "sctp":
        packet = sctp.SctpPacket(SCTP_SOURCE_PORT + question.number, port, 0, sctp.INIT, 1)
        endpoint.sendto(sctp.encode(packet), _without_port(target))
        return
    if question.protocol == "icmp":
        endpoint.sendto(
            icmp.encode_request(endpoint.family, os.getpid() & 0xFFFF, question.number), _without_port(target)
        )
        return
    result = endpoint.connect_ex(target)
    if result not in (0, errno.EINPROGRESS):
        raise OSError(result, os.strerror(result))
    if question.protocol == "udp":
        endpoint.send(b"who am I?")


def _without_port(address: SocketAddress) -> SocketAddress:
    # What raw sockets take: IPv6 refuses a port that isn't 0.
    return (address[0], 0, *address[2:])


def receive(question: Question) -> tuple[str, str] | None:
    """The answer or the error that has arrived; None when it wasn't for this question."""
    try:
        octets, sender = question.endpoint.recvfrom(2048)
    except BlockingIOError:
        return None
    except OSError as error:
        return "", errno.errorcode[error.errno or 0]
    if question.protocol in ("tcp", "udp"):
        return (octets.decode(errors="replace"), "") if octets else ("", "closed")
    if question.endpoint.family == socket.AF_INET:  # IPv4 raw sockets give the IP header too, raw(7)
        octets = octets[(octets[0] & 15) * 4 :]
    if question.protocol == "icmp":
        is_mine = icmp.is_reply(question.endpoint.family, octets, os.getpid() & 0xFFFF, question.number)
        return (f"{sender[0]}  0", "") if is_mine else None
    packet = sctp.decode(octets)
    if packet is None or packet.kind != sctp.INIT_ACK or packet.target_port != SCTP_SOURCE_PORT + question.number:
        return None
    return packet.cookie.decode(errors="replace"), ""


if __name__ == "__main__":
    main()
