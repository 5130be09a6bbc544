"""Real changes by ip(8) and nft(8) give the notices that are promised, and nothing else does."""

import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

import pytest

from atoll.kernel.monitor import Lost, Monitor, nsid_of
from atoll.kernel.nlmsg import message
from atoll.kernel.notices import Event, Notice, Subject
from tests.netns.namespaces import inside, namespace, path_of, run

NEW, DEL = Event.NEW, Event.DEL
NETLINK_NETFILTER = 12
ALIAS = "atoll:endpoint:0011"
OURS = "proto 167"


@dataclass
class Host:
    """A namespace under watch, with a bridge and a veth pair into a sandbox; what is told is kept."""

    name: str
    sandbox: str
    monitor: Monitor
    nsid: int
    told: list[Notice | Lost]

    def read(self) -> list[Notice | Lost]:
        self.told += self.monitor.read()
        return self.told

    def ip(self, command: str, *, inside: bool = False) -> None:
        run(self.sandbox if inside else self.name, f"ip {command}")

    def nft(self, script: str, *, inside: bool = False) -> None:
        where = path_of(self.sandbox if inside else self.name)
        subprocess.run(["nsenter", f"--net={where}", "nft", "-f", "-"], input=script, text=True, check=True)

    def expect(self, **fields: object) -> Notice:
        """The first notice with these fields, within two seconds."""
        deadline = time.monotonic() + 2
        while True:
            for notice in self.read():
                if isinstance(notice, Notice) and all(getattr(notice, key) == value for key, value in fields.items()):
                    return notice
            left = deadline - time.monotonic()
            assert left > 0, f"no notice of {fields} among {self.told}"
            select.select(self.monitor.filenos(), [], [], left)

    def expect_nothing_of(self, *subjects: Subject) -> None:
        """After a change that is told, no notice of these subjects has come before it."""
        self.ip("link set lagoon alias marker")
        self.expect(subject=Subject.LINK, alias="marker")
        assert [each for each in self.told if isinstance(each, Lost) or each.subject in subjects] == []


@pytest.fixture
def host() -> Iterator[Host]:
    with namespace("watched") as name, namespace("watchedbox") as sandbox:
        monitor = inside(name, Monitor)
        run(name, "ip link add lagoon type bridge")
        run(name, "ip link set lagoon up")
        run(name, f"ip link add port master lagoon type veth peer name eth0 netns {path_of(sandbox)}")
        run(name, f"ip link set port up alias {ALIAS}")
        run(sandbox, "ip link set eth0 up")
        descriptor = os.open(path_of(sandbox), os.O_RDONLY)
        nsid = inside(name, lambda: nsid_of(descriptor))
        os.close(descriptor)
        assert nsid is not None
        watched = Host(name, sandbox, monitor, nsid, [])
        while watched.monitor.read():
            time.sleep(0.05)
        yield watched
        monitor.close()


def ifindex(host: Host, ifname: str, *, within: str = "") -> int:
    return inside(within or host.name, lambda: socket.if_nametoindex(ifname))


def test_link_with_its_alias(host: Host) -> None:
    index = ifindex(host, "port")
    host.ip("link set port mtu 1400")
    expected = Notice(Subject.LINK, NEW, ifindex=index, ifname="port", alias=ALIAS)
    assert host.expect(subject=Subject.LINK, ifname="port") == expected
    host.ip("link del port")
    assert host.expect(subject=Subject.LINK, event=DEL, nsid=None, ifname="port").alias == ALIAS


def test_port_that_leaves_its_bridge_is_changed_not_gone(host: Host) -> None:
    host.ip("link set port nomaster")
    host.expect(subject=Subject.LINK, event=NEW, ifname="port")
    host.expect_nothing_of(Subject.RULES)
    assert [each for each in host.told if each.event is DEL and each.subject is Subject.LINK] == []  # type: ignore[union-attr]


def test_bridge_port_flag(host: Host) -> None:
    host.ip("link set port type bridge_slave isolated on")
    host.expect(subject=Subject.LINK, event=NEW, ifname="port")


def test_link_inside_a_sandbox(host: Host) -> None:
    host.ip("link set eth0 down", inside=True)
    host.expect(subject=Subject.LINK, event=NEW, nsid=host.nsid, ifname="eth0")
    host.ip("link set eth0 name renamed", inside=True)
    host.expect(subject=Subject.LINK, event=NEW, nsid=host.nsid, ifname="renamed")


@pytest.mark.parametrize("within", [False, True], ids=["host", "sandbox"])
@pytest.mark.parametrize("address", ["10.80.0.1/24", "fd80::1/64"])
def test_address(host: Host, address: str, within: bool) -> None:
    link, nsid = ("eth0", host.nsid) if within else ("lagoon", None)
    index = ifindex(host, link, within=host.sandbox if within else "")
    for verb, event in (("add", NEW), ("del", DEL)):
        host.ip(f"address {verb} {address} dev {link}", inside=within)
        assert host.expect(subject=Subject.ADDRESS, event=event, address=address, nsid=nsid).ifindex == index
    label = "" if ":" in address and within else link
    assert host.expect(subject=Subject.ADDRESS, address=address).ifname == label


