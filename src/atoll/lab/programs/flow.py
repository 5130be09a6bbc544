"""A steady flow of numbered, timed records over UDP or TCP, and what became of it at the other end.

    flow send PROTOCOL ADDRESS PORT RECORDS_A_SECOND SECONDS    prints {"sent": n}
    flow receive PROTOCOL ADDRESS PORT                          prints `ready`, then at the end of the flow a summary

A record is its number and the monotonic clock when it was sent, which all namespaces of one machine share. The UDP
receiver takes two seconds of silence for the end. Summary: `received`, `missing` (numbers below the highest that never
came), `longest_ms` (the longest that a record took).
"""

import contextlib
import json
import os
import socket
import struct
import sys
import time

RECORD = struct.Struct("!QQ")
TICK_S = 0.002
SILENCE_S = 2.0
BUFFER_BYTES = 16 << 20
PRIORITY = -15
"""Niceness: a busy machine should not look like a lossy network."""


def main(role: str, protocol: str, address: str, port: str, *rest: str) -> None:
    """Send or receive one flow."""
    with contextlib.suppress(PermissionError):
        os.nice(PRIORITY)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as endpoint:
        if role == "send":
            endpoint.connect((address, int(port)))
            print(json.dumps({"sent": send(endpoint, int(rest[0]), float(rest[1]))}))
        else:
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            endpoint.setsockopt(socket.SOL_SOCKET, 33, BUFFER_BYTES)  # SO_RCVBUFFORCE, asm-generic/socket.h
            endpoint.bind((address, int(port)))
            print(json.dumps(receive_tcp(endpoint) if protocol == "tcp" else receive_udp(endpoint)))


def send(endpoint: socket.socket, rate: int, seconds: float) -> int:
    """Send as many records as are due at each tick; how many it were."""
    if endpoint.type == socket.SOCK_STREAM:
        endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    begun, sent, total = time.monotonic(), 0, int(rate * seconds)
    while sent < total:
        due = min(total, int((time.monotonic() - begun) * rate) + 1)
        while sent < due:
            try:
                endpoint.send(RECORD.pack(sent, time.monotonic_ns()))
            except ConnectionRefusedError:  # UDP: an ICMP error for an earlier one, reported once; this one wasn't sent
                if endpoint.type == socket.SOCK_STREAM:
                    raise
                continue
            sent += 1
        time.sleep(TICK_S)
    return sent


def receive_udp(endpoint: socket.socket) -> dict[str, float]:
    """Count datagrams until two seconds of silence after the first."""
    print("ready", flush=True)
    numbers: set[int] = set()
    longest_ns = 0
    while True:
        try:
            octets = endpoint.recv(64)
        except TimeoutError:
            break
        number, sent_ns = RECORD.unpack(octets)
        longest_ns = max(longest_ns, time.monotonic_ns() - sent_ns)
        numbers.add(number)
        endpoint.settimeout(SILENCE_S)
    return summary(numbers, longest_ns)


def receive_tcp(endpoint: socket.socket) -> dict[str, float]:
    """Read one connection to its end."""
    endpoint.listen(1)
    print("ready", flush=True)
    connection, _ = endpoint.accept()
    numbers: set[int] = set()
    longest_ns, rest = 0, b""
    with connection:
        while octets := connection.recv(65536):
            now, rest = time.monotonic_ns(), rest + octets
            whole = len(rest) // RECORD.size * RECORD.size
            for number, sent_ns in RECORD.iter_unpack(rest[:whole]):
                numbers.add(number)
                longest_ns = max(longest_ns, now - sent_ns)
            rest = rest[whole:]
    return summary(numbers, longest_ns)


def summary(numbers: set[int], longest_ns: int) -> dict[str, float]:
    """What became of the flow."""
    missing = max(numbers, default=-1) + 1 - len(numbers)
    return {"received": len(numbers), "missing": missing, "longest_ms": longest_ns / 1e6}


if __name__ == "__main__":
    main(*sys.argv[1:])
