"""All checks over one snapshot."""

from collections.abc import Callable, Iterator

from atoll.doctor import (
    bridgefilter,
    forwarding,
    gateway,
    interfaces,
    limits,
    mtu,
    objects,
    overlap,
    passage,
    system,
    translation,
)
from atoll.doctor.finding import Finding, worst_first
from atoll.doctor.snapshot import Snapshot

Check = Callable[[Snapshot], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    forwarding.check,
    passage.check,
    gateway.check,
    translation.check,
    overlap.check,
    mtu.check,
    limits.check,
    system.check,
    interfaces.check,
    bridgefilter.check,
    objects.check,
)


def diagnose(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Everything that any check finds, the worst first."""
    return worst_first(finding for check in CHECKS for finding in check(snapshot))