@pytest.mark.parametrize("within", [False, True], ids=["host", "sandbox"])
@pytest.mark.parametrize(("address", "route"), [("10.80.0.1/24", "10.90.0.0/24"), ("fd80::1/64", "fd90::/64")])
def test_route_of_ours(host: Host, address: str, route: str, within: bool) -> None:
    link, nsid = ("eth0", host.nsid) if within else ("lagoon", None)
    index = ifindex(host, link, within=host.sandbox if within else "")
    host.ip(f"address add {address} dev {link}", inside=within)
    for verb, event in (("add", NEW), ("del", DEL)):
        host.ip(f"route {verb} {route} dev {link} {OURS}", inside=within)
        assert host.expect(subject=Subject.ROUTE, event=event, address=route, nsid=nsid).ifindex == index


def test_default_route_that_somebody_replaces(host: Host) -> None:
    host.ip("address add 10.80.0.2/24 dev eth0", inside=True)
    host.ip(f"route add default via 10.80.0.1 {OURS}", inside=True)
    host.ip("route replace default via 10.80.0.3", inside=True)
    for _ in range(2):
        told = host.expect(subject=Subject.ROUTE, event=NEW, address="default", nsid=host.nsid)
        host.told.remove(told)


def test_routes_of_others_are_not_told(host: Host) -> None:
    host.ip("address add 10.80.0.1/24 dev lagoon")
    host.ip("route add 10.90.0.0/24 dev lagoon proto bird")
    host.ip("route del 10.90.0.0/24 dev lagoon")
    host.expect_nothing_of(Subject.ROUTE)


@pytest.mark.parametrize("address", ["10.80.0.2", "fd80::2"])
def test_permanent_neighbour(host: Host, address: str) -> None:
    index = ifindex(host, "lagoon")
    for verb, event in (("add", NEW), ("del", DEL)):
        host.ip(f"neighbour {verb} {address} lladdr 02:42:0a:50:00:02 dev lagoon")
        assert host.expect(subject=Subject.NEIGHBOUR, event=event, address=address).ifindex == index


def test_fdb_entries_and_passing_neighbours_are_not_told(host: Host) -> None:
    run(host.name, "bridge fdb add 02:42:0a:50:00:09 dev port master static")
    run(host.name, "bridge fdb del 02:42:0a:50:00:09 dev port master")
    host.ip("neighbour add 10.80.0.2 lladdr 02:42:0a:50:00:02 nud reachable dev lagoon")
    host.expect_nothing_of(Subject.NEIGHBOUR)


def test_namespace_that_dies(host: Host) -> None:
    with namespace("dying") as dying:
        host.ip(f"link add to type veth peer name eth0 netns {path_of(dying)}")
        nsid = host.expect(subject=Subject.NETNS, event=NEW).nsid
        descriptor = os.open(path_of(dying), os.O_RDONLY)
        assert inside(host.name, lambda: nsid_of(descriptor)) == nsid
        os.close(descriptor)
    host.expect(subject=Subject.NETNS, event=DEL, nsid=nsid)
    host.expect(subject=Subject.LINK, event=DEL, ifname="to", nsid=None)


def test_namespace_without_a_link_has_no_number(host: Host) -> None:
    with namespace("unknown") as unknown:
        descriptor = os.open(path_of(unknown), os.O_RDONLY)
        assert inside(host.name, lambda: nsid_of(descriptor)) is None
        os.close(descriptor)


@pytest.mark.parametrize("within", [False, True], ids=["host", "sandbox"])
def test_rules_tell_the_table_and_who_changed_it(host: Host, within: bool) -> None:
    table = "table inet watched { set s { type ipv4_addr; }; chain c { ip saddr @s drop; }; }; table bridge other { }"
    expected = Notice(Subject.RULES, NEW, host.nsid if within else None, table="inet watched", process="nft")
    host.nft(table, inside=within)
    told = host.expect(subject=Subject.RULES, table="inet watched")
    assert replace(told, pid=0) == expected
    assert told.pid > 0
    assert host.expect(subject=Subject.RULES, table="bridge other").event is NEW
    for script, event in (
        ("add element inet watched s { 10.0.0.1 }", NEW),
        ("delete element inet watched s { 10.0.0.1 }", DEL),
        ("flush table inet watched", DEL),
        ("flush ruleset", DEL),
    ):
        host.told.clear()
        host.nft(script, inside=within)
        assert replace(host.expect(subject=Subject.RULES, table="inet watched"), pid=0) == replace(
            expected, event=event
        )


def test_many_elements_are_one_notice(host: Host) -> None:
    elements = ", ".join(f"10.{n >> 8}.{n & 255}.1" for n in range(5000))
    host.nft("table inet watched { set s { type ipv4_addr; }; }")
    host.expect(subject=Subject.RULES)
    host.told.clear()
    host.nft(f"add element inet watched s {{ {elements} }}")
    host.expect(subject=Subject.RULES)
    host.expect_nothing_of(Subject.ROUTE)
    assert len([each for each in host.told if isinstance(each, Notice) and each.subject is Subject.RULES]) == 1


