"""The values of single flags of `atoll run`, parsed to their JSON. Source: Docker's CLI, cli/command/container/opts.go.

Law: reads the files that are named, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator

from atoll.cli.changes import key_values
from atoll.cli.units import parse_bytes, parse_duration_ns, parse_integer
from atoll.errors import InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    import argparse
    from typing import Any

_TRUE, _FALSE = ("", "1", "true"), ("0", "false")


def environment(args: argparse.Namespace) -> list[str]:
    """`NAME=VALUE` words: those of files first, a name alone with the value that it has here, if any."""
    words = [*lines_of("--env-file", args.env_file), *args.env]
    full = [
        word if "=" in word else f"{word}={os.environ[word]}" for word in words if "=" in word or word in os.environ
    ]
    return list({word.partition("=")[0]: word for word in full}.values())


def labels(args: argparse.Namespace) -> dict[str, str]:
    """Labels: those of files first."""
    return key_values("label", [*lines_of("--label-file", args.label_file), *args.label])


def lines_of(option: str, paths: Iterable[str]) -> Iterator[str]:
    """The lines of files, but for empty ones and comments. Raises InvalidRequest."""
    for path in paths:
        for line in _text(option, path).splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield line.lstrip()


def port_bindings(publish: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """`PortBindings` of `-p` words; a range stays one. The daemon knows what is wrong with them."""
    found: dict[str, list[dict[str, str]]] = {}
    for text in publish:
        left, _, protocol = text.partition("/")
        outside, _, container = left.rpartition(":")
        address, _, host = outside.rpartition(":")
        binding = {"HostIp": address.strip("[]"), "HostPort": host}
        found.setdefault(f"{container}/{protocol or 'tcp'}", []).append(binding)
    return found


def exposed_ports(args: argparse.Namespace) -> dict[str, Any]:
    """`ExposedPorts` of `--expose`, ranges port by port, and of `-p`."""
    found = [port if "/" in port else f"{port}/tcp" for port in (*args.expose, *port_bindings(args.publish))]
    return {f"{number}/{protocol}": {} for port in found for number, protocol in _expanded(port)}


def _expanded(port: str) -> Iterator[tuple[str, str]]:
    numbers, _, protocol = port.partition("/")
    first, dash, last = numbers.partition("-")
    if dash and first.isdecimal() and last.isdecimal():
        # What is published in a long range is not listed port by port.
        if int(last) - int(first) <= 256:
            yield from ((str(number), protocol) for number in range(int(first), int(last) + 1))
    else:
        yield numbers, protocol


def devices(texts: Iterable[str]) -> list[dict[str, str]]:
    """`/dev/fuse[:/dev/inside][:rwm]`."""
    found = []
    for text in texts:
        source, *others = text.split(":")
        permissions = others.pop() if others and re.fullmatch(r"[rwm]{1,3}", others[-1]) else "rwm"
        target = others[0] if others else source
        found.append({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions})
    return found


def ulimits(texts: Iterable[str]) -> list[dict[str, Any]]:
    """`nofile=1024:4096`, or one number for both."""
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        soft, colon, hard = value.partition(":")
        if not equals:
            raise InvalidRequest(f"invalid ulimit {text!r}", hint="write it as nofile=1024:4096")
        what = f"ulimit {name}"
        limits = {"Soft": parse_integer(what, soft), "Hard": parse_integer(what, hard if colon else soft)}
        found.append({"Name": name, **limits})
    return sorted(found, key=lambda limit: limit["Name"])


def capabilities(texts: Iterable[str]) -> list[str]:
    """Names as the kernel has them: `net_admin` is CAP_NET_ADMIN; ALL is all."""
    names = {text.upper() for text in texts}
    return sorted(name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in names)


def restart_policy(text: str) -> dict[str, Any]:
    """`on-failure:3`."""
    name, colon, count = text.partition(":")
    return {"Name": name, "MaximumRetryCount": parse_integer("--restart", count) if colon else 0}


def security(texts: Iterable[str]) -> list[str]:
    """`SecurityOpt`; a seccomp profile is read here, as the file is the caller's."""
    found = []
    for text in texts:
        key, separator, value = text.partition("=") if "=" in text else text.partition(":")
        if key == "seccomp" and value not in ("unconfined", "builtin"):
            try:
                value = json.dumps(json.loads(_text("--security-opt seccomp", value)), separators=(",", ":"))
            except ValueError:
                raise InvalidRequest(f"the seccomp profile {value} is not JSON") from None
        found.append(f"{key}={value}" if separator else key)
    return found


