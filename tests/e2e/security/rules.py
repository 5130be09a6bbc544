"""What each cell must come to, as a few rules that can be read."""

from enum import StrEnum

from tests.e2e.security.cells import AT_CONTAINER, AT_HOST, Cell, Origin, Target
from tests.e2e.security.nets import NETS, Mode, Net


class Outcome(StrEnum):
    """No answer; or an answer by a server that saw this client. Of an echo it's only known that it was answered."""

    CLOSED = "-"
    CLIENT = "client"
    GATEWAY = "gateway"
    HOST = "host"
    FIXED = "fixed"
    ANSWERED = "answered"


OUTSIDERS = (Origin.NEIGHBOUR, Origin.FAR)


def expected(cell: Cell) -> Outcome:
    """What the cell must come to."""
    net = NETS[cell.net]
    if cell.target is Target.OUTSIDE:
        return _seen_outside(cell, net)
    if cell.target in AT_HOST:
        return _at_host(cell, net)
    if not _open(cell, net):
        return Outcome.CLOSED
    return Outcome.ANSWERED if cell.protocol == "icmp" else Outcome.CLIENT


def _seen_outside(cell: Cell, net: Net) -> Outcome:
    if net.internal:
        return Outcome.CLOSED
    if cell.protocol == "icmp":
        return Outcome.ANSWERED
    if net.mode(cell.version) is Mode.ROUTED:
        return Outcome.CLIENT
    return {"host": Outcome.HOST, "fixed": Outcome.FIXED, "own": Outcome.CLIENT}[net.source]


def _at_host(cell: Cell, net: Net) -> Outcome:
    # Ports of the host exist where the gateway translates, and internal networks reach none of the host's addresses.
    if net.internal or net.mode(cell.version) is Mode.ROUTED or cell.origin is Origin.INTERNAL:
        return Outcome.CLOSED
    if cell.target is Target.HOST_LOOPBACK:
        if cell.origin is not Origin.HOST:
            return Outcome.CLOSED
        # ::1 is the relay's where bridged frames cross the inet hooks, and the relay has no SCTP.
        by_relay = cell.hostile and cell.version == 6
        return Outcome.CLOSED if by_relay and cell.protocol == "sctp" else Outcome.GATEWAY
    return Outcome.GATEWAY if cell.origin is Origin.OWN else Outcome.CLIENT


def _open(cell: Cell, net: Net) -> bool:
    mode = net.mode(cell.version)
    match cell.target:
        case Target.HOST_SERVICE:
            return cell.origin is not Origin.INTERNAL and not (cell.origin is Origin.OWN and net.internal)
        case Target.LINK_LOCAL:
            return mode is not Mode.ISOLATED
        case Target.GATEWAY | Target.PING_GATEWAY:
            inside = cell.origin in (Origin.HOST, Origin.OWN, Origin.OTHER)
            return inside and mode is not Mode.ISOLATED
    if cell.origin is Origin.OWN:
        return True
    if cell.origin is Origin.HOST:
        return mode is not Mode.ISOLATED
    if net.internal or cell.origin is Origin.INTERNAL:
        return False
    return _open_to_others(cell, net, mode)


def _open_to_others(cell: Cell, net: Net, mode: Mode) -> bool:
    """What hosts outside and containers of other networks reach at the container's own address: the same for both."""
    published = cell.target in (Target.OWN_ANY, Target.OWN_ONE)
    if mode is Mode.UNPROTECTED:
        return True
    if mode is Mode.ROUTED:
        return published or cell.target is Target.PING
    assert cell.target in AT_CONTAINER or cell.target is Target.PING
    return published and bool(net.trusts) and cell.origin is Origin.FAR
