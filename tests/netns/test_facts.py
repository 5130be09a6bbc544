"""The host's facts, on hosts that `ip` and `sysctl` have set up."""

import ipaddress

from atoll.kernel import netns, sysctl
from atoll.kernel.facts import read_facts
from atoll.model.addresses import Family
from atoll.model.ports import PortRange
from tests.support.hosts import FreshHost


def test_identity_is_boot_and_namespace(host: FreshHost) -> None:
    facts = read_facts()
    assert facts.netns_cookie == netns.own_cookie()
    assert facts.boot_id == netns.boot_id()
    assert facts.ipv6


def test_connected_prefixes_are_those_of_others_interfaces(host: FreshHost) -> None:
    host.run("ip", "link", "add", "eth0", "up", "type", "veth", "peer", "eth1")
    host.run("ip", "addr", "add", "192.0.2.7/24", "dev", "eth0")
    host.run("ip", "addr", "add", "2001:db8::7/64", "dev", "eth0", "nodad")
    host.run("ip", "link", "add", "atoll0", "up", "type", "bridge")
    host.run("ip", "link", "set", "atoll0", "alias", "atoll:network:1")
    host.run("ip", "addr", "add", "172.17.0.1/16", "dev", "atoll0")
    expected = ("127.0.0.0/8", "192.0.2.0/24", "::1/128", "2001:db8::/64")
    assert read_facts().onlink == tuple(ipaddress.ip_network(text) for text in expected)


def test_routed_prefixes_are_told_with_their_interface(host: FreshHost) -> None:
    host.run("ip", "link", "add", "eth0", "up", "type", "veth", "peer", "eth1")
    host.run("ip", "link", "set", "eth1", "up")
    host.run("ip", "addr", "add", "192.0.2.7/24", "dev", "eth0")
    host.run("ip", "route", "add", "default", "via", "192.0.2.1")
    host.run("ip", "route", "add", "10.0.0.0/8", "via", "192.0.2.2")
    host.run("ip", "route", "add", "10.64.0.0/16", "dev", "eth1")
    host.run("ip", "route", "add", "172.30.0.0/16", "via", "192.0.2.2", "proto", "167")
    host.run("ip", "route", "add", "unreachable", "172.31.0.0/16")
    expected = {("10.0.0.0/8", "eth0"), ("10.64.0.0/16", "eth1")}
    assert {(str(prefix), ifname) for prefix, ifname in read_facts().routed} == expected


def test_interfaces_with_an_advertised_default_route(host: FreshHost) -> None:
    host.run("ip", "link", "add", "eth0", "up", "type", "veth", "peer", "eth1")
    host.run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0", "proto", "static")
    assert read_facts().router_advertised == ()
    host.run("ip", "-6", "route", "replace", "default", "via", "fe80::1", "dev", "eth0", "proto", "ra")
    assert read_facts().router_advertised == ("eth0",)


def test_switches_are_read(host: FreshHost) -> None:
    paths = {
        Family.V4: ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"),
        Family.V6: ("net/ipv6/conf/all/forwarding", "net/bridge/bridge-nf-call-ip6tables"),
    }
    for on, other in ((Family.V4, Family.V6), (Family.V6, Family.V4)):
        for path in paths[on]:
            sysctl.write(path, "1")
        for path in paths[other]:
            sysctl.write(path, "0")
        facts = read_facts()
        assert facts.forwarding == facts.bridge_nf_call == {on: True, other: False}


def test_the_ephemeral_range_is_read(host: FreshHost) -> None:
    sysctl.write("net/ipv4/ip_local_port_range", "40000 50000")
    assert read_facts().ephemeral == PortRange(40000, 50000)
