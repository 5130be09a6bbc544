"""Every limit of the name service, in one value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the name service takes on; the defaults are what the daemon uses.

    `flights_max` questions wait for other resolvers, of them `asker_flights_max` of one sandbox (Docker's 1,024); what
    comes beyond fails at once. At most `servers_max` resolvers are asked (MAXNS, resolv.h), each for an equal share of
    `answer_s`: all is over before a client's own 5 seconds are.

    `connections_max` TCP connections, of them `asker_connections_max` of one sandbox; others wait in the listen queue.
    One ends after `connection_idle_s` without progress. `pipelined_max` of its questions are in work at a time.
    `accept_retry_s`: pause after accept failed for want of descriptors or memory.

    `memo_max` answers are kept ready as bytes, for all sandboxes together.
    `controllers_max` clients of the control socket; `idle_exit_s` with nobody to serve and without one end it.
    """

    flights_max: int = 4096
    asker_flights_max: int = 1024
    answer_s: float = 4.4
    servers_max: int = 3
    connections_max: int = 2048
    asker_connections_max: int = 64
    connection_idle_s: float = 10.0
    pipelined_max: int = 32
    accept_retry_s: float = 0.5
    memo_max: int = 8192
    controllers_max: int = 8
    idle_exit_s: float = 60.0
