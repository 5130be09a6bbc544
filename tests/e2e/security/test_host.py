"""What concerns the host: it routes for nobody else, hears nothing of isolated networks, and leaks no inner source."""

import time
from ipaddress import IPv6Address

from atoll.lab.namespace import Namespace
from atoll.lab.probe import CLOSED_WAIT_S, Question, ask
from tests.e2e.security import frames
from tests.e2e.security.air import SETTLE_S, Listener, mac_of, shoot
from tests.e2e.security.cells import OUTSIDE_SERVICE, PEER, WEB
from tests.e2e.security.frames import Flags, Way
from tests.e2e.security.ledger import Ledger
from tests.e2e.security.nets import NETS, VERSIONS, Mode
from tests.e2e.security.stage import PROTOCOLS, Stage

ALL_NODES = "ff02::1"
HEARD_PORT, LOOPBACK_PORT = 9996, 9995
PREFIX = IPv6Address("2001:db8:bad::")


def test_the_host_routes_for_nobody_else(stage: Stage, ledger: Ledger) -> None:
    """It forwards, as its networks need it, and both LANs send it what is for the other."""
    questions = {
        f"{protocol} {version}": Question(protocol, str(stage.far.address(version)), OUTSIDE_SERVICE, CLOSED_WAIT_S)
        for protocol in (*PROTOCOLS, "icmp")
        for version in VERSIONS
    }
    assert stage.host.out("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding").split() == [
        "1",
        "1",
    ]
    assert all(answer.server for answer in ask(stage.host, questions).values())
    through = {name: answer.server for name, answer in ask(stage.neighbour, questions).items() if answer.server}
    ledger.decide("a LAN doesn't reach another through the host", "all", kept=not through, seen=", ".join(through))
    assert not through


def test_what_connection_tracking_refuses_leaves_no_translated_network(stage: Stage, ledger: Ledger) -> None:
    """A reset of no connection is never translated; it must not go out with its inner source instead."""
    wrong = []
    listener = Listener(stage.neighbour)
    for number, net in enumerate(net for net in NETS.values() if not net.internal):
        outside = {version: str(stage.neighbour.address(version)) for version in net.versions}
        ways = [Way(net.mac(WEB), net.mac(1), net.address(v, WEB), target) for v, target in outside.items()]
        flags, text = Flags.RST | Flags.SYN, b"a stray segment"
        shoot(stage.web(net.name), [frames.tcp(way, 45000 + number, OUTSIDE_SERVICE, flags, text) for way in ways])
    time.sleep(SETTLE_S)
    sources = {frames.source_of(frame) for frame in listener.stop() if b"a stray segment" in frame}
    for net in NETS.values():
        for version in () if net.internal else net.versions:
            translated = net.mode(version) is not Mode.ROUTED and net.source != "own"
            kept = (net.address(version, WEB) in sources) is not translated
            promise = (
                "an untranslatable packet doesn't leave" if translated else "an odd packet leaves (nothing to hide)"
            )
            ledger.decide(promise, f"{net.name}, IPv{version}", kept=kept)
            wrong += [] if kept else [f"{net.name}, IPv{version}"]
    assert not wrong


def test_services_on_the_hosts_loopback_address_are_its_own(stage: Stage, ledger: Ledger) -> None:
    """A container can send the gateway packets for 127.0.0.1, and bridges have route_localnet."""
    heard = stage.host.start(["socat", "-u", f"UDP4-RECV:{LOOPBACK_PORT},bind=127.0.0.1", "-"])
    for net in NETS.values():
        way = Way(net.mac(PEER), net.mac(1), net.address(4, PEER), "127.0.0.1")
        text = f"from {net.name};".encode()
        aims = (way, way.spoofing("127.0.0.1"), way.spoofing("127.5.5.5"))
        shoot(stage.peer(net.name), [frames.udp(aim, 47000, LOOPBACK_PORT, text) for aim in aims])
    stage.host.run(["socat", "-u", "-", f"UDP4:127.0.0.1:{LOOPBACK_PORT}"], stdin="from the host;")
    time.sleep(SETTLE_S)
    heard.terminate()
    said, _ = heard.communicate()
    for net in NETS.values():
        kept = f"from {net.name};" not in said
        ledger.decide("a service on the host's 127.0.0.1 is closed to containers", net.name, kept=kept)
    assert said == "from the host;"


def test_an_internal_network_gets_no_further_than_its_gateway(stage: Stage, ledger: Ledger) -> None:
    """A container has no default route there; but it can send the gateway's MAC packets for anybody."""
    options = {4: "reuseaddr", 6: "reuseaddr,ipv6only=1"}
    heard = [stage.host.start(["socat", "-u", f"UDP{v}-RECV:{HEARD_PORT},{options[v]}", "-"]) for v in VERSIONS]
    outside, inside = Listener(stage.neighbour), Listener(stage.web("nat-unprotected"))
    for name in ("trusting", "internal", "isolated"):
        net = NETS[name]
        for version in VERSIONS:
            way = Way(net.mac(PEER), net.mac(1), net.address(version, PEER), "")
            targets = (
                str(stage.host.address(version)),
                str(stage.host.address(version, leg=1)),
                NETS["nat"].address(version, 1),
                str(stage.neighbour.address(version)),
                NETS["nat-unprotected"].address(version, WEB),
            )
            text = f"{name} by IPv{version};".encode()
            shoot(stage.peer(name), [frames.udp(way.to(target), 48000, HEARD_PORT, text) for target in targets])
    time.sleep(SETTLE_S)
    for process in heard:
        process.terminate()
    said = {"the host": b"".join(process.communicate()[0].encode() for process in heard)}
    said |= {"a LAN": b"".join(outside.stop()), "another network": b"".join(inside.stop())}
    for name in ("trusting", "internal", "isolated"):
        for version in VERSIONS:
            reached = {where for where, octets in said.items() if f"{name} by IPv{version};".encode() in octets}
            kept = reached == (set() if NETS[name].internal else set(said))
            ledger.decide("an internal network goes nowhere, another everywhere", f"{name}, IPv{version}", kept=kept)
            assert kept, (name, version, reached)