def health(args: argparse.Namespace) -> dict[str, Any] | None:
    """`Healthcheck`, None when nothing is said of it. Raises InvalidRequest."""
    times = {
        name: parse_duration_ns(f"--health-{word}", getattr(args, f"health_{word.replace('-', '_')}"))
        for name, word in (
            ("Interval", "interval"),
            ("Timeout", "timeout"),
            ("StartPeriod", "start-period"),
            ("StartInterval", "start-interval"),
        )
        if getattr(args, f"health_{word.replace('-', '_')}")
    }
    retries = parse_integer("--health-retries", args.health_retries) if args.health_retries else 0
    if args.no_healthcheck:
        if args.health_cmd or times or retries:
            raise InvalidRequest("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not args.health_cmd and not times and not retries:
        return None
    return {"Test": ["CMD-SHELL", args.health_cmd] if args.health_cmd else [], "Retries": retries, **times}


def mounts(texts: Iterable[str]) -> list[dict[str, Any]]:
    """`Mounts` of `--mount type=bind,source=/here,target=/there,readonly`. Raises InvalidRequest."""
    return [_mount(text) for text in texts]


def _mount(text: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"Type": "volume"}
    for key, value in _fields("--mount", text):
        match key:
            case "type":
                spec["Type"] = value.lower()
            case "source" | "src":
                spec["Source"] = absolute(value) if value.startswith(".") else value
            case "target" | "dst" | "destination":
                spec["Target"] = value
            case "readonly" | "ro":
                spec["ReadOnly"] = _boolean(text, key, value)
            case "bind-propagation":
                spec.setdefault("BindOptions", {})["Propagation"] = value.lower()
            case "bind-create-src":
                spec.setdefault("BindOptions", {})["CreateMountpoint"] = _boolean(text, key, value)
            case "bind-recursive":
                spec.setdefault("BindOptions", {})["NonRecursive"] = value == "disabled"
            case "volume-nocopy":
                spec.setdefault("VolumeOptions", {})["NoCopy"] = _boolean(text, key, value)
            case "volume-label":
                spec.setdefault("VolumeOptions", {}).setdefault("Labels", {}).update(key_values("label", [value]))
            case "volume-driver":
                spec.setdefault("VolumeOptions", {})["DriverConfig"] = {"Name": value}
            case "tmpfs-size":
                spec.setdefault("TmpfsOptions", {})["SizeBytes"] = parse_bytes(key, value)
            case "tmpfs-mode":
                spec.setdefault("TmpfsOptions", {})["Mode"] = _octal(value)
            case "consistency":
                pass
            case _:
                raise InvalidRequest(f"invalid mount {text!r}: unexpected key {key!r}")
    return spec


def absolute(path: str) -> str:
    """A path from the root, `..` of links as they are written."""
    from pathlib import Path

    return os.path.normpath(Path.cwd() / path)


def networks(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """`NetworkMode` and `EndpointsConfig` of `--network`, which may be given several times. Raises InvalidRequest."""
    asked = [_network(text) for text in args.network] or [("default", {})]
    mode, first = asked[0]
    addresses = {"IPv4Address": args.ip, "IPv6Address": args.ip6}
    if any(addresses.values()):
        first["IPAMConfig"] = {key: value for key, value in addresses.items() if value}
    if args.network_alias:
        first["Aliases"] = [*first.get("Aliases", ()), *args.network_alias]
    if args.mac_address:
        first["MacAddress"] = args.mac_address
    if len(asked) == 1 and not first:
        return mode, {}
    return mode, dict(asked)


def _network(text: str) -> tuple[str, dict[str, Any]]:
    if "=" not in text:
        return text, {}
    name = ""
    found: dict[str, Any] = {}
    for key, value in _fields("--network", text):
        match key:
            case "name":
                name = value
            case "alias":
                found.setdefault("Aliases", []).append(value)
            case "ip":
                found.setdefault("IPAMConfig", {})["IPv4Address"] = value
            case "ip6":
                found.setdefault("IPAMConfig", {})["IPv6Address"] = value
            case "mac-address":
                found["MacAddress"] = value
            case "gw-priority":
                found["GwPriority"] = parse_integer(key, value)
            case "driver-opt":
                found.setdefault("DriverOpts", {}).update(key_values("driver option", [value]))
            case _:
                raise InvalidRequest(f"invalid network {text!r}: unexpected key {key!r}")
    if not name:
        raise InvalidRequest(f"invalid network {text!r}: it has no name", hint="write it as name=front,alias=db")
    return name, found


def _fields(option: str, text: str) -> Iterator[tuple[str, str]]:
    """`key=value` separated by commas; a field in double quotes may have commas. Source: RFC 4180."""
    for quoted, plain in re.findall(r'"((?:[^"]|"")*)"|([^,]+)', text):
        key, _, value = (quoted.replace('""', '"') or plain).partition("=")
        if not key.strip():
            raise InvalidRequest(f"invalid value {text!r} of {option}", hint="write it as KEY=VALUE,KEY=VALUE")
        yield key.strip().lower(), value.strip()


def _boolean(text: str, key: str, value: str) -> bool:
    if value.lower() not in (*_TRUE, *_FALSE):
        raise InvalidRequest(f"invalid value {value!r} of {key} in {text!r}: it is true or false")
    return value.lower() in _TRUE


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise InvalidRequest(f"invalid mode {text!r}", hint="write it in octal: 1777") from None


def _text(option: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InvalidRequest(f"cannot read {path} of {option}: {reason}") from None
