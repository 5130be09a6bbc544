"""What a new container must not ask for. Pure."""

from collections.abc import Iterable

from atoll.api import container_body as body
from atoll.api.container_body import words
from atoll.errors import InvalidRequest, Unsupported
from atoll.model.addresses import parse_address
from atoll.model.names import shown
from atoll.runtime.bundle.capabilities import parse_capability

LOG_DRIVERS = ("", "json-file", "local")
"""Drivers whose logs can be read again: all of them mean ours."""
OOM_SCORE_MAX = 1000
"""Source: proc(5), oom_score_adj."""


def check_host(asked: body.Host) -> None:
    """Refuse what this version doesn't have, and values that can't be. Raises Unsupported, InvalidRequest."""
    _check_available(asked)
    for server in asked.dns:
        parse_address("DNS server", server)
    for what, texts in (
        ("DNS search domain", asked.dns_search),
        ("DNS option", asked.dns_options),
        ("extra host", asked.extra_hosts),
        ("cgroup parent", [asked.cgroup_parent] if asked.cgroup_parent else []),
    ):
        for text in texts:
            check_word(what, text)
    for text in asked.extra_hosts:
        if ":" not in text and "=" not in text:
            raise InvalidRequest(f"bad format for add-host: {shown(text)}", hint="write it as name:address")
    if ".." in asked.cgroup_parent.split("/"):
        raise InvalidRequest(f"invalid cgroup parent {shown(asked.cgroup_parent)}: it leads up")
    for name in (*words(asked.cap_add), *words(asked.cap_drop)):
        parse_capability(name)
    if asked.shm_size < 0:
        raise InvalidRequest("SHM size can not be less than 0")
    if asked.nano_cpus < 0:
        raise InvalidRequest(f"invalid number of CPUs: {asked.nano_cpus} billionths are less than none")
    if abs(asked.oom_score_adj) > OOM_SCORE_MAX:
        raise InvalidRequest(
            f"invalid value {asked.oom_score_adj}: range for oom score adj is [-{OOM_SCORE_MAX}, {OOM_SCORE_MAX}]"
        )


def _check_available(asked: body.Host) -> None:
    if asked.links:
        raise Unsupported(f"cannot link to {asked.links[0]}", hint="use a network: its containers know their names")
    if asked.device_requests:
        raise Unsupported("cannot give devices by what they can do (--gpus)", hint="name them: --device /dev/...")
    if asked.volume_driver not in ("", "local"):
        raise Unsupported(f"volume driver {shown(asked.volume_driver)} is not known", hint="leave it out")
    if asked.log_config.type not in LOG_DRIVERS:
        raise Unsupported(f"logging driver {shown(asked.log_config.type)} is not available", hint="leave it out")


def check_environment(env: Iterable[str]) -> None:
    """Raise InvalidRequest for an entry without a name."""
    for entry in env:
        if not entry.partition("=")[0]:
            raise InvalidRequest(f"invalid environment variable: {shown(entry)}", hint="write it as NAME=VALUE")


def check_word(what: str, text: str) -> None:
    """Raise InvalidRequest for a text that could not stand alone on a line of the files in /etc."""
    if not text or not text.isprintable() or " " in text:
        raise InvalidRequest(f"invalid {what} {shown(text)}: spaces and control characters can't be used")
