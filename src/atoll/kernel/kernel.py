"""What a kernel can do for us: the interface that the real one and the fake one share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from atoll.errors import AtollError
from atoll.model.items import Element, Item, Key, State
from atoll.model.ops import Step
from atoll.model.sandbox import NetnsEvidence

Locate = Callable[[str], NetnsEvidence]
"""Where a sandbox's namespace is, by sandbox id. Raises NotFound."""


@dataclass(frozen=True, slots=True)
class Count:
    """Packets and bytes that a rule or an element has matched.

    The rules see a connection's first packet only, except where they drop.
    """

    packets: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class RuleCount:
    """The count of a rule, which is told as its text in the file of its table, `kernel/nft/*.nft`."""

    table: str
    chain: str
    rule: str
    count: Count


class StepFailed(Exception):
    """A step of a sequence was refused; those before it are done, it and those after it are not.

    `index` is its place in the sequence given to `execute`.
    """

    def __init__(self, index: int, error: AtollError) -> None:
        super().__init__(f"step {index}: {error}")
        self.index = index
        self.error = error


class Kernel(Protocol):
    """One host's kernel as the engine sees it. Used by one thread."""

    def prepare(self, elements: Iterable[Element] | None = None) -> bool:
        """Make sure that our nftables tables are there with their rules; True when one had to be built.

        A table that is right is not touched. One that is built gets these `elements` in the same transaction, and
        otherwise those that are there. Raises KernelError, Unsupported.
        """
        ...

    def reap(self) -> int:
        """Finish some of what removals left for later: all detached veths, or else one bridge; returns how many.

        Waits for the kernel, some 20 ms. Nothing is left when it returns 0.
        """
        ...

    def purge(self) -> None:
        """Remove the tables themselves. Everything else of ours goes by ops."""
        ...

    def owned(self) -> bool:
        """True when no other process can change our tables."""
        ...

    def counters(self) -> tuple[RuleCount, ...]:
        """The count of every rule that counts. Effects: none."""
        ...

    def counts(self) -> Mapping[Key, Count]:
        """The count of every element that is there of a counted set, since it was put in. Effects: none."""
        ...

    def observe(self, items: Iterable[Item], locate: Locate) -> State:
        """What is there of the keys of `items`, in this kernel's words.

        Fields that an asked item leaves unset (mtu_bytes 0) are returned unset too, so that an equal
        item means "nothing to do". What belongs to somebody else under one of our keys (a link
        without our alias) is returned as it is: it differs. Effects: none.
        """
        ...

    def survey(self, sandboxes: Iterable[str], locate: Locate) -> State:
        """Everything of ours on the host, and inside the namespaces of `sandboxes`.

        A namespace that is gone contributes nothing. Made for finding what is left over: fields that an item
        may leave unset are filled in, the `netns` of a veth that leads to none of `sandboxes` is "", and
        namespaces and sysctls, which bear no mark, are left out. `observe` is what to compare with. Effects: none.
        """
        ...

    def execute(self, steps: Sequence[Step], locate: Locate) -> None:
        """Do the steps in order, in as few messages as order allows; elements next to each other are
        one nft transaction. FlushConntrack and Announce follow a little later, and never fail.
        Raises StepFailed.
        """
        ...
