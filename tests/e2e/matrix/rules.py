"""What each cell must come to, as a few rules that can be read.

A question arrives at one of three places: an address of the host's (the LAN's side), its loopback, or the container
itself. A published form answers at some places, always with the same idea of who the client is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.e2e.matrix.cells import V4_ONLY_FORMS, Cell, Form, Origin


class Outcome(StrEnum):
    """No answer; or an answer by a server that saw the client itself, or its network's gateway."""

    CLOSED = "-"
    CLIENT = "client"
    GATEWAY = "gateway"


LAN, LOOPBACK = "lan", "loopback"

ANSWERS_AT = {
    Form.ANY: {LAN, LOOPBACK},
    Form.ADDRESS: {LAN},
    Form.OTHER_ADDRESS: set[str](),
    Form.LOOPBACK: {LOOPBACK},
    Form.SHIFTED: {LAN, LOOPBACK},
    Form.RANGE_FIRST: {LAN, LOOPBACK},
    Form.RANGE_MIDDLE: {LAN, LOOPBACK},
    Form.RANGE_LAST: {LAN, LOOPBACK},
    Form.RANGE_PAST: set[str](),
    Form.LONG_FIRST: {LAN, LOOPBACK},
    Form.LONG_LAST: {LAN, LOOPBACK},
    Form.LONG_PAST: set[str](),
    Form.UNPUBLISHED: set[str](),
    Form.V4_ONLY: {LAN, LOOPBACK},
    Form.V4_ONLY_FIRST: {LAN, LOOPBACK},
    Form.V4_ONLY_LAST: {LAN, LOOPBACK},
    Form.V4_ONLY_PAST: set[str](),
    Form.ICC_OFF: {LAN, LOOPBACK},
}
"""Where a form answers. Never at the container's own address for those who aren't on its network."""

SEEN = {
    Origin.NEIGHBOUR: Outcome.CLIENT,
    Origin.OUTSIDE: Outcome.CLIENT,
    Origin.HOST: Outcome.CLIENT,
    Origin.OTHER: Outcome.CLIENT,
    Origin.SAME: Outcome.GATEWAY,  # the answer has to come back through the host
    Origin.ITSELF: Outcome.GATEWAY,  # the same
    Origin.LOOPBACK: Outcome.GATEWAY,  # a loopback address means somebody else inside
}


@dataclass(frozen=True, slots=True)
class Deviation:
    """Cells that come out otherwise, and why."""

    applies: Callable[[Cell], bool]
    outcome: Outcome
    why: str


def _relayed(cell: Cell) -> bool:
    v6_to_v4 = cell.form in V4_ONLY_FORMS and cell.version == 6
    return v6_to_v4 or (cell.version == 6 and cell.origin is Origin.LOOPBACK and cell.bridge_nf_call == 1)


DEVIATIONS = (
    Deviation(
        lambda cell: _relayed(cell) and cell.protocol == "sctp",
        Outcome.CLOSED,
        "only the relay could carry it, and it doesn't carry SCTP",
    ),
    Deviation(_relayed, Outcome.GATEWAY, "carried by the relay, whose own address is the gateway's"),
    Deviation(
        lambda cell: (
            cell.form is Form.ICC_OFF and cell.origin in (Origin.SAME, Origin.ITSELF) and cell.bridge_nf_call == 1
        ),
        Outcome.CLOSED,
        "with bridge-nf-call the frame is translated inside the bridge, where the port is isolated",
    ),
)


def expected(cell: Cell) -> Outcome:
    """What the cell must come to."""
    if cell.origin is Origin.STRAIGHT:
        return Outcome.CLOSED
    place = LOOPBACK if cell.origin is Origin.LOOPBACK else LAN
    if place not in ANSWERS_AT[cell.form]:
        return Outcome.CLOSED
    return next((d.outcome for d in DEVIATIONS if d.applies(cell)), SEEN[cell.origin])
