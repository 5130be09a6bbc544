"""The floor: the kernel calls of an attach and of a publish in a bare loop, without daemon, store, plan or look.

`python -m bench.floor DIRECTORY` runs in the namespace that plays the host, mounts namespaces in DIRECTORY, and prints
`{"attach": [seconds...], "publish": {"ports": [seconds...]}}`.
"""

import json
import sys
import time
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from atoll.kernel import inet, links, netns
from atoll.kernel.nft.firewall import Firewall
from atoll.kernel.rtnetlink import RouteSocket
from atoll.model.items import Address, Bridge, Element, Interface, Route, Veth
from atoll.model.ops import Op, Verb
from bench.cases import ATTACHES, PORT_COUNTS, PUBLISHES

BRIDGE_INDEX = 1000
FIRST_INDEX = 1001
SUBNET = IPv4Network("10.200.0.0/16")
TCP = 6


def attach(host: RouteSocket, directory: Path, number: int) -> None:
    """Make a namespace and a veth into it with address and route: two datagrams, and what `netns.make` takes."""
    path = str(directory / f"floor-{number}")
    netns.make(path)
    address = IPv4Interface((SUBNET[number + 2], SUBNET.prefixlen))
    veth = Veth(
        f"fl{number}", f"floor:{number}", "floor0", "", "eth0", f"02:42:0a:c8:{number >> 8:02x}:{number & 255:02x}"
    )
    with netns.opened(path) as descriptor:
        requests = links.add_veth(veth, FIRST_INDEX + number, bridge=BRIDGE_INDEX, netns=descriptor, ipv6=True)
        assert not host.change(requests)

    def inside() -> None:
        with RouteSocket() as inner:
            (found,) = inner.ask([links.get_by_name("eth0")])
            assert isinstance(found, bytes)
            link = links.decode_link(found)
            place = ("", "eth0")
            requests = [
                inet.add_address(Address(*place, address), link.index),
                *links.set_interface(Interface(*place, veth.peer_mac), link),
                inet.add_route(Route("", IPv4Network("0.0.0.0/0"), "eth0", gateway=SUBNET[1]), link.index),
            ]
            assert not inner.change(requests)

    netns.run_in(path, inside)


def publish(firewall: Firewall, first: int, count: int) -> list[Op]:
    """Add one element a port, in one transaction; returns what was done."""
    target = IPv4Address("10.200.0.2")
    ops = [Op(Verb.ADD, Element("any4", (TCP, first + port), (target, 80 + port))) for port in range(count)]
    firewall.apply(ops)
    return ops


def main(directory: Path) -> None:
    """Measure, and print the times."""
    with RouteSocket() as host:
        bridge = Bridge("floor0", "floor:bridge", "02:42:0a:c8:00:01")
        assert not host.change(links.add_bridge(bridge, BRIDGE_INDEX))
        gateway = Address("", "floor0", IPv4Interface((SUBNET[1], SUBNET.prefixlen)))
        assert not host.change([inet.add_address(gateway, BRIDGE_INDEX)])
        attached = []
        for number in range(ATTACHES):
            begun = time.perf_counter()
            attach(host, directory, number)
            attached.append(time.perf_counter() - begun)
    firewall = Firewall()
    firewall.ensure()
    published: dict[int, list[float]] = {}
    for count in PORT_COUNTS:
        for _ in range(PUBLISHES):
            begun = time.perf_counter()
            ops = publish(firewall, 10000, count)
            published.setdefault(count, []).append(time.perf_counter() - begun)
            firewall.apply([Op(Verb.REMOVE, op.item) for op in ops])
    firewall.close()
    print(json.dumps({"attach": attached, "publish": published}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
