"""One end of a TCP connection that stays open.

talk connect ADDRESS PORT    prints `ready` once connected, then sends each line of stdin
talk accept ADDRESS PORT     prints `ready` once listening, then keeps every connection
"""

import socket
import sys


def main(role: str, address: str, port: str) -> None:
    """Talk until killed."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as endpoint:
        if role == "connect":
            endpoint.settimeout(5)
            endpoint.connect((address, int(port)))
            print("ready", flush=True)
            for line in sys.stdin:
                endpoint.send(line.encode())
        else:
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                endpoint.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            endpoint.bind((address, int(port)))
            endpoint.listen()
            print("ready", flush=True)
            kept = []
            while True:
                kept.append(endpoint.accept())


if __name__ == "__main__":
    main(*sys.argv[1:])