def test_an_isolated_network_is_not_heard_by_the_host(stage: Stage, ledger: Ledger) -> None:
    """Neither broadcasts nor multicasts, neither its address on another interface by ARP nor by IPv6's all-nodes."""
    heard = stage.host.start(["socat", "-u", f"UDP4-RECV:{HEARD_PORT},reuseaddr", "-"])
    wanted = {}
    for name in ("nat", "internal", "isolated"):
        net, web = NETS[name], stage.web(name)
        wanted[name] = name != "isolated"
        listener = Listener(web)
        own = Way(net.mac(WEB), frames.BROADCAST, net.address(4, WEB), "255.255.255.255")
        v6 = Way(own.source_mac, frames.ALL_NODES, net.address(6, WEB), ALL_NODES)
        text = f"from {name};".encode()
        shots = [
            frames.udp(own.to(target), HEARD_PORT, HEARD_PORT, text) for target in (own.target, net.address(4, 255))
        ]
        shots += [frames.arp_request(own.to(str(stage.host.address(4)))), frames.echo(v6, 7, b"anybody?")]
        shoot(web, shots)
        time.sleep(SETTLE_S)
        answers = listener.stop()
        by_arp = str(stage.host.address(4)) in {frames.arp_reply_from(frame) for frame in answers}
        sources = {frames.source_of(frame) for frame in answers if b"anybody?" in frame} - {v6.source}
        assert any(source.endswith((":3", "03")) for source in sources), "its peer answers on each"
        by_v6 = len(sources) > 1
        for what, seen in (("ARP for the host's address", by_arp), ("a ping of all nodes", by_v6)):
            kept = seen is wanted[name]
            ledger.decide(f"{what} is {'answered' if wanted[name] else 'not answered'} by the host", name, kept=kept)
            assert kept, f"{what}, {name}"
    heard.terminate()
    said, _ = heard.communicate()
    for name, wants in wanted.items():
        kept = (f"from {name};" in said) is wants
        ledger.decide(f"a broadcast is {'heard' if wants else 'not heard'} by the host", name, kept=kept)
        assert kept, f"broadcast, {name}: {said}"


def test_a_network_without_ipv6_has_none(stage: Stage, ledger: Ledger) -> None:
    net, web = NETS["ipv4-only"], stage.web("ipv4-only")
    listener = Listener(web)
    way = Way(net.mac(WEB), frames.ALL_NODES, "fe80::1234", ALL_NODES)
    shoot(web, [frames.echo(way, 7, b"anybody?"), frames.echo(way.to("ff02::2"), 8, b"anybody?")])
    time.sleep(SETTLE_S)
    answered = any(b"anybody?" in frame for frame in listener.stop())
    addresses = "".join(space.out("ip -6 addr show dev eth0") for space in (web, stage.peer(net.name)))
    kept = not answered and not addresses
    ledger.decide("no IPv6 on an IPv4-only network", net.name, kept=kept)
    assert kept, addresses


def test_nobody_inside_follows_a_router_advertisement(stage: Stage, ledger: Ledger) -> None:
    """Sent by the host itself, onto each bridge, so that no rule can have dropped it. The LAN's host follows it."""
    control = stage.neighbour
    control.set_sysctls({f"ipv6/conf/eth0/{name}": 1 for name in ("accept_ra", "accept_ra_defrtr", "autoconf")})
    for ifname in ("eth0", *_bridges(stage)):
        way = Way(mac_of(stage.host, ifname), frames.ALL_NODES, "fe80::bad", ALL_NODES)
        shoot(stage.host, [frames.router_advertisement(way, PREFIX)], ifname)
    time.sleep(SETTLE_S)
    found = {f"{net}-{last}": _advertised(space) for (net, last), space in stage.sandboxes.items()}
    at_control = _advertised(control)
    control.set_sysctls({"ipv6/conf/eth0/accept_ra": 0})
    control.run("ip -6 route flush proto ra")
    assert at_control, "the advertisement itself is good"
    followers = [name for name, routes in found.items() if routes]
    ledger.decide("a router advertisement is not followed inside", "all", kept=not followers, seen=", ".join(followers))
    assert not followers


def _bridges(stage: Stage) -> list[str]:
    return [link["ifname"] for link in stage.host.links() if link["ifname"].startswith("at-")]


def _advertised(space: Namespace) -> str:
    return space.out("ip -6 route show proto ra")