def by_socket(host: Host, protocol: int, change: Callable[[socket.socket], None]) -> int:
    """Make a change over a socket of this process in the host; its port id, which the monitor learns before."""

    def send() -> int:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as one:
            one.bind((0, 0))
            port_id: int = one.getsockname()[0]
            host.monitor.mine([port_id])
            change(one)
            return port_id

    return inside(host.name, send)


def test_own_address_is_marked(host: Host) -> None:
    index = ifindex(host, "lagoon")

    def add(one: socket.socket) -> None:
        local = struct.pack("=HH4s", 8, 2, socket.inet_aton("10.80.0.1"))
        one.send(message(20, 0x605, 1, struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, index) + local))
        answer = one.recv(4096)
        assert struct.unpack_from("=i", answer, 16)[0] == 0

    by_socket(host, socket.NETLINK_ROUTE, add)
    host.ip("address add 10.80.1.1/24 dev lagoon")
    assert host.expect(subject=Subject.ADDRESS, address="10.80.0.1/24").own
    assert not host.expect(subject=Subject.ADDRESS, address="10.80.1.1/24").own


def test_own_rules_are_marked(host: Host) -> None:
    number = count(1)

    def batch(one: socket.socket) -> None:
        name = struct.pack("=HH8s", 12, 1, b"watched\0")
        parts = (
            message(0x10, 0x1, next(number), struct.pack(">BBH", 0, 0, 10)),
            message(10 << 8, 0x401, next(number), struct.pack(">BBH", 1, 0, 0) + name),
            message(0x11, 0x1, next(number), struct.pack(">BBH", 0, 0, 10)),
        )
        one.send(b"".join(parts))

    by_socket(host, NETLINK_NETFILTER, batch)
    told = host.expect(subject=Subject.RULES, table="inet watched")
    assert (told.event, told.own) == (NEW, True)
    host.nft("delete table inet watched")
    assert not host.expect(subject=Subject.RULES, event=DEL).own


def test_overflow_is_told_and_later_changes_too(host: Host) -> None:
    monitor = inside(host.name, lambda: Monitor(receive_buffer_bytes=1))
    batch = "\n".join(f"address add 10.81.{n >> 8}.{n & 255}/32 dev lagoon" for n in range(200))
    subprocess.run(["nsenter", f"--net={path_of(host.name)}", "ip", "-batch", "-"], input=batch, text=True, check=True)
    assert Lost() in monitor.read()
    small = Host(host.name, host.sandbox, monitor, host.nsid, [])
    small.ip("address add 10.82.0.1/32 dev lagoon")
    small.expect(subject=Subject.ADDRESS, address="10.82.0.1/32")
    monitor.close()


def test_names_that_were_lost_are_read_anew(host: Host) -> None:
    monitor = inside(host.name, lambda: Monitor(receive_buffer_bytes=1 << 15))
    small = Host(host.name, host.sandbox, monitor, host.nsid, [])
    batch = [f"address add fd81::{n:x}/128 dev lagoon nodad" for n in range(700)]
    batch += ["link set lagoon down", "link set lagoon name laguna", "link set laguna up", "link add later type bridge"]
    command = ["nsenter", f"--net={path_of(host.name)}", "ip", "-batch", "-"]
    subprocess.run(command, input="\n".join(batch), text=True, check=True)
    assert Lost() in small.read()
    # Of IPv6 addresses the kernel tells only the index.
    small.ip("address add fd82::1/128 dev laguna nodad")
    assert small.expect(subject=Subject.ADDRESS, address="fd82::1/128").ifname == "laguna"
    small.ip("address add fd82::2/128 dev later nodad")
    assert small.expect(subject=Subject.ADDRESS, address="fd82::2/128").ifname == "later"
    monitor.close()


def test_one_read_takes_a_bounded_part_of_a_storm(host: Host) -> None:
    batch = "\n".join(f"address add 10.81.{n >> 8}.{n & 255}/32 dev lagoon" for n in range(700))
    subprocess.run(["nsenter", f"--net={path_of(host.name)}", "ip", "-batch", "-"], input=batch, text=True, check=True)
    first = host.monitor.read()
    assert len(first) == 512
    assert select.select(host.monitor.filenos(), [], [], 0)[0]
    told = [each.address for each in (*first, *host.monitor.read()) if isinstance(each, Notice)]
    assert len([address for address in told if address.startswith("10.81.")]) == 700


def test_messages_of_processes_are_ignored(host: Host) -> None:
    """Root of a namespace may send to a group; only the kernel is believed."""

    def forge(one: socket.socket) -> None:
        ifinfo = struct.pack("=BxHiII", 0, 1, 99, 0, 0) + struct.pack("=HH8s", 12, 3, b"forged1\0")
        one.sendto(message(17, 0, 0, ifinfo), (0, 1))

    def send() -> None:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as one:
            forge(one)

    inside(host.name, send)
    host.expect_nothing_of(Subject.RULES)
    assert [each for each in host.told if isinstance(each, Notice) and each.ifname == "forged1"] == []
