"""Announcements are what the RFCs say, leave the sandbox, and change what neighbours believe."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from atoll.errors import InvalidRequest, KernelError
from atoll.kernel.announce import announce, arp_announcement, internet_checksum, unsolicited_advertisement
from tests.netns.namespaces import eventually, namespace, path_of, run

MAC = "02:42:0a:4f:00:02"


def test_arp_announcement_frame() -> None:
    assert arp_announcement(IPv4Address("10.79.0.2"), MAC).hex(" ", 2) == (
        "ffff ffff ffff 0242 0a4f 0002 0806 0001 0800 0604 0001 0242 0a4f 0002 0a4f 0002 0000 0000 0000 0a4f 0002"
    )


def test_unsolicited_advertisement_frame() -> None:
    frame = unsolicited_advertisement(IPv6Address("fd79::2"), MAC)
    address, all_nodes = IPv6Address("fd79::2").packed.hex(), IPv6Address("ff02::1").packed.hex()
    assert frame[:14].hex() == "333300000001" + "02420a4f0002" + "86dd"
    assert frame[14:54].hex() == "60000000" + "0020" + "3a" + "ff" + address + all_nodes
    body = frame[54:]
    assert body[:2].hex() == "8800"
    assert body[4:].hex() == "20000000" + address + "0201" + "02420a4f0002"
    pseudo_header = frame[22:54] + bytes.fromhex("000000200000003a")
    assert internet_checksum(pseudo_header + body) == 0


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[tuple[str, str, str]]:
    """A host with a bridge, and two sandboxes on its ports."""
    with namespace("lagoon") as host, namespace("one") as one, namespace("two") as two:
        run(host, "ip link add lagoon type bridge")
        run(host, "ip address add 10.79.0.1/24 dev lagoon")
        run(host, "ip address add fd79::1/64 dev lagoon nodad")
        run(host, "ip link set lagoon up")
        for number, sandbox in ((2, one), (3, two)):
            run(host, f"ip link add port{number} master lagoon type veth peer name eth0 netns {path_of(sandbox)}")
            run(host, f"ip link set port{number} up")
            run(sandbox, f"ip link set eth0 up address {MAC[:-1]}{number}")
            run(sandbox, f"ip address add 10.79.0.{number}/24 dev eth0")
            run(sandbox, f"ip address add fd79::{number}/64 dev eth0 nodad")
        yield host, one, two


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("10.79.0.2", "Request who-has 10.79.0.2 tell 10.79.0.2"),
        ("fd79::2", "neighbor advertisement, length 32, tgt is fd79::2, Flags [override]"),
    ],
)
def test_bridge_sees_the_announcement(sandboxes: tuple[str, str, str], address: str, shown: str) -> None:
    host, one, _ = sandboxes
    capture = ["nsenter", f"--net={path_of(host)}", "tcpdump", "-lnevvi", "lagoon", "-c1", "ether", "src", MAC]
    with subprocess.Popen(capture, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        process.stderr.readline()
        announce(str(path_of(one)), "eth0", [ip_address(address)], MAC)
        out, _ = process.communicate(timeout=10)
    assert shown in " ".join(out.split())
    assert "bad icmp6 cksum" not in out


@pytest.mark.parametrize("address", ["10.79.0.2", "fd79::2"])
@pytest.mark.parametrize("by", ["path", "descriptor"])
def test_neighbour_believes_the_new_mac(sandboxes: tuple[str, str, str], address: str, by: str) -> None:
    host, one, two = sandboxes
    for believer, link in ((host, "lagoon"), (two, "eth0")):
        run(believer, f"ip neighbour replace {address} lladdr 02:00:00:00:00:99 dev {link} nud stale")
    time.sleep(1.1)  # ARP changes no entry that was changed in the last second (locktime)
    descriptor = os.open(path_of(one), os.O_RDONLY)
    announce(str(path_of(one)) if by == "path" else descriptor, "eth0", [ip_address(address)], MAC)
    os.close(descriptor)
    for believer in (host, two):
        eventually(lambda believer=believer: neighbour(believer, address) == MAC)


def test_all_addresses_of_an_interface_are_announced_at_once(sandboxes: tuple[str, str, str]) -> None:
    _, one, two = sandboxes
    addresses = ["10.79.0.2", "fd79::2"]
    for address in addresses:
        run(two, f"ip neighbour replace {address} lladdr 02:00:00:00:00:99 dev eth0 nud stale")
    time.sleep(1.1)
    announce(str(path_of(one)), "eth0", [ip_address(address) for address in addresses], MAC)
    for address in addresses:
        eventually(lambda address=address: neighbour(two, address) == MAC)


def neighbour(host: str, address: str) -> str:
    shown = json.loads(run(host, f"ip -j neighbour show to {address}"))
    return shown[0]["lladdr"] if shown else ""


def test_missing_interface_and_namespace_are_errors(sandboxes: tuple[str, str, str]) -> None:
    _, one, _ = sandboxes
    with pytest.raises(KernelError, match=r"cannot announce 10\.79\.0\.2 on eth7: no such device"):
        announce(str(path_of(one)), "eth7", [ip_address("10.79.0.2")], MAC)
    with pytest.raises(InvalidRequest, match="no such file or directory"):
        announce(str(path_of("at-test-never")), "eth0", [ip_address("10.79.0.2")], MAC)
    run(one, "ip link add quiet type bridge")
    with pytest.raises(KernelError, match="network is down"):
        announce(str(path_of(one)), "quiet", [ip_address("10.79.0.2")], MAC)
