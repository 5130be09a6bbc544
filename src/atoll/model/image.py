"""Images: what a container begins with.

Source: opencontainers/image-spec, config.md; `Healthcheck` and `Shell` are Docker's additions to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from atoll.errors import InvalidRequest


class HealthKind(StrEnum):
    """Docker's first word of a health check's test; INHERIT (an empty test) takes the image's, NONE switches it off."""

    INHERIT = ""
    NONE = "NONE"
    CMD = "CMD"
    CMD_SHELL = "CMD-SHELL"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How to see whether a container serves; 0 means Docker's default (30 s, 30 s, 0 s, 5 s, 3 retries)."""

    kind: HealthKind = HealthKind.INHERIT
    command: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says about the containers made of it. `env` holds NAME=VALUE, `exposed_ports` 80/tcp."""

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    workdir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    health: HealthCheck | None = None
    shell: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the store.

    `id` is the sha256 of `raw`, the config as it came, in 64 digits. `tags` are references as people write them,
    `digests` are of repositories: `busybox@sha256:...`. `layers` are diff ids in 64 digits, lowest first.
    `size_bytes` is what its layers take, also those that others share. `created_ns` is Unix time, 0 when not told.
    """

    id: str
    raw: bytes
    layers: tuple[str, ...]
    config: ImageConfig
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size_bytes: int = 0
    created_ns: int = 0
    architecture: str = ""
    os: str = ""
    author: str = ""
    comment: str = ""


def parse_image_config(document: Mapping[str, Any]) -> ImageConfig:
    """The `config` member of an image's config. What has a wrong type raises InvalidRequest naming it."""
    return ImageConfig(
        user=_text(document, "User"),
        env=_texts(document, "Env"),
        entrypoint=_texts(document, "Entrypoint"),
        cmd=_texts(document, "Cmd"),
        workdir=_text(document, "WorkingDir"),
        exposed_ports=tuple(_map(document, "ExposedPorts")),
        volumes=tuple(_map(document, "Volumes")),
        labels={str(key): str(value) for key, value in _map(document, "Labels").items()},
        stop_signal=_text(document, "StopSignal"),
        health=parse_health(_map(document, "Healthcheck")) if document.get("Healthcheck") else None,
        shell=_texts(document, "Shell"),
    )


def parse_health(document: Mapping[str, Any]) -> HealthCheck:
    """A health check in Docker's form, `{"Test": ["CMD", ...], "Interval": NANOSECONDS}`. Raises InvalidRequest."""
    test = _texts(document, "Test")
    try:
        kind = HealthKind(test[0] if test else "")
    except ValueError:
        raise InvalidRequest(f"invalid health check {test[0]!r}: it begins with NONE, CMD or CMD-SHELL") from None
    if kind in (HealthKind.CMD, HealthKind.CMD_SHELL) and len(test) < 2:
        raise InvalidRequest(f"invalid health check: nothing follows {kind}")
    check = HealthCheck(
        kind=kind,
        command=test[1:],
        interval_ns=_number(document, "Interval"),
        timeout_ns=_number(document, "Timeout"),
        start_period_ns=_number(document, "StartPeriod"),
        start_interval_ns=_number(document, "StartInterval"),
        retries=_number(document, "Retries"),
    )
    for name in ("interval_ns", "timeout_ns", "start_period_ns", "start_interval_ns"):
        # Docker's rule: shorter than a millisecond is a mistaken unit.
        if 0 < getattr(check, name) < 1_000_000:
            raise InvalidRequest(f"invalid health check: {name.removesuffix('_ns')} is shorter than 1 ms")
    return check


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name) or ""
    if not isinstance(value, str):
        raise InvalidRequest(f"invalid {name} {value!r}: not a string")
    return value


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = document.get(name) or ()
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise InvalidRequest(f"invalid {name} {value!r}: not a list of strings")
    return tuple(value)


def _map(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name) or {}
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"invalid {name} {value!r}: not an object")
    return value


def _number(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name) or 0
    if type(value) is not int or value < 0:
        raise InvalidRequest(f"invalid {name} {value!r}: not a number of at least 0")
    return value
