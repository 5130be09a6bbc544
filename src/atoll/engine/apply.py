"""Apply for removals and repairs: go on past what fails, and say what did."""

import errno
from collections.abc import Sequence

from atoll.errors import AtollError, KernelError
from atoll.kernel.kernel import Kernel, Locate, StepFailed
from atoll.model.items import Element
from atoll.model.ops import Op, Step


def apply_through(kernel: Kernel, steps: Sequence[Step], locate: Locate) -> tuple[tuple[Step, AtollError], ...]:
    """Do all steps that can be done; returns those that could not, with the reason.

    What is left is still a difference, so the reconciler finds it again. Where a set or its table is gone no element
    is tried after the first: there may be thousands.
    """
    failed: list[tuple[Step, AtollError]] = []
    rest = list(steps)
    while rest:
        try:
            kernel.execute(rest, locate)
        except StepFailed as stop:
            failed.append((rest[stop.index], stop.error))
            rest = rest[stop.index + 1 :]
            if is_element(failed[-1][0]) and isinstance(stop.error, KernelError) and stop.error.errno == errno.ENOENT:
                failed += [(step, stop.error) for step in rest if is_element(step)]
                rest = [step for step in rest if not is_element(step)]
        else:
            break
    return tuple(failed)


def is_element(step: Step) -> bool:
    """True of a change of our nftables tables."""
    return isinstance(step, Op) and isinstance(step.item, Element)
