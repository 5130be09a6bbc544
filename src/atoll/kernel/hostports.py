"""Host ports, held: what the engine needs of the kernel to make a port ours."""

from collections.abc import Sequence
from typing import Protocol

from atoll.model.ports import PortBinding, PortRange


class HostPorts(Protocol):
    """Holds host ports for sandboxes. Used by one thread.

    Up to 64 ports of a binding are held by bound sockets of TCP or UDP, so that nobody else can
    have them; larger ranges, SCTP, and calls for more than 256 ports are checked against one dump of listeners.
    """

    def hold(self, owner: str, bindings: Sequence[PortBinding]) -> None:
        """Hold all of `bindings` for `owner` (a sandbox id), or none.

        A binding that is held for this owner already stays. Raises PortTaken naming the address,
        the port and the process that has it, where /proc tells.
        """
        ...

    def release(self, owner: str, bindings: Sequence[PortBinding] | None = None) -> None:
        """Let go of an owner's bindings, all of them by default. What is not held is no error."""
        ...

    def ephemeral(self) -> PortRange:
        """The host's range for automatic ports: net/ipv4/ip_local_port_range."""
        ...
