"""Apply for removals and repairs: go on past what fails, and say what did."""

from collections.abc import Sequence

from atoll.errors import AtollError
from atoll.kernel.kernel import Kernel, Locate, StepFailed
from atoll.model.ops import Step


def apply_through(kernel: Kernel, steps: Sequence[Step], locate: Locate) -> tuple[tuple[Step, AtollError], ...]:
    """Do all steps that can be done; returns those that could not, with the reason.

    What is left is still a difference, so the reconciler finds it again.
    """
    failed: list[tuple[Step, AtollError]] = []
    rest = list(steps)
    while rest:
        try:
            kernel.execute(rest, locate)
        except StepFailed as stop:
            failed.append((rest[stop.index], stop.error))
            rest = rest[stop.index + 1 :]
        else:
            break
    return tuple(failed)
