"""Frames that no honest program sends: they look established, claim to come from inside, or are for loopback."""

from collections.abc import Iterator

from tests.e2e.security import frames
from tests.e2e.security.air import shoot, way_from_lan
from tests.e2e.security.cells import ANY, OUTSIDE_SERVICE, PEER, UNPUBLISHED, WEB, Target, host_port
from tests.e2e.security.frames import Flags, Way
from tests.e2e.security.ledger import Ledger
from tests.e2e.security.nets import NETS, VERSIONS, Mode, Net
from tests.e2e.security.stage import LOOPBACK_ADDRESS, Stage
from tests.e2e.security.volley import Shot, judge, marks

SEGMENTS = {
    "lone ACK": Flags.ACK,
    "SYN and ACK": Flags.SYN | Flags.ACK,
    "PSH and ACK": Flags.PSH | Flags.ACK,
    "FIN": Flags.FIN,
    "RST": Flags.RST,
    "XMAS": Flags.FIN | Flags.PSH | Flags.URG,
    "without flags": Flags(0),
}
SOURCE_PORT = 41000
"""First of those of the stage's hand-made packets; each takes the next."""
FLOW_PORT = 5000


def targets(stage: Stage) -> Iterator[tuple[Net, int, Way]]:
    """Every web in each family, straight from the LAN."""
    ways = {v: way_from_lan(stage.neighbour, stage.host, str(stage.host.address(v))) for v in VERSIONS}
    for net in NETS.values():
        for version in net.versions:
            yield net, version, ways[version].to(net.address(version, WEB))


def test_what_looks_established_passes_nothing(stage: Stage, ledger: Ledger) -> None:
    mark = marks()
    shots: list[Shot] = []
    for net, version, way in targets(stage):
        unprotected = net.mode(version) is Mode.UNPROTECTED
        routed = net.mode(version) is Mode.ROUTED
        for port, arrives in ((UNPUBLISHED, unprotected), (ANY, unprotected or routed)):
            for name, flags in SEGMENTS.items():
                text = next(mark)
                frame = frames.tcp(way, SOURCE_PORT + len(shots), port, flags, text)
                shots.append(Shot(f"{name} to port {port}", net.name, version, stage.neighbour, frame, text, arrives))
        for name, frame, text in _answers(way, mark):
            shots.append(Shot(name, net.name, version, stage.neighbour, frame, text, unprotected))
    assert not judge(stage, ledger, shots)


def _answers(way: Way, mark: Iterator[bytes]) -> Iterator[tuple[str, bytes, bytes]]:
    text = next(mark)
    yield "INIT ACK to nobody's INIT", frames.sctp_answer(way, 132, UNPUBLISHED, text), text
    text = next(mark)
    yield "echo reply to nobody", frames.echo(way, 7, text, reply=True), text
    text = next(mark)
    about = frames.without_ethernet(frames.udp(Way(way.target_mac, way.source_mac, way.target, way.source), 1, 2, text))
    yield "error about nobody's packet", frames.unreachable(way, about), text


def test_sources_of_ours_do_not_come_from_a_lan(stage: Stage, ledger: Ledger) -> None:
    mark = marks()
    shots: list[Shot] = []
    for net, version, way in targets(stage):
        other = NETS["snat" if net.name == "nat" else "nat"]
        sources = {
            "peer's": net.address(version, PEER),
            "gateway's": net.address(version, 1),
            "other network's": other.address(version, PEER),
            "loopback": LOOPBACK_ADDRESS[version],
        }
        at_host = way.to(str(stage.host.address(version)))
        for name, source in sources.items():
            for what, aim, port in (
                ("container", way, ANY),
                ("published port", at_host, host_port(Target.HOST_ANY, net)),
            ):
                for make in (_datagram, _segment):
                    text = next(mark)
                    frame = make(aim.spoofing(source), SOURCE_PORT + len(shots), port, text)
                    promise = f"{name} source from a LAN to the {what}"
                    shots.append(Shot(promise, net.name, version, stage.neighbour, frame, text))
        if not net.internal and net.mode(version) is not Mode.ROUTED:
            text = next(mark)
            frame = _datagram(at_host, SOURCE_PORT + len(shots), host_port(Target.HOST_ANY, net), text)
            shots.append(
                Shot("honest source to the published port", net.name, version, stage.neighbour, frame, text, True)
            )
    assert not judge(stage, ledger, shots)


def _datagram(way: Way, source_port: int, port: int, text: bytes) -> bytes:
    return frames.udp(way, source_port, port, text)


def _segment(way: Way, source_port: int, port: int, text: bytes) -> bytes:
    return frames.tcp(way, source_port, port, Flags.SYN, text)


def test_ports_on_loopback_are_this_hosts_alone(stage: Stage, ledger: Ledger) -> None:
    """By their link-layer address anyone on a link can send the host packets for 127.0.0.1 and ::1."""
    mark = marks()
    shots: list[Shot] = []
    for net, version, from_lan in targets(stage):
        loopback, port = LOOPBACK_ADDRESS[version], host_port(Target.HOST_LOOPBACK, net)
        peer = stage.peer(net.name)
        from_peer = Way(net.mac(PEER), net.mac(1), net.address(version, PEER), loopback)
        for who, sender, way in (("a LAN", stage.neighbour, from_lan.to(loopback)), ("a peer", peer, from_peer)):
            for spoofed in (way, way.spoofing(loopback)):
                for make in (_datagram, _segment):
                    text = next(mark)
                    frame = make(spoofed, SOURCE_PORT + len(shots), port, text)
                    shots.append(Shot(f"packet for loopback from {who}", net.name, version, sender, frame, text))
    assert not judge(stage, ledger, shots)


def test_answers_of_translated_flows_come_only_to_the_translation(stage: Stage, ledger: Ledger) -> None:
    mark = marks()
    shots: list[Shot] = []
    for net, version, straight in targets(stage):
        if net.internal:
            continue
        outside = str(stage.neighbour.address(version))
        out = Way(net.mac(WEB), net.mac(1), net.address(version, WEB), outside)
        shoot(stage.web(net.name), [frames.udp(out, FLOW_PORT, OUTSIDE_SERVICE, next(mark))])
        text = next(mark)
        frame = frames.udp(straight, OUTSIDE_SERVICE, FLOW_PORT, text)
        own = net.source == "own" or net.mode(version) is not Mode.NAT
        shots.append(
            Shot("answer sent straight to the container", net.name, version, stage.neighbour, frame, text, own)
        )
    assert not judge(stage, ledger, shots)
