"""Every limit of the relay, in one value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the relay takes on; the defaults are what the daemon uses.

    `connections_max` and `listener_connections_max` (of one port): at either, clients wait in the listen queue, which
    holds `backlog`. `connect_timeout_s`: then the client gets a reset. `buffer_bytes` is what is held for one
    direction of a connection whose receiver is slow, so memory stays below 2 x connections_max x buffer_bytes.

    `flows_max` UDP flows of all ports, one socket each; a new one takes the place of the one idle longest. A flow ends
    after `flow_idle_s` without a datagram (90: docker-proxy's UDPConnTrackTimeout). `receive_bytes` is the receive
    buffer of a port (SO_RCVBUF; Linux's net.core.rmem_default); what comes faster than it is carried is dropped.

    `controllers_max` clients of the control socket; `idle_exit_s` without a listener and a controller end the process.
    `accept_retry_s`: pause after accept failed for want of descriptors or memory.
    """

    connections_max: int = 2000
    listener_connections_max: int = 1000
    backlog: int = 512
    connect_timeout_s: float = 10.0
    buffer_bytes: int = 65536
    flows_max: int = 2000
    flow_idle_s: float = 90.0
    receive_bytes: int = 212992
    controllers_max: int = 8
    idle_exit_s: float = 60.0
    accept_retry_s: float = 0.5
