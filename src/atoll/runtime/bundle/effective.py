"""What a container is in the end: its own settings over those of its image. Law: pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from atoll.errors import InvalidRequest
from atoll.model.container import ContainerConfig
from atoll.model.image import HealthCheck, HealthKind, ImageConfig

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_STOP_SIGNAL = "SIGTERM"


@dataclass(frozen=True, slots=True)
class Effective:
    """`argv` is what is run; `cmd` its part that isn't the entrypoint. `env` has no name twice."""

    argv: tuple[str, ...]
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: tuple[str, ...]
    user: str
    workdir: str
    volumes: tuple[str, ...]
    stop_signal: str
    health: HealthCheck | None


def effective(image: ImageConfig, config: ContainerConfig) -> Effective:
    """Merge as Docker does: an own entrypoint takes the image's command away. Raises InvalidRequest: nothing to run."""
    entrypoint = image.entrypoint if config.entrypoint is None else config.entrypoint
    cmd = config.cmd or (image.cmd if config.entrypoint is None else ())
    if not entrypoint and not cmd:
        raise InvalidRequest("no command specified", hint=f"atoll run {config.image} COMMAND")
    return Effective(
        argv=(*entrypoint, *cmd),
        entrypoint=entrypoint,
        cmd=cmd,
        env=_environment(image.env, config),
        user=config.user or image.user,
        workdir=config.workdir or image.workdir or "/",
        volumes=tuple(dict.fromkeys((*image.volumes, *config.volumes))),
        stop_signal=config.stop_signal or image.stop_signal or DEFAULT_STOP_SIGNAL,
        health=_health(image.health, config.health),
    )


def merged_env(below: Iterable[str], above: Iterable[str]) -> tuple[str, ...]:
    """NAME=VALUE of both; a name alone takes the one below away."""
    found = {entry.partition("=")[0]: entry for entry in below}
    for entry in above:
        name, equals, _ = entry.partition("=")
        if equals:
            found[name] = entry
        else:
            found.pop(name, None)
    return tuple(found.values())


def _environment(image: tuple[str, ...], config: ContainerConfig) -> tuple[str, ...]:
    given = [DEFAULT_PATH]
    if config.hostname:
        given.append(f"HOSTNAME={config.hostname}")
    if config.tty:
        given.append("TERM=xterm")
    return merged_env(merged_env(given, image), config.env)


def _health(image: HealthCheck | None, own: HealthCheck | None) -> HealthCheck | None:
    if own is None:
        check = image
    elif own.kind is HealthKind.INHERIT and image is not None:
        check = HealthCheck(
            kind=image.kind,
            command=image.command,
            interval_ns=own.interval_ns or image.interval_ns,
            timeout_ns=own.timeout_ns or image.timeout_ns,
            start_period_ns=own.start_period_ns or image.start_period_ns,
            start_interval_ns=own.start_interval_ns or image.start_interval_ns,
            retries=own.retries or image.retries,
        )
    else:
        check = own
    return check if check is not None and check.kind in (HealthKind.CMD, HealthKind.CMD_SHELL) else None
