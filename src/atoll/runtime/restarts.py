"""Whether a container that ended starts again, and when. Law: pure. Source: Docker's restart manager."""

from atoll.model.container import Container, RestartKind

FIRST_DELAY_S = 0.1
DELAY_MAX_S = 60.0
SETTLED_AFTER_S = 10.0
"""Who ran this long begins anew with the first delay."""


def restarts(container: Container, exit_code: int) -> bool:
    """Whether the policy wants it again after this end."""
    policy = container.host.restart
    if container.stop_requested:
        return False
    match policy.kind:
        case RestartKind.NO:
            return False
        case RestartKind.ON_FAILURE:
            return exit_code != 0 and (not policy.retries_max or container.restart_count < policy.retries_max)
        case RestartKind.ALWAYS | RestartKind.UNLESS_STOPPED:
            return True


def starts_at_boot(container: Container) -> bool:
    """Whether the policy wants a container that does not run after the host has booted."""
    match container.host.restart.kind:
        case RestartKind.ALWAYS:
            return container.started_ns > 0
        case RestartKind.UNLESS_STOPPED:
            return container.started_ns > 0 and not container.stop_requested
        case _:
            return False


def next_delay_s(before_s: float, ran_s: float) -> float:
    """How long to wait now, when it was `before_s` (0 at first) the last time and the container ran `ran_s`."""
    if not before_s or ran_s >= SETTLED_AFTER_S:
        return FIRST_DELAY_S
    return min(2 * before_s, DELAY_MAX_S)
