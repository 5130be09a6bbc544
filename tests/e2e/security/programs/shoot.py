"""Send frames out of an interface as they are: hex lines on stdin. Argument: the interface."""

import socket
import sys


def main(ifname: str) -> None:
    """Send all."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as endpoint:
        endpoint.bind((ifname, 0))
        for line in sys.stdin:
            endpoint.send(bytes.fromhex(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
