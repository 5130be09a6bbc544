"""What the engine asks of the host besides kernel state."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from atoll.model.addresses import Family
from atoll.model.facts import HostFacts
from atoll.model.hostview import HostView
from atoll.model.ports import PortBinding
from atoll.model.sandbox import NetnsEvidence


@dataclass(frozen=True, slots=True)
class Host:
    """Questions about the host, and the sources of time and ids; all are arguments, so that tests can fix them.

    `evidence(path, pid)` identifies a namespace (one of the two is given) and raises InvalidRequest
    when there is none; `alive` says whether that very namespace still exists; `ifnames` lists the
    interfaces inside; `nsid` is the number under which the host's namespace knows it, None when it has none.
    `foreign_defaults` gives default routes inside that aren't ours, in words; it raises InvalidRequest when the
    namespace is gone.
    `view` is a thorough look for a diagnosis, which any thread may take; it is given the published ports.
    `new_id` gives 64 hex digits, `now_ns` Unix time.
    """

    facts: Callable[[], HostFacts]
    evidence: Callable[[str, int | None], NetnsEvidence]
    alive: Callable[[NetnsEvidence], bool]
    ifnames: Callable[[NetnsEvidence], frozenset[str]]
    nsid: Callable[[NetnsEvidence], int | None]
    foreign_defaults: Callable[[NetnsEvidence], Mapping[Family, str]]
    view: Callable[[Sequence[PortBinding]], HostView]
    new_id: Callable[[], str]
    now_ns: Callable[[], int]
    netns_directory: str
