"""The stage: a host with a daemon and every network, between two LANs whose other hosts route to all it has.

neighbour --- lan --- eth0 host eth1 --- yard --- far
                        |
                  every network of `nets`, each with a web and a peer

A hostile stage has what others may have done to the host: bridge-nf-call, route_localnet on every interface, and tables
that accept everything before and after ours.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from atoll.lab.host import Host
from atoll.lab.namespace import Namespace
from atoll.lab.probe import CLOSED_WAIT_S, OPEN_WAIT_S, Answer, Answerer, Asking, Question
from atoll.lab.topology import Lab
from tests.e2e.security.cells import (
    ANY,
    AT_HOST,
    HOST_SERVICE,
    LINK_LOCAL_SERVICE,
    LOOPBACK,
    ONE,
    OUTSIDE_SERVICE,
    PEER,
    PORTS,
    UNPUBLISHED,
    WEB,
    Cell,
    Origin,
    Target,
    host_port,
)
from tests.e2e.security.nets import FIXED, NETS, VERSIONS, Mode, Net
from tests.e2e.security.rules import Outcome, expected

PROTOCOLS = ("tcp", "udp", "sctp")
LOOPBACK_ADDRESS = {4: "127.0.0.1", 6: "::1"}
EVERYWHERE = {4: "0.0.0.0", 6: "::"}

FRIENDLY = """table inet friendly {
	chain before { type filter hook forward priority -10; policy accept; accept; }
	chain after { type filter hook forward priority 10; policy accept; accept; }
	chain input { type filter hook input priority -10; policy accept; accept; }
}
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The hosts, and the sandboxes by (network, WEB or PEER)."""

    hostile: bool
    host: Host
    neighbour: Host
    far: Host
    sandboxes: Mapping[tuple[str, int], Namespace]

    def web(self, net: str) -> Namespace:
        """The sandbox of a network that publishes ports."""
        return self.sandboxes[net, WEB]

    def peer(self, net: str) -> Namespace:
        """The other sandbox of a network."""
        return self.sandboxes[net, PEER]


@contextmanager
def stage(*, hostile: bool) -> Iterator[Stage]:
    """Everything up, with servers behind each port."""
    with Lab("hostile" if hostile else "secure") as lab:
        lan = lab.switch("lan", "10.99.0.0/24", "fd99::/64")
        yard = lab.switch("yard", "10.98.0.0/24", "fd98::/64")
        host, neighbour, far = lab.host("host", lan, yard), lab.host("neighbour", lan), lab.host("far", yard)
        for version, address in FIXED.items():
            # Deprecated, so that the host never takes it by itself.
            host.run(f"ip addr add {address}/{24 if version == 4 else 64} dev eth0 preferred_lft 0")
        neighbour.route("default", host)
        far.route("default", host, leg=1)
        host.set_sysctls({f"bridge/bridge-nf-call-{name}": int(hostile) for name in ("iptables", "ip6tables")})
        if hostile:
            host.set_sysctls({f"ipv4/conf/{name}/route_localnet": 1 for name in ("all", "eth0", "eth1")})
            host.run("nft -f -", stdin=FRIENDLY)
        host.start_daemon()
        sandboxes = {key: space for net in NETS.values() for key, space in _furnish(host, net)}
        made = Stage(hostile, host, neighbour, far, sandboxes)
        _answer(made)
        yield made


def _furnish(host: Host, net: Net) -> Iterator[tuple[tuple[str, int], Namespace]]:
    host.atoll(["network", "create", *net.create_words()])
    for last, publish in ((WEB, publish_words(host, net)), (PEER, [])):
        name = f"{net.name}-{last}"
        host.atoll(["sandbox", "create", name, "--network", net.name, *publish])
        yield (net.name, last), host.sandbox(name)


def publish_words(host: Host, net: Net) -> list[str]:
    """The `-p` arguments of a network's `web`."""
    forms = [f"{host_port(Target.HOST_ANY, net)}:{ANY}"]
    for version in net.versions:
        bracket = "[{}]" if version == 6 else "{}"
        own, loopback = bracket.format(host.address(version)), bracket.format(LOOPBACK_ADDRESS[version])
        forms.append(f"{own}:{host_port(Target.HOST_ONE, net)}:{ONE}")
        forms.append(f"{loopback}:{host_port(Target.HOST_LOOPBACK, net)}:{LOOPBACK}")
    return [word for form in forms for protocol in PROTOCOLS for word in ("-p", f"{form}/{protocol}")]


def _answer(made: Stage) -> None:
    for net in NETS.values():
        numbers = (ANY, ONE, LOOPBACK, UNPUBLISHED)
        Answerer(made.web(net.name), net.name, _ports(numbers, net.versions))
    addresses = [str(made.host.address(v, leg=leg)) for v in VERSIONS for leg in (0, 1)]
    addresses += [net.address(v, 1) for net in NETS.values() for v in net.versions if net.mode(v) is not Mode.ISOLATED]
    here = [(protocol, address, HOST_SERVICE) for protocol in PROTOCOLS for address in addresses]
    Answerer(made.host, "host", [*here, *_ports((LINK_LOCAL_SERVICE,), (6,))])
    for outsider in (made.neighbour, made.far):
        Answerer(outsider, "outside", _ports((OUTSIDE_SERVICE,), VERSIONS))


