"""What happened, for those who watch."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one object.

    `type` is `network`, `sandbox` or `daemon`; `action` is Docker's word where Docker has one
    (create, connect, disconnect, destroy, prune), else repair, degraded, recovered, released,
    allow, disallow. `time_ns` is Unix time.
    """

    type: str
    action: str
    id: str
    time_ns: int
    attributes: Mapping[str, str] = field(default_factory=dict)
