"""What may come in at the door: names, addresses, options, each refused by name when it can't be used."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InvalidRequest
from atoll.model.addresses import (
    Family,
    IPAddress,
    interface_of,
    mac_of,
    parse_address,
    parse_mac,
    parse_network,
)
from atoll.model.endpoint_options import SYSCTLS, parse_sysctls
from atoll.model.names import parse_ifname, parse_name, short_id
from atoll.model.options import (
    BRIDGE_NAME,
    GATEWAY_MODE_V4,
    GATEWAY_MODE_V6,
    HOST_BINDING,
    ICC,
    IFACE_PREFIX,
    INHIBIT_IPV4,
    MASQUERADE,
    MTU,
    SNAT_V4,
    SNAT_V6,
    TRUSTED_INTERFACES,
    BridgeOptions,
    GatewayMode,
    parse_bool,
    parse_bridge_options,
    unknown_options,
)

READERS = (parse_address, parse_network, parse_bool)
INJECTIONS = ['a"b', "a;b", "a b", "a\n", "a}", "{a", "$(a)", "a/b", "../a", "a\0", "a,b", "a:b", "*", "@a", "-a", "ä"]


@pytest.mark.parametrize("name", ["a", "web", "Web-1.a_b", "0", "a" * 128, "9lives"])
def test_docker_s_names_are_names(name: str) -> None:
    assert parse_name("network", name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "_a", "a" * 129, "a" * 100_000, *INJECTIONS])
def test_other_names_are_refused_shortly(name: str) -> None:
    with pytest.raises(InvalidRequest, match="network name") as caught:
        parse_name("network", name)
    assert len(caught.value.message) < 200


def test_network_can_not_be_named_as_an_id() -> None:
    with pytest.raises(InvalidRequest, match="looks like an id"):
        parse_name("network", "ab" * 32)
    assert parse_name("network", "ab" * 31)


@pytest.mark.parametrize("name", ["eth0", "br-1.2_a", "a" * 15, "_x", "0"])
def test_kernel_s_interface_names_are_taken(name: str) -> None:
    assert parse_ifname(name) == name


@pytest.mark.parametrize("name", ["", "a" * 16, "a" * 100_000, ".", "..", "lo", "all", "default", *INJECTIONS])
def test_other_interface_names_are_refused_shortly(name: str) -> None:
    with pytest.raises(InvalidRequest, match="interface name") as caught:
        parse_ifname(name)
    assert len(caught.value.message) < 200


def test_short_id_is_twelve_digits() -> None:
    assert short_id("0123456789abcdef" * 4) == "0123456789ab"


@pytest.mark.parametrize(
    ("text", "address"), [("10.0.0.1", IPv4Address("10.0.0.1")), ("FD00::1", IPv6Address("fd00::1"))]
)
def test_addresses_of_both_families_are_read(text: str, address: IPAddress) -> None:
    assert parse_address("gateway", text) == address


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/24", "fe80::1%eth0", "::ffff:10.0.0.1", "1", "host", ":"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_address("gateway", text)
    assert f"gateway {text!r}" in caught.value.message


def test_prefix_loses_its_host_bits() -> None:
    assert parse_network("subnet", "10.1.2.3/16") == IPv4Network("10.1.0.0/16")
    assert parse_network("subnet", "fd00::5/64") == IPv6Network("fd00::/64")
    assert parse_network("subnet", "0.0.0.0/0") == IPv4Network("0.0.0.0/0")


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "/24", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "fd00::/129", "10.0.0.0/-1", "10.0.0.0/2 4",
        "10.0.0.0/٢٤", "10.0.0.0/255.255.255.0", "10.0.0.0/0.0.0.255", "10.0.0.0/24/24", "fe80::%eth0/64",
        "::ffff:10.0.0.0/120", "net/24", "10.0.0.0/" + "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_network("subnet", text)
    assert "invalid subnet" in caught.value.message


@pytest.mark.parametrize(("text", "hint"), [("10.0.0.0", "10.0.0.0/24"), ("fd00::", "fd00::/64")])
def test_missing_prefix_length_is_suggested_by_family(text: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_network("subnet", text)
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["02:42:AC:11:00:02", "02-42-ac-11-00-02"])
def test_mac_is_read_in_both_spellings(text: str) -> None:
    assert parse_mac(text) == "02:42:ac:11:00:02"


@pytest.mark.parametrize(
    "text", ["", "02:42", "02:42:ac:11:00:0g", "02:42:ac:11:00:02:03", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff",
             "00:00:00:00:00:00", "0242ac110002"]
)  # fmt: skip
def test_mac_that_no_interface_can_have_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid MAC address") as caught:
        parse_mac(text)
    assert repr(text) in caught.value.message


@given(st.ip_addresses())
def test_derived_mac_is_one_that_an_interface_can_have(address: IPAddress) -> None:
    assert parse_mac(mac_of(address)) == mac_of(address)


def test_interface_has_the_subnet_s_length() -> None:
    assert str(interface_of(IPv4Address("10.0.0.5"), IPv4Network("10.0.0.0/24"))) == "10.0.0.5/24"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("True", True), ("t", True), ("0", False), ("FALSE", False)])
def test_booleans_are_go_s(text: str, value: bool) -> None:
    assert parse_bool("key", text) is value


def test_options_are_read() -> None:
    options = {
        BRIDGE_NAME: "br7",
        MTU: "1400",
        MASQUERADE: "false",
        ICC: "0",
        HOST_BINDING: "10.0.0.1",
        IFACE_PREFIX: "net",
    }
    found = parse_bridge_options(options, ifname="at-1")
    assert found == BridgeOptions("br7", 1400, False, False, IPv4Address("10.0.0.1"), "net")


def test_options_left_empty_are_the_defaults() -> None:
    options = {BRIDGE_NAME: "", HOST_BINDING: "0.0.0.0", IFACE_PREFIX: "", MTU: "0"}
    assert parse_bridge_options(options, ifname="at-1") == BridgeOptions("at-1")
    assert parse_bridge_options({}, ifname="at-1") == BridgeOptions("at-1")


def test_gateway_modes_are_by_family() -> None:
    options = {GATEWAY_MODE_V4: "routed", GATEWAY_MODE_V6: "nat-unprotected", TRUSTED_INTERFACES: "eth0:eth1:"}
    parsed = parse_bridge_options(options, ifname="at-1")
    assert parsed.mode(Family.V4) is GatewayMode.ROUTED
    assert parsed.mode(Family.V6) is GatewayMode.UNPROTECTED
    assert parsed.trusted == ("eth0", "eth1")
    isolated = parse_bridge_options({GATEWAY_MODE_V4: "isolated"}, ifname="at-1", internal=True)
    assert isolated.mode(Family.V4) is GatewayMode.ISOLATED


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("", ()),
        ("net.ipv4.conf.IFNAME.log_martians=1", (("net/ipv4/conf/IFNAME/log_martians", "1"),)),
        (
            "net.ipv6.conf.IFNAME.accept_ra=2,net.ipv4.neigh.IFNAME.app_solicit=3",
            (("net/ipv6/conf/IFNAME/accept_ra", "2"), ("net/ipv4/neigh/IFNAME/app_solicit", "3")),
        ),
    ],
)
def test_endpoint_sysctls(text: str, parsed: tuple[tuple[str, str], ...]) -> None:
    assert parse_sysctls({SYSCTLS: text}) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "net.ipv4.ip_forward=1", "kernel.conf.IFNAME.x=1", "net.ipv4.conf.eth0.log_martians=1",
        "net.ipv4.conf.IFNAME.x", "net.ipv4.conf.IFNAME.x=", "net.ipv4.conf.IFNAME...=1",
        "net.ipv4.conf.IFNAME.a/b=1", "net.ipv4.conf.IFNAME.x=a;b",
    ],
)  # fmt: skip
def test_bad_endpoint_sysctl_is_an_invalid_request(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_sysctls({SYSCTLS: text})


@pytest.mark.parametrize(
    "options",
    [
        {MTU: "67"}, {MTU: "65536"}, {MTU: "-1"}, {MTU: ""}, {MTU: "1500 "}, {MTU: "9" * 5000}, {MTU: "١٥٠٠"},
        {MTU: "1e3"}, {BRIDGE_NAME: "a" * 16}, {BRIDGE_NAME: "br;0"}, {BRIDGE_NAME: "lo"}, {IFACE_PREFIX: "a" * 15},
        {IFACE_PREFIX: "a/"}, {MASQUERADE: "yes"}, {ICC: ""}, {INHIBIT_IPV4: "2"}, {GATEWAY_MODE_V4: "Routed"},
        {GATEWAY_MODE_V4: ""}, {GATEWAY_MODE_V4: "isolated"}, {SNAT_V4: "::1"}, {SNAT_V6: "10.0.0.1"}, {SNAT_V4: "any"},
        {TRUSTED_INTERFACES: "eth0,eth1"}, {TRUSTED_INTERFACES: 'eth0:a"b'},
        {HOST_BINDING: "::1"}, {HOST_BINDING: "localhost"}, {HOST_BINDING: ""},
    ],
)  # fmt: skip
def test_bad_option_is_an_invalid_request(options: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        parse_bridge_options(options, ifname="at-1")


@pytest.mark.parametrize("parse", [parse_mac, *(lambda text, read=read: read("it", text) for read in READERS)])
def test_huge_text_makes_a_short_message(parse: Callable[[str], object]) -> None:
    for text in ("9" * 100_000, "10.0.0.0/" + "9" * 100_000):
        with pytest.raises(InvalidRequest) as caught:
            parse(text)
        assert len(caught.value.message) + len(caught.value.hint) < 400


def test_ipv6_needs_its_least_mtu() -> None:
    with pytest.raises(InvalidRequest, match="between 1280 and"):
        parse_bridge_options({MTU: "1279"}, ifname="at-1", ipv6=True)
    assert parse_bridge_options({MTU: "1280"}, ifname="at-1", ipv6=True).mtu_bytes == 1280
    assert parse_bridge_options({MTU: "68"}, ifname="at-1").mtu_bytes == 68


def test_unknown_options_are_told_apart() -> None:
    assert unknown_options({MTU: "1", "z": "", "com.docker.network.bridge.x": ""}) == (
        "com.docker.network.bridge.x",
        "z",
    )
