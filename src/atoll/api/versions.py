"""Versions of Docker's API: which are served, and which response fields each knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from atoll.errors import InvalidRequest

_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})\Z")


@dataclass(frozen=True, slots=True, order=True)
class ApiVersion:
    """A version of Docker's API, ordered by its numbers (1.9 is before 1.24)."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


OLDEST = ApiVersion(1, 24)
NEWEST = ApiVersion(1, 50)

ADDED: Mapping[str, ApiVersion] = MappingProxyType(
    {
        "DNSNames": ApiVersion(1, 44),
        "EnableIPv4": ApiVersion(1, 48),
        "FirewallBackend": ApiVersion(1, 49),
        "GwPriority": ApiVersion(1, 48),
    }
)
"""Response fields that are younger than OLDEST, with the version that added them. Source: moby's API changelog."""

REMOVED: Mapping[str, ApiVersion] = MappingProxyType(
    {
        "BridgeNfIptables": ApiVersion(1, 50),
        "BridgeNfIp6tables": ApiVersion(1, 50),
        "Container": ApiVersion(1, 45),
        "ContainerConfig": ApiVersion(1, 45),
        "VirtualSize": ApiVersion(1, 44),
    }
)
"""Response fields with the version from which on they are left out. Source: as ADDED."""


def parse_version(text: str) -> ApiVersion:
    """The version of a path prefix, without the `v`. Raises InvalidRequest, in Docker's words, unless it is served."""
    match = _VERSION.match(text)
    if match is None:
        raise InvalidRequest(f"invalid API version {text!r}: write it as v{NEWEST}")
    version = ApiVersion(int(match[1]), int(match[2]))
    if version > NEWEST:
        raise InvalidRequest(
            f"client version {version} is too new. Maximum supported API version is {NEWEST}",
            hint=f"DOCKER_API_VERSION={NEWEST}",
        )
    if version < OLDEST:
        raise InvalidRequest(
            f"client version {version} is too old. Minimum supported API version is {OLDEST}, "
            "please upgrade your client to a newer version"
        )
    return version


def fields_of(version: ApiVersion, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without the fields that `version` does not know yet, or any more."""
    return {
        name: value
        for name, value in body.items()
        if ADDED.get(name, OLDEST) <= version and not (name in REMOVED and version >= REMOVED[name])
    }
