"""The stage of the packet matrix, and the asking.

outside --- wan --- router --- lan --- host: front (web, same)  back (other)  old-net (old, IPv4 only)
                                |            quiet-net (quiet, quiet2; icc off)
                     neighbour -+- straight (has routes to the containers' subnets through the host)
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from atoll.lab.host import Host
from atoll.lab.namespace import Namespace
from atoll.lab.probe import CLOSED_WAIT_S, OPEN_WAIT_S, Answer, Answerer, Asking, Question
from atoll.lab.topology import Lab
from tests.e2e.matrix.cells import PROTOCOLS, VERSIONS, Cell, Form, Origin
from tests.e2e.matrix.rules import Outcome, expected

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
ANY = {4: "0.0.0.0", 6: "::"}
SECOND = {4: "10.99.0.200", 6: "fd99::200"}
"""A second address of the host on the LAN."""

NETWORKS = {
    "front": ("10.88.0.0/24", "fd88::/64"),
    "back": ("10.89.0.0/24", "fd89::/64"),
    "old-net": ("10.90.0.0/24",),
    "quiet-net": ("10.91.0.0/24", "fd91::/64"),
}
SANDBOXES = {
    "web": "front", "same": "front", "other": "back", "old": "old-net", "old2": "old-net",
    "quiet": "quiet-net", "quiet2": "quiet-net",
}  # fmt: skip
PUBLISHING = ("web", "old", "quiet")


@dataclass(frozen=True, slots=True)
class Place:
    """A sandbox: its namespace, its addresses and its network's gateways by IP version."""

    space: Namespace
    address: Mapping[int, str]
    gateway: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Scene:
    """The hosts and sandboxes of a running stage."""

    host: Host
    neighbour: Host
    outside: Host
    straight: Host
    places: Mapping[str, Place]


@contextmanager
def hosts(bridge_nf_call: int) -> Iterator[tuple[Host, Host, Host, Host]]:
    """The host to test, without a daemon yet, a neighbour, an outside host, and one that routes straight."""
    with Lab(f"matrix{bridge_nf_call}") as lab:
        lan = lab.switch("lan", "10.99.0.0/24", "fd99::/64")
        wan = lab.switch("wan", "203.0.113.0/24", "2001:db8:9::/64")
        host, neighbour, straight = (lab.host(name, lan) for name in ("host", "neighbour", "straight"))
        router, outside = lab.host("router", lan, wan, forwarding=True), lab.host("outside", wan)
        for inner in (host, neighbour, straight):
            inner.route("default", router)
        outside.route("default", router, leg=1)
        for subnet in (subnet for subnets in NETWORKS.values() for subnet in subnets):
            straight.route(subnet, host)
        for version, address in SECOND.items():
            host.run(f"ip addr add {address}/{24 if version == 4 else 64} dev eth0")
        host.set_sysctls({f"bridge/bridge-nf-call-{name}": bridge_nf_call for name in ("iptables", "ip6tables")})
        yield host, neighbour, outside, straight


def publish_options(sandbox: str, host: Host) -> list[str]:
    """The `-p` values of a sandbox, each once, for all protocols and families."""
    options = []
    for form in Form:
        if form.value.sandbox != sandbox or not form.value.option:
            continue
        for version in VERSIONS:
            bracket = "[{}]" if version == 6 else "{}"
            own, loopback = bracket.format(host.address(version)), bracket.format(LOOPBACK[version])
            options.append(form.value.option.format(host=own, loopback=loopback))
    return [f"{option}/{protocol}" for option in dict.fromkeys(options) for protocol in PROTOCOLS]


