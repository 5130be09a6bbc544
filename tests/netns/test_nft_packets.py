"""The rules do to real packets what their comments say.

lan ---- host ==== at-red ---- red      10.81.0.0/24, fd81::/64
(10.80.0.0/24,  \\== at-blue --- blue    10.82.0.0/24, fd82::/64
 fd80::/64)
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from ipaddress import ip_address

import pytest

from atoll.kernel.kernel import Count
from atoll.model.addresses import Family
from atoll.model.firewall import NFPROTO
from atoll.model.items import Element, Span
from atoll.model.ops import Op, Verb
from tests.netns.namespaces import eventually, inside, run, running
from tests.netns.nft_scene import NETWORKS, NODAD, TCP, UDP, Scene, at, elements_of, everywhere, subnet
from tests.netns.nft_support import adds, removes


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        made = Scene(stack)
        # IPv6 works a moment after the links are up.
        for family in Family:
            eventually(partial(made.ask, "lan", at("80", 1, family), 80))
            for network in NETWORKS.values():
                eventually(partial(made.ask, "host", at(network, 2, family), 80))
        yield made


@pytest.fixture(autouse=True)
def networks(scene: Scene) -> None:
    scene.firewall.refill([element for word, number in NETWORKS.items() for element in elements_of(word, number)])


FAMILIES = pytest.mark.parametrize("family", list(Family), ids=["v4", "v6"])
PROTOCOLS = pytest.mark.parametrize("protocol", [TCP, UDP], ids=["tcp", "udp"])
FORMS = ("any", "addr", "span", "from")


def published(form: str, protocol: int, port: int, family: Family, inner: int = 80) -> Element:
    """A port of the host, in one of the forms, that leads to red; a span is of this port and the one before."""
    host, endpoint, number = at("80", 1, family), at("81", 2, family), int(family)
    match form:
        case "any":
            return Element(f"any{number}", (protocol, port), (endpoint, inner))
        case "addr":
            return Element(f"addr{number}", (host, protocol, port), (endpoint, inner))
        case "span":
            ports = Span(port - 1, port)
            return Element(f"span{number}", (everywhere(family), host, protocol, ports), (endpoint,))
        case "from":
            return Element(f"from{number}", (subnet("80", family), host, protocol, port), (endpoint, inner))
    raise ValueError(form)


@FAMILIES
@PROTOCOLS
@pytest.mark.parametrize("form", FORMS)
def test_a_published_port_reaches_its_endpoint_and_closes_with_its_element(
    scene: Scene, form: str, protocol: int, family: Family
) -> None:
    host, port, inner = at("80", 1, family), (82 if form == "span" else 8080), (82 if form == "span" else 80)
    element = published(form, protocol, port, family, inner)
    assert scene.ask("lan", host, port, protocol=protocol) == ""
    scene.firewall.apply(adds(element))
    assert scene.ask("lan", host, port, protocol=protocol, wait_s=2) == f"{at('80', 2, family)} {inner}"
    assert scene.ask("lan", host, port + 1, protocol=protocol) == ""
    assert scene.count("ct status dnat counter accept") == 1
    scene.firewall.apply(removes(element))
    assert scene.ask("lan", host, port, protocol=protocol) == ""


@FAMILIES
def test_a_port_for_some_sources_is_closed_to_the_rest(scene: Scene, family: Family) -> None:
    host, number = at("80", 1, family), int(family)
    elsewhere = Element(f"from{number}", (subnet("99", family), host, TCP, 8080), (at("81", 2, family), 80))
    scene.firewall.apply(adds(elsewhere))
    assert scene.ask("lan", host, 8080) == ""


@FAMILIES
@PROTOCOLS
def test_container_addresses_are_closed_to_a_lan_that_routes_to_them(
    scene: Scene, protocol: int, family: Family
) -> None:
    assert scene.ask("lan", at("81", 2, family), 80, protocol=protocol) == ""


@FAMILIES
@PROTOCOLS
def test_gateway_addresses_are_closed_to_the_lan_and_open_to_containers(
    scene: Scene, protocol: int, family: Family
) -> None:
    gateway = at("81", 1, family)
    assert scene.ask("lan", gateway, 80, protocol=protocol) == ""
    assert scene.ask("red", gateway, 80, protocol=protocol, wait_s=2) == f"{at('81', 2, family)} 80"
    assert scene.ask("host", gateway, 80, protocol=protocol, wait_s=2) == f"{gateway} 80"
    # The host's own address on the LAN is the administrator's business.
    assert scene.ask("lan", at("80", 1, family), 80, protocol=protocol, wait_s=2) == f"{at('80', 2, family)} 80"


@FAMILIES
def test_the_way_out_is_masqueraded_only_with_its_element(scene: Scene, family: Family) -> None:
    lan = at("80", 2, family)
    assert scene.ask("red", lan, 80, wait_s=2) == f"{at('80', 1, family)} 80"
    scene.firewall.apply(removes(Element("masq", (NFPROTO[family], "at-red"))))
    assert scene.ask("red", lan, 80, wait_s=2) == f"{at('81', 2, family)} 80"


@FAMILIES
def test_a_fixed_source_address_goes_before_masquerade(scene: Scene, family: Family) -> None:
    fixed = at("80", 7, family)
    # Deprecated, so that masquerade goes on choosing the first address.
    run(scene.names["host"], f"ip addr replace {fixed} dev at-lan preferred_lft 0 {NODAD[family]}")
    scene.firewall.apply(adds(Element(f"snat{int(family)}", ("at-red",), (fixed,))))
    assert scene.ask("red", at("80", 2, family), 80, wait_s=2) == f"{fixed} 80"
    assert scene.ask("blue", at("80", 2, family), 80, wait_s=2) == f"{at('80', 1, family)} 80"


@FAMILIES
def test_networks_are_closed_to_each_other_until_a_pair_opens_one_direction(scene: Scene, family: Family) -> None:
    red, blue = at("81", 2, family), at("82", 2, family)
    assert scene.ask("red", blue, 80) == ""
    pair = Element("pairs", ("at-red", "at-blue"))
    scene.firewall.apply(adds(pair))
    assert scene.ask("red", blue, 80, wait_s=2) == f"{red} 80"
    assert scene.ask("blue", red, 80) == ""
    scene.firewall.apply(removes(pair))
    assert scene.ask("red", blue, 80) == ""


@FAMILIES
def test_an_internal_network_has_no_way_out_and_only_its_own_gateway(scene: Scene, family: Family) -> None:
    host, number = at("80", 1, family), int(family)
    scene.firewall.apply(
        adds(Element("internal", ("at-red",)), Element(f"any{number}", (TCP, 8080), (at("81", 2, family), 80)))
    )
    for target, port in ((at("80", 2, family), 80), (at("82", 2, family), 80), (host, 80), (at("82", 1, family), 80)):
        assert scene.ask("red", target, port) == "", target
    assert scene.ask("lan", host, 8080) == ""
    assert scene.ask("red", at("81", 1, family), 80, wait_s=2) == f"{at('81', 2, family)} 80"


@FAMILIES
def test_unprotected_and_opened_networks_let_the_lan_in(scene: Scene, family: Family) -> None:
    red, blue, lan = at("81", 2, family), at("82", 2, family), at("80", 2, family)
    opened = Element(f"open{int(family)}", (red, TCP, Span(80, 81)))
    scene.firewall.apply(adds(Element("unprotected", (NFPROTO[family], "at-blue")), opened))
    assert scene.ask("lan", blue, 82, wait_s=2) == f"{lan} 82"
    assert scene.ask("lan", red, 81, wait_s=2) == f"{lan} 81"
    assert scene.ask("lan", red, 82) == ""


@FAMILIES
def test_a_published_port_answers_containers_and_the_host_itself(scene: Scene, family: Family) -> None:
    host, red, blue = at("80", 1, family), at("81", 2, family), at("82", 2, family)
    scene.firewall.apply(adds(Element(f"any{int(family)}", (TCP, 8080), (red, 80))))
    assert scene.ask("blue", host, 8080, wait_s=2) == f"{blue} 80"
    assert scene.ask("host", host, 8080, wait_s=2) == f"{host} 80"
    loopback = ip_address("127.0.0.1" if family is Family.V4 else "::1")
    assert scene.ask("host", loopback, 8080, wait_s=2) == f"{at('81', 1, family)} 80"
    # Its own endpoint meets it through the gateway: an answer to itself would never come back to be translated.
    assert scene.ask("red", host, 8080, wait_s=2) == f"{at('81', 1, family)} 80"


def test_the_relay_takes_loopback_clients_over(scene: Scene) -> None:
    published = Element("any6", (TCP, 8080), (at("81", 2, Family.V6), 80))
    scene.firewall.apply(adds(published, Element("by_relay", (NFPROTO[Family.V6],))))
    assert scene.ask("host", ip_address("::1"), 8080) == ""
    assert scene.ask("lan", at("80", 1, Family.V6), 8080, wait_s=2) == f"{at('80', 2, Family.V6)} 80"


@FAMILIES
def test_a_published_port_takes_only_what_is_for_the_host(scene: Scene, family: Family) -> None:
    scene.firewall.apply(adds(Element(f"any{int(family)}", (TCP, 82), (at("82", 2, family), 80))))
    assert scene.ask("lan", at("81", 2, family), 82) == ""
    assert scene.ask("host", at("80", 2, family), 82, wait_s=2) == f"{at('80', 1, family)} 82"


@pytest.mark.parametrize("origin", ["lan", "red"])
def test_loopback_addresses_are_closed_to_the_wire_even_with_route_localnet(scene: Scene, origin: str) -> None:
    loopback, there = ip_address("127.0.0.1"), scene.names[origin]
    gateway = at("80" if origin == "lan" else "81", 1, Family.V4)
    run(there, "sysctl -qw net.ipv4.conf.all.route_localnet=1")
    run(there, "ip addr flush dev lo")
    run(there, f"ip route replace {loopback} via {gateway} src {gateway + 1}")
    run(scene.names["host"], "sysctl -qw net.ipv4.conf.at-lan.route_localnet=1")
    scene.firewall.apply(adds(Element("addr4", (loopback, TCP, 8080), (at("82", 2, Family.V4), 80))))
    assert scene.ask(origin, loopback, 8080, source=gateway + 1) == ""
    if origin == "red":  # on the LAN's interface it is not we who switched route_localnet on
        assert scene.ask(origin, loopback, 80, source=gateway + 1) == ""
        assert scene.count("ip daddr 127.0.0.0/8 iifname @nets counter drop") >= 2
        run(there, "ip addr add 127.9.9.9 dev lo")
        scene.ask(origin, gateway, 80, source=ip_address("127.9.9.9"))
        assert scene.count("ip saddr 127.0.0.0/8 iifname @nets counter drop") >= 1


@FAMILIES
def test_a_container_speaks_only_from_its_networks_subnet(scene: Scene, family: Family) -> None:
    foreign, lan = at("99", 9, family), at("80", 2, family)
    run(scene.names["red"], f"ip addr replace {foreign} dev eth0 {NODAD[family]}")
    run(scene.names["host"], f"ip -{int(family)} route replace {foreign} dev at-red")
    assert scene.ask("red", lan, 80, source=foreign) == ""
    scene.firewall.apply(adds(Element(f"lan{int(family)}", ("at-red", subnet("99", family)))))
    assert scene.ask("red", lan, 80, source=foreign, wait_s=2) == f"{at('80', 1, family)} 80"


def test_packets_of_no_connection_do_not_leave_a_masqueraded_network(scene: Scene) -> None:
    def send_garbage() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            raw.sendto(b"\xff" * 20, (str(at("80", 2, Family.V4)), 0))

    inside(scene.names["red"], send_garbage)
    eventually(lambda: scene.count("counter drop", chain="from_net") == 1)
    assert scene.counted(Element("masq", (NFPROTO[Family.V4], "at-red"))) == Count()


@FAMILIES
def test_a_routed_network_answers_echo_and_nothing_else(scene: Scene, family: Family) -> None:
    red = at("81", 2, family)
    assert not scene.pings("lan", red)
    scene.firewall.apply(adds(Element("routed", (NFPROTO[family], "at-red"))))
    assert scene.pings("lan", red)
    assert scene.ask("lan", red, 80) == ""


@FAMILIES
def test_forwarding_that_we_switched_on_is_not_for_others(scene: Scene, family: Family) -> None:
    elsewhere = at("99", 5, family)
    run(scene.names["host"], f"ip -{int(family)} route replace {elsewhere} via {at('80', 2, family)}")
    rule = "meta nfproto @closed counter drop"
    scene.ask("lan", elsewhere, 9, protocol=UDP)
    assert scene.count(rule) == 0
    scene.firewall.apply(adds(Element("closed", (NFPROTO[family],))))
    scene.ask("lan", elsewhere, 9, protocol=UDP)
    assert scene.count(rule) == 1


@FAMILIES
def test_the_host_may_speak_from_a_gateway_address(scene: Scene, family: Family) -> None:
    gateway = at("81", 1, family)
    assert scene.ask("host", at("80", 2, family), 80, source=gateway, wait_s=2) == f"{gateway} 80"


def datagram_octets(family: Family) -> int:
    """Length of the IP packet with which `Scene.ask` asks over UDP."""
    return {Family.V4: 20, Family.V6: 40}[family] + 8 + 1


@FAMILIES
def test_networks_count_what_is_masqueraded_each_for_itself(scene: Scene, family: Family) -> None:
    lan, octets = at("80", 2, family), datagram_octets(family)
    asked = {"red": 3, "blue": 2}
    for network, times in asked.items():
        for _ in range(times):
            assert scene.ask(network, lan, 80, protocol=UDP, wait_s=2) == f"{at('80', 1, family)} 80"
    assert {
        (network, of): scene.counted(Element("masq", (NFPROTO[of], f"at-{network}")))
        for network in asked
        for of in Family
    } == {
        (network, of): Count(times, times * octets) if of is family else Count()
        for network, times in asked.items()
        for of in Family
    }
    assert not scene.firewall.ensure()


@FAMILIES
@pytest.mark.parametrize("form", FORMS)
def test_a_published_port_counts_its_connections(scene: Scene, form: str, family: Family) -> None:
    elements = [published(form, UDP, number, family) for number in (84, 82)]
    scene.firewall.apply(adds(*elements))
    for _ in range(3):
        assert scene.ask("lan", at("80", 1, family), 82, protocol=UDP, wait_s=2)
    assert [scene.counted(element) for element in elements] == [Count(), Count(3, 3 * datagram_octets(family))]


@FAMILIES
def test_a_connection_counts_once_however_long_it_is(scene: Scene, family: Family) -> None:
    element, host = published("any", TCP, 81, family), at("80", 1, family)
    scene.firewall.apply(adds(element))
    assert scene.ask("lan", host, 81, protocol=TCP, wait_s=2)
    assert scene.counted(element).packets == 1


@FAMILIES
def test_pairs_fixed_sources_and_opened_ports_count_too(scene: Scene, family: Family) -> None:
    red, blue, lan = at("81", 2, family), at("82", 2, family), at("80", 2, family)
    pair = Element("pairs", ("at-red", "at-blue"))
    fixed = Element(f"snat{int(family)}", ("at-red",), (at("80", 1, family),))
    opened = Element(f"open{int(family)}", (red, UDP, 81))
    scene.firewall.apply(adds(pair, fixed, opened))
    for origin, target, port in (("red", blue, 80), ("red", lan, 80), ("lan", red, 81)):
        assert scene.ask(origin, target, port, protocol=UDP, wait_s=2)
    once = Count(1, datagram_octets(family))
    assert [scene.counted(element) for element in (pair, fixed, opened)] == [once, once, once]
    assert scene.counted(Element("masq", (NFPROTO[family], "at-red"))) == Count()


def test_a_count_lasts_as_long_as_its_element(scene: Scene) -> None:
    element, host = published("any", UDP, 81, Family.V4), at("80", 1, Family.V4)
    once = Count(1, datagram_octets(Family.V4))

    def count_one() -> None:
        assert scene.ask("lan", host, 81, protocol=UDP, wait_s=2)
        assert scene.counted(element) == once

    scene.firewall.apply(adds(element))
    count_one()
    scene.firewall.apply(adds(element))
    assert not scene.firewall.ensure()
    assert scene.counted(element) == once
    scene.firewall.apply([Op(Verb.CHANGE, element, before=element._replace(data=(at("82", 2, Family.V4), 81)))])
    assert scene.counted(element) == Count()
    count_one()
    scene.firewall.apply([*removes(element), *adds(element)])
    assert scene.counted(element) == Count()
    count_one()
    scene.firewall.refill([element])
    assert scene.counted(element) == Count()


def test_elements_change_under_a_flow_without_touching_it(scene: Scene) -> None:
    red = at("81", 2, Family.V4)
    scene.firewall.apply(adds(Element("any4", (TCP, 8080), (red, 80))))
    ping = ["ping", "-q", "-i", "0.002", "-c", "500", "-W", "1", str(red)]
    with running(scene.names["host"], ping) as flow:
        current = list(scene.firewall.survey().values())
        while flow.poll() is None:
            scene.firewall.refill(current)  # type: ignore[arg-type]
        assert flow.stdout is not None
        assert ", 0% packet loss" in flow.stdout.read()
