"""Two kernels for one suite: the running one on a fresh host, and the fake one; with what others do to them."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from atoll.errors import NotFound
from atoll.kernel import netns
from atoll.kernel.conntrack import flush
from atoll.kernel.fake import FakeKernel
from atoll.kernel.kernel import Kernel
from atoll.kernel.nft.firewall import Firewall
from atoll.kernel.real import RealKernel
from atoll.model.items import (
    HOST,
    Address,
    Bridge,
    Element,
    Interface,
    Item,
    Neighbour,
    Netns,
    Route,
    State,
    Sysctl,
    Veth,
    owner_alias,
)
from atoll.model.ops import Op, Verb
from atoll.model.sandbox import NetnsEvidence
from tests.support.hosts import FreshHost

BRIDGE = "br-test"


class Others(Protocol):
    """What somebody else does on the host."""

    def make_bridge(self, ifname: str) -> None: ...
    def delete_link(self, ifname: str) -> None: ...
    def make_namespace(self, name: str) -> None: ...
    def lose_namespace(self, name: str) -> None: ...


@dataclass
class Bench:
    """A kernel, others, and where namespaces are: sandbox `s1` is at `s1` of the directory."""

    kernel: Kernel
    others: Others
    directory: str
    unknown: set[str] = field(default_factory=set)

    def locate(self, sandbox: str) -> NetnsEvidence:
        if sandbox in self.unknown:
            raise NotFound(f"sandbox {sandbox} has no namespace")
        return NetnsEvidence(f"{self.directory}/{sandbox}", "", 0)

    def execute(self, *ops: Op) -> None:
        self.kernel.execute(ops, self.locate)

    def add(self, *items: Item) -> None:
        self.execute(*(Op(Verb.ADD, item) for item in items))

    def remove(self, *items: Item) -> None:
        self.execute(*(Op(Verb.REMOVE, item) for item in items))

    def change(self, before: Item, after: Item) -> None:
        self.execute(Op(Verb.CHANGE, after, before=before))

    def observe(self, *items: Item) -> State:
        return self.kernel.observe(items, self.locate)

    def differing(self, *items: Item) -> dict[Item, Item | None]:
        """Those items that are not as given, with what is there."""
        found = self.observe(*items)
        return {item: found.get(item.key) for item in items if found.get(item.key) != item}

    def survey(self, *sandboxes: str) -> State:
        return self.kernel.survey(sandboxes, self.locate)


def network_items(ifname: str = BRIDGE, number: int = 1, *, mtu_bytes: int = 0) -> tuple[Item, ...]:
    """A dual-stack bridge, in the order in which it is made."""
    conf = f"net/ipv6/conf/{ifname}"
    return (
        Bridge(ifname, owner_alias("network", str(number)), f"02:42:0a:00:{number:02x}:01", mtu_bytes),
        Sysctl(HOST, f"{conf}/disable_ipv6", "0"),
        Sysctl(HOST, f"{conf}/accept_dad", "0"),
        Address(HOST, ifname, ipaddress.ip_interface(f"10.0.{number}.1/24")),
        Address(HOST, ifname, ipaddress.ip_interface(f"fd00:{number}::1/64")),
        Route(HOST, ipaddress.ip_network("::1/128"), ifname, metric=4096, local=True),
        Element("nets", (ifname,)),
    )


def veth(number: int, *, sandbox: str = "", ifname: str = "eth0", bridge: str = BRIDGE, mtu_bytes: int = 0) -> Veth:
    mac = f"02:42:0a:00:01:{number:02x}"
    alias = owner_alias("endpoint", str(number))
    return Veth(f"av{number}", alias, bridge, sandbox or f"s{number}", ifname, mac, mtu_bytes)


def sandbox_items(number: int, *, mtu_bytes: int = 0) -> tuple[Item, ...]:
    """A dual-stack sandbox on the bridge of `network_items`; all but the namespace, in the order of making."""
    cable = veth(number, mtu_bytes=mtu_bytes)
    netns, ifname, mac = cable.netns, cable.peer_ifname, cable.peer_mac
    own = (ipaddress.ip_interface(f"10.0.1.{number}/24"), ipaddress.ip_interface(f"fd00:1::{number:x}/64"))
    return (
        cable,
        Sysctl(netns, f"net/ipv6/conf/{ifname}/disable_ipv6", "0"),
        *(Address(netns, ifname, address) for address in own),
        Interface(netns, ifname, mac, mtu_bytes),
        Route(netns, ipaddress.ip_network("0.0.0.0/0"), ifname, ipaddress.ip_address("10.0.1.1")),
        Route(netns, ipaddress.ip_network("::/0"), ifname, ipaddress.ip_address("fd00:1::1")),
        *(Neighbour(HOST, BRIDGE, address.ip, mac) for address in own),
    )


def made(bench: Bench, number: int) -> Netns:
    """The namespace of a made sandbox."""
    return Netns(f"s{number}", f"{bench.directory}/s{number}")


@dataclass
class _OthersOnFake:
    kernel: FakeKernel
    directory: str

    def make_bridge(self, ifname: str) -> None:
        self.kernel.appear(Bridge(ifname, "", "0e:00:00:00:00:01"))

    def delete_link(self, ifname: str) -> None:
        self.kernel.vanish(("link", HOST, ifname))

    def make_namespace(self, name: str) -> None:
        self.kernel.add_namespace(f"{self.directory}/{name}")

    def lose_namespace(self, name: str) -> None:
        self.kernel.lose_namespace(f"{self.directory}/{name}", name)


@dataclass
class _OthersOnHost:
    host: FreshHost

    def make_bridge(self, ifname: str) -> None:
        self.host.run("ip", "link", "add", ifname, "address", "0e:00:00:00:00:01", "type", "bridge")

    def delete_link(self, ifname: str) -> None:
        self.host.run("ip", "link", "del", ifname)

    def make_namespace(self, name: str) -> None:
        netns.make(self.host.path(name))

    def lose_namespace(self, name: str) -> None:
        netns.delete(self.host.path(name))


def fake_bench() -> Bench:
    kernel = FakeKernel()
    directory = "/nowhere"
    return Bench(kernel, _OthersOnFake(kernel, directory), directory)


@contextmanager
def real_bench(host: FreshHost) -> Iterator[Bench]:
    firewall = Firewall()
    kernel = RealKernel(firewall, flush)
    try:
        yield Bench(kernel, _OthersOnHost(host), str(host.directory))
    finally:
        kernel.close()
        firewall.close()
