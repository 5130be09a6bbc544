"""Findings: what is wrong, what it breaks, and what to type."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """ERROR: something doesn't work. WARNING: something doesn't, or will not, in certain cases. NOTE: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


class Kind(StrEnum):
    """What a finding is about; each has a section in docs/doctor.md."""

    FORWARDING = "forwarding"
    IPV6_DISABLED = "ipv6-disabled"
    FORWARD_DROP = "forward-drop"
    INPUT_DROP = "input-drop"
    INPUT_BYPASSED = "input-bypassed"
    PORT_TRANSLATED = "port-translated"
    UNREAD_RULES = "unread-rules"
    OVERLAP = "overlap"
    MTU = "mtu"
    NEIGHBOURS = "neighbours"
    CONNTRACK = "conntrack"
    FEATURE = "kernel-feature"
    BRIDGE_FILTER = "bridge-filter"
    MANAGER = "network-manager"
    REVERSE_PATH = "reverse-path"
    ADVERTISEMENTS = "router-advertisements"
    DEGRADED = "degraded"
    PORT_HELD = "port-held"
    OPEN_FILES = "open-files"
    OWNERSHIP = "table-ownership"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    `subject` is the interface, chain, network or value it is about, `found` says exactly what is there, `breaks` what
    doesn't work for that reason. `remedy` are lines for a shell, in order; empty when nothing can be typed.
    """

    severity: Severity
    kind: Kind
    subject: str
    found: str
    breaks: str
    remedy: tuple[str, ...] = ()


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by severity, then in the order they came."""
    return tuple(sorted(findings, key=lambda finding: finding.severity.rank))
