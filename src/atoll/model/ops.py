"""Operations: what to change in the kernel, as data that can describe and invert itself."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from atoll.model.addresses import IPAddress, IPNetwork
from atoll.model.items import Item, Sysctl
from atoll.model.ports import PortRange, Protocol


class Verb(StrEnum):
    """What happens to an item."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


class Op(NamedTuple):
    """One change of one item.

    ADD has no `before`, REMOVE's `item` is what goes away, CHANGE leads from `before` to `item`.
    Adding what is there with the same content, and removing what is gone, succeed: another may
    have been quicker. `reason` is for people: which object wants it.
    """

    verb: Verb
    item: Item
    before: Item | None = None
    reason: str = ""

    @property
    def inverse(self) -> "Op | None":
        """The op that takes this one back; None where nothing is to be taken back (shared sysctls)."""
        if isinstance(self.item, Sysctl):
            return None
        match self.verb:
            case Verb.ADD:
                return Op(Verb.REMOVE, self.item, reason=f"undo: {self.reason}")
            case Verb.REMOVE:
                return Op(Verb.ADD, self.item, reason=f"undo: {self.reason}")
            case Verb.CHANGE:
                assert self.before is not None
                return Op(Verb.CHANGE, self.before, before=self.item, reason=f"undo: {self.reason}")


@dataclass(frozen=True, slots=True)
class FlushConntrack:
    """Forget tracked connections: an effect of a transition, not state.

    With `ports`: those whose original destination is one of these host ports (and `address`, when
    given). Without: those whose original direction goes from `source` to `address`; either may be
    None for "any" but not both, and either may be a prefix.
    """

    protocol: Protocol | None = None
    address: IPAddress | IPNetwork | None = None
    ports: PortRange | None = None
    source: IPAddress | IPNetwork | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the neighbours of `ifname` in `netns` of an address: unsolicited ARP, or NA."""

    netns: str
    ifname: str
    address: IPAddress
    mac: str
    reason: str = ""


Step = Op | FlushConntrack | Announce
"""Everything that can stand in a change, in the order in which it is applied."""
