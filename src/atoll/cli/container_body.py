"""From the flags of `atoll run` and `atoll create` to the body of POST /containers/create."""

from __future__ import annotations

import argparse

from atoll.cli import container_values as values
from atoll.cli.changes import key_values
from atoll.cli.units import parse_bytes, parse_integer
from atoll.errors import InvalidRequest

TYPE_CHECKING = False  # see command.py
if TYPE_CHECKING:
    from typing import Any

_SIZES = {
    "Memory": "memory",
    "MemoryReservation": "memory_reservation",
    "MemorySwap": "memory_swap",
    "ShmSize": "shm_size",
}
_NUMBERS = {
    "CpuShares": "cpu_shares",
    "CpuPeriod": "cpu_period",
    "CpuQuota": "cpu_quota",
    "PidsLimit": "pids_limit",
    "OomScoreAdj": "oom_score_adj",
}
_TEXTS = {
    "CpusetCpus": "cpuset_cpus",
    "CpusetMems": "cpuset_mems",
    "PidMode": "pid",
    "UsernsMode": "userns",
    "CgroupnsMode": "cgroupns",
    "CgroupParent": "cgroup_parent",
    "Runtime": "runtime",
    "VolumeDriver": "volume_driver",
}
_LISTS = {
    "VolumesFrom": "volumes_from",
    "GroupAdd": "group_add",
    "ExtraHosts": "add_host",
    "Dns": "dns",
    "DnsSearch": "dns_search",
    "DnsOptions": "dns_option",
    "Links": "link",
}
_FLAGS = {
    "AutoRemove": "rm",
    "Privileged": "privileged",
    "ReadonlyRootfs": "read_only",
    "Init": "init",
    "PublishAllPorts": "publish_all",
    "OomKillDisable": "oom_kill_disable",
}
_JOINED = "container:"


def create_body(args: argparse.Namespace, attached: tuple[str, ...]) -> dict[str, Any]:
    """The body. `attached` are those of stdin, stdout and stderr that are joined to ours. Raises InvalidRequest."""
    mode, endpoints = values.networks(args)
    body: dict[str, Any] = {
        "Image": args.image,
        "Cmd": args.argv,
        "Env": values.environment(args),
        "Hostname": args.hostname,
        "Domainname": args.domainname,
        "User": args.user,
        "WorkingDir": args.workdir,
        "Labels": values.labels(args),
        "Tty": args.tty,
        "OpenStdin": args.interactive,
        "StdinOnce": "stdin" in attached,
        "AttachStdin": "stdin" in attached,
        "AttachStdout": "stdout" in attached,
        "AttachStderr": "stderr" in attached,
        "ExposedPorts": values.exposed_ports(args),
        "Volumes": {text: {} for text in args.volume if ":" not in text},
        "StopSignal": args.stop_signal,
        "HostConfig": _host(args, mode),
        "NetworkingConfig": {"EndpointsConfig": endpoints},
    }
    if args.stop_timeout:
        body["StopTimeout"] = parse_integer("--stop-timeout", args.stop_timeout)
    if args.entrypoint is not None:
        body["Entrypoint"] = [args.entrypoint]
    check = values.health(args)
    return body if check is None else {**body, "Healthcheck": check}


def _host(args: argparse.Namespace, mode: str) -> dict[str, Any]:
    host: dict[str, Any] = {
        "NetworkMode": mode,
        "Binds": [_absolute(text) for text in args.volume if ":" in text],
        "PortBindings": values.port_bindings(args.publish),
        "IpcMode": args.ipc,
        "UTSMode": args.uts,
        "Mounts": values.mounts(args.mount),
        "Tmpfs": dict(text.partition(":")[::2] for text in args.tmpfs),
        "CapAdd": values.capabilities(args.cap_add),
        "CapDrop": values.capabilities(args.cap_drop),
        "Devices": values.devices(args.device),
        "Ulimits": values.ulimits(args.ulimit),
        "SecurityOpt": values.security(args.security_opt),
        "Sysctls": key_values("sysctl", args.sysctl),
        "Annotations": key_values("annotation", args.annotation),
        "LogConfig": {"Type": args.log_driver, "Config": key_values("log option", args.log_opt)},
        "RestartPolicy": values.restart_policy(args.restart),
        **{name: getattr(args, dest) for name, dest in (_TEXTS | _LISTS | _FLAGS).items() if getattr(args, dest)},
        **limits(args),
    }
    return {**host, **_joined(args)} if args.join else host


def limits(args: argparse.Namespace) -> dict[str, Any]:
    """What a container may use, as far as it is said: also the body of an update. Raises InvalidRequest."""
    found: dict[str, Any] = {}
    for names, parse in ((_SIZES, parse_bytes), (_NUMBERS, parse_integer)):
        for name, dest in names.items():
            text = getattr(args, dest, "")
            if text:
                found[name] = parse(f"--{dest.replace('_', '-')}", text)
    if args.cpus:
        try:
            found["NanoCpus"] = round(float(args.cpus) * 1e9)
        except ValueError:
            raise InvalidRequest(f"invalid number {args.cpus!r} of --cpus", hint="write it as 1.5") from None
    return found


def _joined(args: argparse.Namespace) -> dict[str, str]:
    for option in ("network", "ipc", "uts", "hostname"):
        if getattr(args, option):
            raise InvalidRequest(f"--join conflicts with --{option}", hint=f"leave out --{option}")
    mode = _JOINED + args.join.removeprefix(_JOINED)
    return {"NetworkMode": mode, "IpcMode": mode, "UTSMode": mode}


def _absolute(text: str) -> str:
    """A bind whose source is written as a relative path; Docker takes `./here`, a word alone is a volume."""
    source, _, rest = text.partition(":")
    return f"{values.absolute(source)}:{rest}" if source.startswith(".") else text
