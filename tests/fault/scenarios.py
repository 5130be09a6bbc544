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
    """`prepare` runs unharmed; `act` is killed. `removes`: on an error it goes on instead of going back."""

    name: str
    prepare: Callable[[Engine], None]
    act: Callable[[Engine], None]
    removes: bool = False


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


def _allow(engine: Engine) -> None:
    engine.allow("web", "back")


SCENARIOS = (
    Scenario("first start", lambda engine: None, lambda engine: None),
    Scenario("create network", lambda engine: None, two_networks),
    Scenario(
        "create internal network",
        two_networks,
        lambda engine: make_network(engine, "inside", "10.63.0.0/24", "fd63::/64", internal=True),
    ),
    Scenario("create sandbox", two_networks, lambda engine: make_sandbox(engine, "box", "web", "back", ports=PORTS)),
    Scenario("join", a_full_sandbox, lambda engine: _join(engine)),
    Scenario(
        "connect",
        lambda engine: (two_networks(engine), make_sandbox(engine, "box", "back", ports=PORTS))[0],
        lambda engine: _connect(engine),
    ),
    Scenario("disconnect", a_full_sandbox, lambda engine: _disconnect(engine), removes=True),
    Scenario("remove sandbox", a_full_sandbox, lambda engine: _remove(engine), removes=True),
    Scenario(
        "remove network", two_networks, lambda engine: (engine.remove_network("web"), None)[1], removes=True
    ),
    Scenario("allow", a_full_sandbox, _allow),
    Scenario(
        "disallow",
        lambda engine: (a_full_sandbox(engine), _allow(engine))[0],
        lambda engine: (engine.disallow("web", "back"), None)[1],
    ),
)


def _join(engine: Engine) -> None:
    engine.create_sandbox(SandboxRequest("mate", join="box"))


def _connect(engine: Engine) -> None:
    request = EndpointRequest("web", addresses=(parse_address("ip", "10.61.0.77"),), gateway_priority=1)
    engine.connect("web", "box", request)


def _disconnect(engine: Engine) -> None:
    engine.disconnect("back", "box")


def _remove(engine: Engine) -> None:
    engine.remove_sandbox("box")