@contextmanager
def stage(bridge_nf_call: int) -> Iterator[Scene]:
    """Everything up: daemon, networks, sandboxes with their published ports, answerers behind them."""
    with hosts(bridge_nf_call) as (host, neighbour, outside, straight):
        host.start_daemon()
        for name, subnets in NETWORKS.items():
            words = ["network", "create", *(word for subnet in subnets for word in ("--subnet", subnet))]
            words += ["--ipv6"] if len(subnets) > 1 else []
            words += ["-o", "com.docker.network.bridge.enable_icc=false"] if name == "quiet-net" else []
            host.atoll([*words, name])
        for name, network in SANDBOXES.items():
            options = [word for option in publish_options(name, host) for word in ("-p", option)]
            host.atoll(["sandbox", "create", name, "--network", network, *options])
        places = {name: _place(host, name, network) for name, network in SANDBOXES.items()}
        yield answering(Scene(host, neighbour, outside, straight, places))


def answering(scene: Scene) -> Scene:
    """Start the servers behind the published ports."""
    for name in PUBLISHING:
        place = scene.places[name]
        numbers = sorted({form.value.container_port for form in Form if form.value.sandbox == name})
        ports = [(p, ANY[v], number) for p in PROTOCOLS for v in place.address for number in numbers]
        Answerer(place.space, name, ports)
    return scene


def _place(host: Host, name: str, network: str) -> Place:
    found = host.inspect("sandbox", name)
    endpoint = found["Networks"][network]
    address = {4: endpoint["IPAddress"], 6: endpoint["GlobalIPv6Address"]}
    gateway = {4: endpoint["Gateway"], 6: endpoint["IPv6Gateway"]}
    present = [version for version in VERSIONS if address[version]]
    return Place(host.sandbox(name), {v: address[v] for v in present}, {v: gateway[v] for v in present})


def ask_all(scene: Scene, cells: list[Cell]) -> dict[Cell, Answer]:
    """Every cell's real answer: one process an origin, all at the same time."""
    by_space: dict[Namespace, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_space[_asker(scene, cell)].append(cell)
    running = {space: Asking(space, {c.id: _question(scene, c) for c in mine}) for space, mine in by_space.items()}
    by_id = {cell.id: cell for cell in cells}
    return {by_id[key]: answer for asking in running.values() for key, answer in asking.answers().items()}


def outcome(scene: Scene, cell: Cell, answer: Answer) -> Outcome | str:
    """What an answer amounts to; a text when it's none of the outcomes (a wrong server, a surprising client)."""
    if not answer.server:
        return Outcome.CLOSED
    server = cell.form.value.sandbox
    place = scene.places[server]
    if answer.server == server:
        if answer.client == _client_address(scene, cell):
            return Outcome.CLIENT
        if answer.client in place.gateway.values():
            return Outcome.GATEWAY
    return str(answer)


def _asker(scene: Scene, cell: Cell) -> Namespace:
    sandbox = cell.form.value.sandbox
    same = {"web": "same", "old": "old2", "quiet": "quiet2"}[sandbox]
    spaces: dict[Origin, Namespace] = {
        Origin.NEIGHBOUR: scene.neighbour,
        Origin.OUTSIDE: scene.outside,
        Origin.HOST: scene.host,
        Origin.LOOPBACK: scene.host,
        Origin.OTHER: scene.places["other"].space,
        Origin.SAME: scene.places[same].space,
        Origin.ITSELF: scene.places[sandbox].space,
        Origin.STRAIGHT: scene.straight,
    }
    return spaces[cell.origin]


def _question(scene: Scene, cell: Cell) -> Question:
    form = cell.form.value
    wait_s = CLOSED_WAIT_S if expected(cell) is Outcome.CLOSED else OPEN_WAIT_S
    if cell.origin is Origin.STRAIGHT:
        address = scene.places[form.sandbox].address[cell.version]
        return Question(cell.protocol, address, form.container_port, wait_s)
    if cell.origin is Origin.LOOPBACK:
        address = LOOPBACK[cell.version]
    elif form.at_second_address:
        address = SECOND[cell.version]
    else:
        address = str(scene.host.address(cell.version))
    return Question(cell.protocol, address, form.host_port, wait_s)


def _client_address(scene: Scene, cell: Cell) -> str:
    asker = _asker(scene, cell)
    if isinstance(asker, Host):
        return str(asker.address(cell.version))
    place = next(place for place in scene.places.values() if place.space is asker)
    return place.address[cell.version]
