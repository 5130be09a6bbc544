"""Claims for sandboxes: whose namespace, on which networks, with which host ports. Pure but for the evidence."""

from contextlib import suppress
from dataclasses import replace
from pathlib import PurePosixPath

from atoll.engine.endpoint_claims import claim_endpoint
from atoll.engine.host import Host
from atoll.errors import Conflict, Forbidden, InvalidRequest, NameTaken
from atoll.model.facts import HostFacts
from atoll.model.names import parse_name
from atoll.model.network import DEFAULT_BRIDGE_NETWORK, Driver
from atoll.model.sandbox import Endpoint, EndpointRequest, NetnsEvidence, Sandbox, SandboxKind, SandboxRequest
from atoll.model.world import Change, World
from atoll.plan.driver import Naming, netns_name


def claim_sandbox(world: World, request: SandboxRequest, host: Host, facts: HostFacts) -> Sandbox:
    """A sandbox without endpoints and ports. Raises NameTaken, InvalidRequest, NotFound, Conflict, Forbidden."""
    parse_name("sandbox", request.name)
    if world.sandbox_named(request.name) is not None:
        raise NameTaken(
            f"sandbox name {request.name} is in use", hint=f"atoll sandbox rm {request.name}", subject=request.name
        )
    kind = _kind(request)
    sandbox_id = request.id or host.new_id()
    sandbox = Sandbox(
        sandbox_id,
        request.name,
        kind,
        host.now_ns(),
        mappings=request.mappings,
        labels=request.labels,
        resolves=request.resolves,
    )
    match kind:
        case SandboxKind.MADE:
            path = PurePosixPath(host.netns_directory) / netns_name(sandbox_id)
            return replace(sandbox, netns=NetnsEvidence(str(path), boot_id="", cookie=0))
        case SandboxKind.ATTACHED:
            evidence = host.evidence(request.netns_path, request.pid)
            _check_not_host(request.name, evidence, facts)
            _check_alone(world, evidence)
            return replace(sandbox, netns=evidence)
        case SandboxKind.JOINED:
            return replace(sandbox, owner_id=world.root_of(world.sandbox(request.join)).id)
        case SandboxKind.HOST:
            return sandbox


def claim_endpoints(
    world: World, sandbox: Sandbox, requests: tuple[EndpointRequest, ...], host: Host, naming: Naming
) -> tuple[Endpoint, ...]:
    """Endpoints on several networks at once, each seeing the claims of those before it. Raises as `claim_endpoint`."""
    used = _ifnames_inside(world, sandbox, host)
    claimed: list[Endpoint] = []
    # What a new sandbox is looked up for follows from itself: the usual one needs no world in between.
    there = world if len(requests) < 2 else world.after(Change(puts=(sandbox,)))
    for request in requests:
        network = there.network(request.network)
        names = used | {endpoint.ifname for endpoint in there.endpoints_of(sandbox.id)}
        endpoint = claim_endpoint(
            there, network, sandbox, request, host=host, naming=naming, used_ifnames=frozenset(names)
        )
        claimed.append(endpoint)
        if len(claimed) < len(requests):
            there = there.after(Change(puts=(endpoint,)))
    return tuple(claimed)


def _ifnames_inside(world: World, sandbox: Sandbox, host: Host) -> frozenset[str]:
    """Interfaces in the namespace, whoever made them. Raises InvalidRequest when another's namespace is gone."""
    if sandbox.netns is None:
        return frozenset()
    if sandbox.kind is SandboxKind.ATTACHED:
        return host.ifnames(sandbox.netns)
    if sandbox.id not in world.sandboxes:
        return frozenset()
    # One of ours that was taken away is made anew.
    with suppress(InvalidRequest):
        return host.ifnames(sandbox.netns)
    return frozenset()


def wanted_endpoints(world: World, request: SandboxRequest) -> tuple[EndpointRequest, ...]:
    """The networks to connect: those asked, else the network of the mode, else the default bridge."""
    if request.join:
        return ()
    if request.host:
        host = next(network for network in world.networks.values() if network.driver is Driver.HOST)
        return (EndpointRequest(host.name),)
    return request.endpoints or (EndpointRequest(DEFAULT_BRIDGE_NETWORK),)


def _kind(request: SandboxRequest) -> SandboxKind:
    named = {
        "--netns": bool(request.netns_path),
        "--pid": request.pid is not None,
        "--network container:...": bool(request.join),
        "--network host": request.host,
    }
    asked = [word for word, given in named.items() if given]
    if len(asked) > 1:
        raise InvalidRequest(f"cannot use {asked[0]} together with {asked[1]}: a sandbox has one namespace")
    if (request.join or request.host) and request.endpoints:
        raise InvalidRequest(
            f"cannot connect {request.name} to {request.endpoints[0].network}: it shares the namespace of "
            f"{request.join or 'the host'}"
        )
    if (request.join or request.host) and request.mappings:
        raise InvalidRequest(
            "conflicting options: port publishing and the "
            + (f"namespace of {request.join}: publish on that sandbox" if request.join else "host's own namespace")
        )
    if request.resolves and (request.join or request.host):
        owner = request.join or "the host"
        raise InvalidRequest(f"cannot use --resolve for {request.name}: it shares the namespace of {owner}")
    if request.join:
        return SandboxKind.JOINED
    if request.host:
        return SandboxKind.HOST
    if asked and request.resolves:
        raise InvalidRequest(
            f"cannot answer names inside of {request.name}: the sockets would keep another's namespace",
            hint="leave out --resolve",
        )
    return SandboxKind.ATTACHED if asked else SandboxKind.MADE


def _check_not_host(name: str, evidence: NetnsEvidence, facts: HostFacts) -> None:
    # An endpoint would give the host itself an address and a default route of the network.
    if evidence.cookie == facts.netns_cookie:
        raise Forbidden(
            f"{evidence.path} is the namespace of the host itself",
            hint=f"atoll sandbox create {name} --network host",
            subject=name,
        )


def _check_alone(world: World, evidence: NetnsEvidence) -> None:
    other = world.sandbox_in(evidence)
    # Where another namespace stood at this path, its sandbox is about to be released.
    if other is not None and not _replaced(other.netns, evidence):
        raise Conflict(
            f"the namespace {evidence.path} is sandbox {other.name} already",
            hint=f"atoll network connect NETWORK {other.name}",
            subject=other.name,
        )


def _replaced(known: NetnsEvidence | None, found: NetnsEvidence) -> bool:
    """True when another namespace was at this path. Of those that we made the path is all we know."""
    return known is not None and known.cookie not in (0, found.cookie)