def _ports(numbers: tuple[int, ...], versions: tuple[int, ...]) -> list[tuple[str, str, int]]:
    return [(p, EVERYWHERE[v], number) for p in PROTOCOLS for v in versions for number in numbers]


def ask_all(made: Stage, cells: list[Cell]) -> dict[Cell, Outcome | str]:
    """Every cell's real outcome: one process an origin, all at the same time."""
    by_space: dict[Namespace, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_space[_asker(made, cell)].append(cell)
    running = [Asking(space, {c.id: _question(made, c) for c in mine}) for space, mine in by_space.items()]
    by_id = {cell.id: cell for cell in cells}
    return {by_id[key]: _outcome(made, by_id[key], a) for asking in running for key, a in asking.answers().items()}


def _asker(made: Stage, cell: Cell) -> Namespace:
    other = cell.asker or ("snat" if cell.net == "nat" else "nat")
    spaces: dict[Origin, Namespace] = {
        Origin.NEIGHBOUR: made.neighbour,
        Origin.FAR: made.far,
        Origin.HOST: made.host,
        Origin.OWN: made.web(cell.net) if cell.target is Target.OUTSIDE else made.peer(cell.net),
        Origin.OTHER: made.peer(other),
        Origin.INTERNAL: made.peer(cell.asker or "internal"),
    }
    return spaces[cell.origin]


def _question(made: Stage, cell: Cell) -> Question:
    net = NETS[cell.net]
    port = host_port(cell.target, net) if cell.target in AT_HOST else PORTS.get(cell.target, 0)
    wait_s = CLOSED_WAIT_S if expected(cell) is Outcome.CLOSED else OPEN_WAIT_S
    return Question(cell.protocol, _address(made, cell, net), port, wait_s)


def _address(made: Stage, cell: Cell, net: Net) -> str:
    match cell.target:
        case Target.HOST_LOOPBACK if cell.origin is Origin.HOST:
            return LOOPBACK_ADDRESS[cell.version]
        case Target.HOST_ANY | Target.HOST_ONE | Target.HOST_LOOPBACK | Target.HOST_SERVICE:
            return str(made.host.address(cell.version))
        case Target.GATEWAY | Target.PING_GATEWAY:
            return net.address(cell.version, 1)
        case Target.LINK_LOCAL:
            octets = net.subnet(4)[1].packed  # the bridge's MAC is 02:42 and the gateway's IPv4 address
            return f"fe80::42:{octets[0]:x}ff:fe{octets[1]:02x}:{octets[2]:x}{octets[3]:02x}%eth0"
        case Target.OUTSIDE:
            return str(made.neighbour.address(cell.version))
    return net.address(cell.version, WEB)


def _outcome(made: Stage, cell: Cell, answer: Answer) -> Outcome | str:
    if not answer.server:
        return Outcome.CLOSED
    address = _address(made, cell, NETS[cell.net])
    if cell.protocol == "icmp":
        return Outcome.ANSWERED if answer.server == address else str(answer)
    server = {Target.OUTSIDE: "outside"}.get(cell.target, cell.net)
    if cell.target in (Target.GATEWAY, Target.LINK_LOCAL, Target.HOST_SERVICE):
        server = "host"
    if answer.server != server:
        return str(answer)
    return next((outcome for outcome, clients in _clients(made, cell) if answer.client in clients), str(answer))


def _clients(made: Stage, cell: Cell) -> Iterator[tuple[Outcome, set[str]]]:
    """Addresses that a server may see, by what they mean."""
    net, version = NETS[cell.net], cell.version
    asker = _asker(made, cell)
    hosts = {str(made.host.address(version)), LOOPBACK_ADDRESS[version]}
    gateways = {net.address(v, 1) for v in net.versions}
    if isinstance(asker, Host):
        # The host itself takes its address nearest to whom it asks, which to a container is its gateway's.
        own = {str(asker.address(version))} | (hosts | gateways if asker is made.host else set())
        own -= gateways if cell.target is Target.HOST_LOOPBACK else set()
    else:
        key = next(key for key, space in made.sandboxes.items() if space is asker)
        own = {NETS[key[0]].address(version, key[1])}
        if cell.target is Target.LINK_LOCAL:
            own = {f"fe80::{asker.out('ip -6 -o addr show dev eth0 scope link').split('fe80::')[1].split('/')[0]}"}
    yield Outcome.CLIENT, own
    yield Outcome.GATEWAY, gateways
    yield Outcome.HOST, hosts
    yield Outcome.FIXED, {FIXED[version]}
