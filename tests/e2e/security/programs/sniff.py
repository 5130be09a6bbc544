"""Print each frame that comes in by an interface as a line of hex, after a line `ready`. Argument: the interface."""

import socket
import sys

ETH_P_ALL = 3
"""linux/if_ether.h"""


def main(ifname: str) -> None:
    """Listen until killed."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as endpoint:
        endpoint.bind((ifname, ETH_P_ALL))
        print("ready", flush=True)
        while True:
            frame, (_, _, kind, *_) = endpoint.recvfrom(65536)
            if kind != socket.PACKET_OUTGOING:
                print(frame.hex(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
