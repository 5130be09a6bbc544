"""Who answers a ping: `python -m bench.reaching` serves `unreached` in the namespace that asks."""

import select
import socket
import struct
import time

from bench.worker import serve

PATIENCE_S = 2.0
BURST = 100
_ECHO = struct.Struct("!BBHHH")
_REQUEST, _REPLY = 8, 0
"""ICMP types, RFC 792."""
_HEADER_BYTES = 20
_RECEIVE_BYTES = 1 << 22
_SO_RCVBUFFORCE = 33


def unreached(addresses: list[str]) -> list[str]:
    """Those IPv4 addresses that have not answered PATIENCE_S after the last question."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        missing = set(addresses)
        for start in range(0, len(addresses), BURST):
            for address in addresses[start : start + BURST]:
                raw.sendto(_request(), (address, 0))
            _gather(raw, missing, wait_s=0.0)
        deadline = time.monotonic() + PATIENCE_S
        while missing and (left := deadline - time.monotonic()) > 0:
            _gather(raw, missing, wait_s=left)
    return sorted(missing)


def _gather(raw: socket.socket, missing: set[str], *, wait_s: float) -> None:
    while select.select([raw], [], [], wait_s)[0]:
        packet, (sender, _) = raw.recvfrom(1 << 16)
        if packet[_HEADER_BYTES] == _REPLY:
            missing.discard(sender)
        wait_s = 0.0


def _request() -> bytes:
    head = _ECHO.pack(_REQUEST, 0, 0, 1, 1)
    total = sum(struct.unpack("!4H", head))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return _ECHO.pack(_REQUEST, 0, checksum, 1, 1)


if __name__ == "__main__":
    serve({"unreached": unreached})
