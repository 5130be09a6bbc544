"""The axes of the packet matrix, and every cell that makes sense."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum


class Origin(StrEnum):
    """Who asks. LOOPBACK asks 127.0.0.1 or ::1, STRAIGHT the container's address, all others a host address."""

    NEIGHBOUR = "LAN neighbour"
    OUTSIDE = "outside, routed"
    HOST = "host's address"
    OTHER = "other network"
    SAME = "same network"
    ITSELF = "itself"
    LOOPBACK = "host's loopback"
    STRAIGHT = "routes straight"


@dataclass(frozen=True, slots=True)
class Published:
    """A `-p` without protocol, the port to ask, and the container's port behind it. `sandbox` is whose it is.

    `{host}` in `option` is the host's own address of the family, `{loopback}` 127.0.0.1 or ::1.
    """

    label: str
    option: str
    host_port: int
    container_port: int
    sandbox: str = "web"
    at_second_address: bool = False


RANGE = "12000-12049:12000-12049"
LONG = "13000-13999:13000-13999"
V4_LONG = "16000-16199:26000-26199"
SHIFTED = "9000-9002:7000-7002"


class Form(Enum):
    """How a port is published, and which of its ports is asked."""

    ANY = Published("any address", "8080:80", 8080, 80)
    ADDRESS = Published("one address", "{host}:8081:81", 8081, 81)
    OTHER_ADDRESS = Published("one, asked at another", "{host}:8081:81", 8081, 81, at_second_address=True)
    LOOPBACK = Published("loopback only", "{loopback}:8082:82", 8082, 82)
    SHIFTED = Published("shifted", SHIFTED, 9001, 7001)
    RANGE_FIRST = Published("range, first", RANGE, 12000, 12000)
    RANGE_MIDDLE = Published("range, middle", RANGE, 12025, 12025)
    RANGE_LAST = Published("range, last", RANGE, 12049, 12049)
    RANGE_PAST = Published("range, one past", RANGE, 12050, 12050)
    LONG_FIRST = Published("1,000 ports, first", LONG, 13000, 13000)
    LONG_LAST = Published("1,000 ports, last", LONG, 13999, 13999)
    LONG_PAST = Published("1,000 ports, one past", LONG, 14000, 14000)
    UNPUBLISHED = Published("unpublished", "", 7777, 7777)
    V4_ONLY = Published("IPv4-only endpoint", "8090:90", 8090, 90, sandbox="old")
    V4_ONLY_FIRST = Published("IPv4-only, 200, first", V4_LONG, 16000, 26000, sandbox="old")
    V4_ONLY_LAST = Published("IPv4-only, 200, last", V4_LONG, 16199, 26199, sandbox="old")
    V4_ONLY_PAST = Published("IPv4-only, 200, past", V4_LONG, 16200, 26200, sandbox="old")
    ICC_OFF = Published("network without icc", "8095:95", 8095, 95, sandbox="quiet")


V4_ONLY_FORMS = (Form.V4_ONLY, Form.V4_ONLY_FIRST, Form.V4_ONLY_LAST, Form.V4_ONLY_PAST)
"""Those of the endpoint that has only IPv4."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One question of the matrix. `version` is the IP version asked over, `bridge_nf_call` the host's setting."""

    origin: Origin
    form: Form
    version: int
    protocol: str
    bridge_nf_call: int

    @property
    def id(self) -> str:
        """Name of the cell, unique in the matrix."""
        parts = (self.form.value.label, self.protocol, f"IPv{self.version}", self.origin.value)
        return f"{', '.join(parts)}, bridge-nf-call {self.bridge_nf_call}"


PROTOCOLS = ("tcp", "udp", "sctp")
VERSIONS = (4, 6)


def every_cell(bridge_nf_call: int) -> Iterator[Cell]:
    """All cells of one setting, in the table's order."""
    for form in Form:
        for protocol in PROTOCOLS:
            for version in VERSIONS:
                for origin in Origin:
                    cell = Cell(origin, form, version, protocol, bridge_nf_call)
                    if _makes_sense(cell):
                        yield cell


def _makes_sense(cell: Cell) -> bool:
    if cell.form in V4_ONLY_FORMS and cell.version == 6:
        # On a network without IPv6 nobody can send any, and the container has no address to go straight to.
        return cell.origin not in (Origin.SAME, Origin.ITSELF, Origin.STRAIGHT)
    return True
