"""All or nothing over steps that are not: what was done is taken back when one fails."""

from collections.abc import Sequence

from atoll.errors import ApplyFailed, AtollError
from atoll.kernel.describe import step_words
from atoll.kernel.kernel import Kernel, Locate, StepFailed
from atoll.model.ops import Op, Step


def apply(kernel: Kernel, steps: Sequence[Step], locate: Locate) -> None:
    """Do all steps. When one fails, undo those before it in reverse, and raise ApplyFailed from its error.

    Effects that can't be taken back (forgotten connections, shared sysctls) stay. A step that can't be
    undone is named in the error, and the others are undone all the same.
    """
    try:
        kernel.execute(steps, locate)
    except StepFailed as stop:
        inverses = [step.inverse for step in reversed(steps[: stop.index]) if isinstance(step, Op)]
        backwards = [op for op in inverses if op is not None]
        stuck = _undo(kernel, backwards, locate)
        raise _failed(steps[stop.index], stop.error, undone=len(backwards) - len(stuck), stuck=stuck) from stop.error


def _undo(kernel: Kernel, ops: Sequence[Op], locate: Locate) -> tuple[str, ...]:
    """Do these, going on past failures; returns what could not be done."""
    stuck: list[str] = []
    rest = list(ops)
    while rest:
        try:
            kernel.execute(rest, locate)
        except StepFailed as stop:
            stuck.append(f"{step_words(rest[stop.index])}: {stop.error.message}")
            rest = rest[stop.index + 1 :]
        else:
            break
    return tuple(stuck)


def _failed(step: Step, error: AtollError, *, undone: int, stuck: tuple[str, ...]) -> ApplyFailed:
    return ApplyFailed(
        error.message,
        failed=step_words(step),
        undone=undone,
        stuck=stuck,
        hint=error.hint,
        detail=error.detail,
    )
