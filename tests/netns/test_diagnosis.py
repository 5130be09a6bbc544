"""The look at a host for a diagnosis, held to standard tools."""

import socket
import subprocess
import time
from ipaddress import ip_address, ip_interface, ip_network

from atoll.kernel.diagnosis.features import absent_features
from atoll.kernel.diagnosis.rulesets import read_ruleset
from atoll.kernel.diagnosis.view import read_view
from atoll.model.hostview import AddressView, PortHolder, RouteView
from atoll.model.ports import PortBinding, PortRange, Protocol
from atoll.model.ruleset import Tool, Verdict
from tests.support.hosts import FreshHost


def test_links_addresses_and_routes(host: FreshHost) -> None:
    for line in (
        "link add br0 type bridge",
        "link add one type veth peer name two",
        "link set one master br0 mtu 1400 up",
        "link set two alias atoll:endpoint:x up",
        "link set br0 up",
        "address add 10.3.0.1/24 dev br0",
        "address add 10.4.0.1/24 dev two",
        "route add default via 10.3.0.2",
        "route add 10.9.0.0/16 via 10.3.0.2 metric 7 table 52",
        "route add blackhole 10.10.0.0/16",
    ):
        host.run("ip", *line.split())
    view = read_view(())
    links = {link.ifname: link for link in view.links}
    assert (links["one"].mtu_bytes, links["one"].master, links["two"].ours, links["one"].ours) == (
        1400,
        "br0",
        True,
        False,
    )
    foreign = [found for found in view.addresses if found.ifname != "lo" and found.address.version == 4]
    assert foreign == [AddressView("br0", ip_interface("10.3.0.1/24"))]
    assert [route for route in view.routes if route.destination.version == 4] == [
        RouteView(ip_network("10.9.0.0/16"), "br0", ip_address("10.3.0.2"), 7, 52),
        RouteView(ip_network("0.0.0.0/0"), "br0", ip_address("10.3.0.2")),
    ]
    assert view.sysctls["net/ipv4/conf/br0/forwarding"] == "0" and "net/ipv4/conf/one/forwarding" not in view.sysctls


def test_every_tool_is_read_by_its_own_program(host: FreshHost) -> None:
    assert read_ruleset().chains == () and read_ruleset().unread == ()
    host.run("nft", "add table inet atoll { chain forward { type filter hook forward priority 0; policy drop; }; }")
    host.run("nft", "add table inet x { chain y { type filter hook forward priority 7; policy drop; }; }")
    host.run("iptables-nft", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "NEW", "-j", "DROP")
    host.run("ip6tables-legacy", "-P", "FORWARD", "DROP")
    ruleset = read_ruleset()
    assert ruleset.unread == ()
    found = {(c.tool, c.family, c.table): c for c in ruleset.base_chains("forward")}
    assert set(found) == {
        (Tool.NFT, "inet", "x"),
        (Tool.IPTABLES, "ip", "filter"),
        (Tool.LEGACY, "ip6", "filter"),
    }
    assert found[Tool.NFT, "inet", "x"].priority == 7
    assert found[Tool.LEGACY, "ip6", "filter"].policy is Verdict.DROP
    assert found[Tool.IPTABLES, "ip", "filter"].rules[0].text == "-A FORWARD -m conntrack --ctstate NEW -j DROP"


def test_this_kernel_has_all_that_is_needed(host: FreshHost) -> None:
    before = host.run("ip", "-o", "link")
    assert absent_features() == frozenset()
    assert host.run("ip", "-o", "link") == before and host.run("nft", "list", "tables") == ""


def test_listeners_of_others_are_told_from_ones_own(host: FreshHost) -> None:
    ports = PortRange(8000, 8100)
    binding = PortBinding(Protocol.TCP, None, ports, ports)
    with socket.create_server(("127.0.0.1", 8005)):
        assert read_view((binding,)).listeners == ()
    process = subprocess.Popen(["busybox", "nc", "-l", "-p", "8007"], stdin=subprocess.DEVNULL)
    try:
        while process.poll() is None and ":8007" not in host.run("ss", "-ltn"):
            time.sleep(0.01)
        (found,) = read_view((binding,)).listeners
        assert found == PortHolder(Protocol.TCP, found.address, 8007, f"busybox (pid {process.pid})")
        assert read_view(()).listeners == ()
    finally:
        process.kill()
        process.wait()
