"""What the name service is told: who has which names on a network, and who may ask about which networks."""

from dataclasses import dataclass

from atoll.model.addresses import IPAddress


@dataclass(frozen=True, slots=True)
class Member:
    """An endpoint under its names, in lower case; the first one is the answer to a question for its address."""

    key: str
    network: str
    names: tuple[str, ...]
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class Asker:
    """A sandbox that asks.

    `networks` are (key, name in lower case) of those whose members it may know, in the order in which they are looked
    through. `forward` says whether its other questions may leave; they go to `servers`, or the host's resolvers when
    there are none. A container's name is also known below each of the domains `search`. With `dotted_only` a question
    for an unknown name without a dot has an empty answer and doesn't leave, so that the client goes on to its search
    domains.
    """

    key: str
    networks: tuple[tuple[str, str], ...] = ()
    forward: bool = True
    servers: tuple[IPAddress, ...] = ()
    search: tuple[str, ...] = ()
    dotted_only: bool = False


Entry = Member | Asker
