"""Host ports of a sandbox: chosen purely, then held for real; another choice where a port turns out to be busy."""

from collections.abc import Iterator

from atoll.errors import Exhausted, PortTaken
from atoll.ipam.hostports import bind
from atoll.kernel.hostports import HostPorts
from atoll.model.addresses import IPAddress
from atoll.model.ports import PORT_MAX, PortBinding, PortMapping, PortRange, Protocol
from atoll.model.world import World

TRIES_MAX = 64
"""How often another automatic port is tried before giving up."""


def held_bindings(world: World) -> Iterator[tuple[str, PortBinding]]:
    """Every binding with the name of the sandbox that holds it."""
    for sandbox in world.sandboxes.values():
        for binding in sandbox.bindings:
            yield sandbox.name, binding


def hold_mappings(
    world: World,
    ports: HostPorts,
    owner: str,
    mappings: tuple[PortMapping, ...],
    default_address: IPAddress | None,
    start: int,
) -> tuple[PortBinding, ...]:
    """Bindings for `mappings`, held for sandbox `owner`; on an error nothing is held.

    `start` varies where the search for automatic ports begins. Raises PortTaken naming the holder,
    InvalidRequest (an address the host lacks), Exhausted.
    """
    if not mappings:
        return ()
    # Read from /proc, which takes as long as binding a dozen ports.
    ephemeral = ports.ephemeral() if any(mapping.host is None for mapping in mappings) else PortRange(1, PORT_MAX)
    busy: frozenset[tuple[Protocol, PortRange]] = frozenset()
    for _ in range(TRIES_MAX):
        bindings = bind(
            mappings,
            held=world.held_ports,
            holders=lambda: held_bindings(world),
            ephemeral=ephemeral,
            default_address=default_address,
            start=start,
            busy=busy,
        )
        taken = _hold(ports, owner, bindings)
        if taken is None:
            return bindings
        binding, error = taken
        if not _was_chosen(mappings, binding):
            raise error
        busy |= {(binding.protocol, binding.host)}
    raise Exhausted(f"cannot publish: {TRIES_MAX} automatic host ports in a row were busy", hint="name a host port")


def _hold(ports: HostPorts, owner: str, bindings: tuple[PortBinding, ...]) -> tuple[PortBinding, PortTaken] | None:
    try:
        ports.hold(owner, bindings)
    except PortTaken:
        # Once more, one by one, to learn which it was.
        for binding in bindings:
            try:
                ports.hold(owner, (binding,))
            except PortTaken as error:
                ports.release(owner, bindings)
                return binding, error
    return None


def _was_chosen(mappings: tuple[PortMapping, ...], binding: PortBinding) -> bool:
    """True when no mapping asked for exactly this host port."""
    return not any(
        mapping.protocol is binding.protocol and mapping.host == binding.host and mapping.container == binding.container
        for mapping in mappings
    )
