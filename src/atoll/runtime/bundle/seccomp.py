"""Seccomp profiles: from the form with conditions that Docker and Podman share to the OCI's. Law: pure.

Source: opencontainers/runtime-spec, config-linux.md; containers/common, pkg/seccomp.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from atoll.errors import InvalidRequest

_ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "armv7l": "SCMP_ARCH_ARM",
    "i686": "SCMP_ARCH_X86",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "s390x": "SCMP_ARCH_S390X",
    "riscv64": "SCMP_ARCH_RISCV64",
}
_GO_NAMES: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "x86"}
"""Architectures as the conditions name them, where they differ."""


def seccomp(profile: str, *, machine: str, capabilities: Collection[str]) -> dict[str, Any]:
    """A profile as it applies to a machine (`uname -m`) and to these capabilities. Raises InvalidRequest."""
    try:
        document = json.loads(profile)
        result: dict[str, Any] = {"defaultAction": document["defaultAction"]}
        if "defaultErrnoRet" in document:
            result["defaultErrnoRet"] = document["defaultErrnoRet"]
        architectures = document.get("architectures") or _architectures(document, machine)
        if architectures:
            result["architectures"] = architectures
        result["syscalls"] = [
            _rule(rule) for rule in document.get("syscalls") or [] if _applies(rule, machine, capabilities)
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"the seccomp profile can't be read: {error!r}") from None
    return result


def _architectures(document: Mapping[str, Any], machine: str) -> list[str]:
    native = _ARCHITECTURES.get(machine)
    for entry in document.get("archMap") or []:
        if entry["architecture"] == native:
            return [native, *(entry.get("subArchitectures") or [])]
    return [native] if native else []


def _applies(rule: Mapping[str, Any], machine: str, capabilities: Collection[str]) -> bool:
    included, excluded = rule.get("includes") or {}, rule.get("excludes") or {}
    architecture = _GO_NAMES.get(machine, machine)
    if included.get("arches") and architecture not in included["arches"]:
        return False
    if architecture in (excluded.get("arches") or []):
        return False
    if not set(included.get("caps") or []) <= set(capabilities):
        return False
    return not set(excluded.get("caps") or []) & set(capabilities)


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"names": rule.get("names") or [rule["name"]], "action": rule["action"]}
    if rule.get("args"):
        result["args"] = rule["args"]
    if rule.get("errnoRet") is not None:
        result["errnoRet"] = rule["errnoRet"]
    return result
