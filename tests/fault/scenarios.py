"""The verbs that the fault suite breaks: how to get there, and what is done."""

from collections.abc import Callable
from dataclasses import dataclass

from atoll.engine.engine import Engine
from atoll.model.addresses import parse_address, parse_network
from atoll.model.network import NetworkRequest, PoolRequest
from atoll.model.portspec import parse_publish
from atoll.model.sandbox import EndpointRequest, SandboxRequest

PORTS = ("8080:80", "127.0.0.1:8081:81/udp", "9000-9100:9000-9100")


@dataclass(frozen=True, slots=True)
class Scenario:
    """`prepare` runs unharmed; `act` is broken. `removes`: on an error it goes on instead of going back.

    `endpoints_max` are on one bridge of a network.
    """

    name: str
    prepare: Callable[[Engine], None]
    act: Callable[[Engine], None]
    removes: bool = False
    endpoints_max: int = 1000

    @property
    def started(self) -> bool:
        """False where the start itself is what is broken."""
        return self.act is not nothing


def make_network(engine: Engine, name: str, subnet4: str, subnet6: str = "", *, internal: bool = False) -> None:
    """A network with fixed subnets."""
    pools = tuple(PoolRequest(subnet=parse_network("subnet", text)) for text in (subnet4, subnet6) if text)
    engine.create_network(NetworkRequest(name, pools=pools, ipv6=bool(subnet6), internal=internal))


def make_sandbox(engine: Engine, name: str, *networks: str, ports: tuple[str, ...] = ()) -> None:
    """A sandbox on these networks."""
    endpoints = tuple(EndpointRequest(network) for network in networks)
    engine.create_sandbox(SandboxRequest(name, endpoints=endpoints, mappings=parse_publish(list(ports))))


def two_networks(engine: Engine) -> None:
    """A dual-stack network and an IPv4 one."""
    make_network(engine, "web", "10.61.0.0/24", "fd61::/64")
    make_network(engine, "back", "10.62.0.0/24")


def a_full_sandbox(engine: Engine) -> None:
    """A sandbox on both, with ports, and a neighbour on each."""
    two_networks(engine)
    make_sandbox(engine, "box", "web", "back", ports=PORTS)
    make_sandbox(engine, "other", "web")


def box_on_one_network(engine: Engine) -> None:
    """Two networks, a sandbox with ports on one of them."""
    two_networks(engine)
    make_sandbox(engine, "box", "back", ports=PORTS)


def opened_networks(engine: Engine) -> None:
    """As `a_full_sandbox`, the networks open to each other."""
    a_full_sandbox(engine)
    engine.allow("web", "back")


def a_full_bridge(engine: Engine) -> None:
    """A network whose only bridge has no room, if that is for one."""
    make_network(engine, "web", "10.61.0.0/24", "fd61::/64")
    make_sandbox(engine, "box", "web")


def a_segment(engine: Engine) -> None:
    """As `a_full_bridge`, and one more."""
    a_full_bridge(engine)
    further_sandbox(engine)


def further_sandbox(engine: Engine) -> None:
    """A sandbox for which the network needs a further bridge."""
    make_sandbox(engine, "further", "web")


def remove_further_sandbox(engine: Engine) -> None:
    """The last one on a further bridge, which goes with it."""
    engine.remove_sandbox("further")


def nothing(engine: Engine) -> None:
    """Only what the start itself does."""


def dual_network(engine: Engine) -> None:
    """The first network with IPv6: the host has to forward it from now on."""
    make_network(engine, "web", "10.61.0.0/24", "fd61::/64")


def inside_network(engine: Engine) -> None:
    """An internal network of both families."""
    make_network(engine, "inside", "10.63.0.0/24", "fd63::/64", internal=True)


def create(engine: Engine) -> None:
    """A sandbox on two networks with every form of port."""
    make_sandbox(engine, "box", "web", "back", ports=PORTS)


def join(engine: Engine) -> None:
    """A sandbox in another's namespace."""
    engine.create_sandbox(SandboxRequest("mate", join="box"))


def connect(engine: Engine) -> None:
    """One more network, which takes the default route and the ports over."""
    request = EndpointRequest("web", addresses=(parse_address("ip", "10.61.0.77"),), gateway_priority=1)
    engine.connect("web", "box", request)


def disconnect(engine: Engine) -> None:
    """The network that has the default route goes."""
    engine.disconnect("back", "box")


def remove_sandbox(engine: Engine) -> None:
    """A sandbox on two networks goes."""
    engine.remove_sandbox("box")


def remove_network(engine: Engine) -> None:
    """A dual-stack network goes."""
    engine.remove_network("web")


def prune_networks(engine: Engine) -> None:
    """The networks that nobody is on go, in one slice."""
    for _ in engine.prune_networks(lambda network: False):
        pass


def a_shared_sandbox(engine: Engine) -> None:
    """As `a_full_sandbox`, and another in the same namespace."""
    a_full_sandbox(engine)
    join(engine)


def remove_shared_sandbox(engine: Engine) -> None:
    """A sandbox goes with the one that shares its namespace."""
    engine.remove_sandbox("box", force=True)


def allow(engine: Engine) -> None:
    """Two networks are opened to each other."""
    engine.allow("web", "back")


def disallow(engine: Engine) -> None:
    """Two networks are closed to each other again."""
    engine.disallow("web", "back")


SCENARIOS = (
    Scenario("first start", nothing, nothing),
    Scenario("create network", nothing, dual_network),
    Scenario("create internal network", two_networks, inside_network),
    Scenario("create sandbox", two_networks, create),
    Scenario("join", a_full_sandbox, join),
    Scenario("connect", box_on_one_network, connect),
    Scenario("disconnect", a_full_sandbox, disconnect, removes=True),
    Scenario("remove sandbox", a_full_sandbox, remove_sandbox, removes=True),
    Scenario("remove shared sandbox", a_shared_sandbox, remove_shared_sandbox, removes=True),
    Scenario("remove network", two_networks, remove_network, removes=True),
    Scenario("prune networks", box_on_one_network, prune_networks, removes=True),
    Scenario("open a segment", a_full_bridge, further_sandbox, endpoints_max=1),
    Scenario("close a segment", a_segment, remove_further_sandbox, removes=True, endpoints_max=1),
    Scenario("allow", a_full_sandbox, allow),
    Scenario("disallow", opened_networks, disallow),
)
