"""Docker's JSON for a new container, parsed to the model. Pure."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from atoll.api import container_body as body
from atoll.api.body import decode_body
from atoll.api.container_body import words
from atoll.api.container_checks import check_environment, check_host, check_word
from atoll.api.container_mounts import parse_mounts
from atoll.api.container_network import parse_network
from atoll.errors import InvalidRequest, NotFound
from atoll.model.container import (
    Container,
    ContainerConfig,
    ContainerRequest,
    Device,
    HostConfig,
    Limits,
    RestartKind,
    RestartPolicy,
    Sharing,
    SharingKind,
    Ulimit,
)
from atoll.model.image import HealthCheck, Image, parse_health
from atoll.model.names import short_id, shown

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_JOIN = "container:"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known:
    """What a new container may refer to, all raising NotFound; `hostname` is the host's.

    `namespace` gives the id of whose network namespace is joined, by the name of a container or a sandbox.
    """

    container: Callable[[str], Container]
    image: Callable[[str], Image]
    namespace: Callable[[str], str]
    hostname: str


def parse_create(raw: bytes, known: Known) -> ContainerRequest:
    """The body of POST /containers/create. Raises InvalidRequest, Unsupported, NotFound."""
    asked = decode_body(raw, body.Create)
    if not asked.image:
        raise InvalidRequest("no image is named", hint='write {"Image": "busybox"}')
    image = known.image(asked.image)
    check_environment(asked.env)
    network, mode = parse_network(asked, image, _needed(known.namespace))
    hostname = asked.hostname
    for what, text in (("hostname", hostname), ("domain name", asked.domainname)):
        if text:
            check_word(what, text)
    if not hostname and mode == "host":
        hostname = known.hostname
    elif not hostname and network.join:
        # What is joined may be a sandbox that is no container's, which has no host name.
        with suppress(NotFound):
            owner = known.container(network.join)
            hostname = owner.config.hostname or short_id(owner.id)
    host = replace(parse_host(asked.host_config, _needed(known.container)), network_mode=mode)
    return ContainerRequest(_config(asked, hostname), host, network=network)


def _needed(find: Callable[[str], T]) -> Callable[[str], T]:
    """A look-up that raises InvalidRequest: "not found" clients take for the image at a create, and pull it."""

    def found(reference: str) -> T:
        try:
            return find(reference)
        except NotFound as error:
            raise InvalidRequest(error.message, hint=error.hint, subject=error.subject) from None

    return found


def _config(asked: body.Create, hostname: str) -> ContainerConfig:
    # An entrypoint of one empty word takes the image's away: `docker run --entrypoint ""`.
    entrypoint = None if asked.entrypoint is None else tuple(word for word in words(asked.entrypoint) if word)
    if entrypoint == () and asked.entrypoint == []:
        entrypoint = None
    return ContainerConfig(
        image=asked.image,
        hostname=hostname,
        domainname=asked.domainname,
        user=asked.user,
        env=tuple(asked.env),
        cmd=words(asked.cmd),
        entrypoint=entrypoint,
        workdir=asked.working_dir,
        tty=asked.tty,
        open_stdin=asked.open_stdin,
        stdin_once=asked.stdin_once,
        attach_stdin=asked.attach_stdin,
        attach_stdout=asked.attach_stdout,
        attach_stderr=asked.attach_stderr,
        exposed_ports=tuple(asked.exposed_ports),
        volumes=tuple(asked.volumes),
        labels=asked.labels,
        stop_signal=asked.stop_signal,
        stop_timeout_s=asked.stop_timeout,
        health=_health(asked.healthcheck),
    )


def _health(asked: body.Health | None) -> HealthCheck | None:
    if asked is None:
        return None
    return parse_health(
        {
            "Test": asked.test,
            "Interval": asked.interval,
            "Timeout": asked.timeout,
            "StartPeriod": asked.start_period,
            "StartInterval": asked.start_interval,
            "Retries": asked.retries,
        }
    )


def parse_host(asked: body.Host, container: Callable[[str], Container]) -> HostConfig:
    """How a container runs on this host, but for its network. Raises InvalidRequest, Unsupported, NotFound."""
    check_host(asked)
    seccomp, no_new_privileges = _security(asked.security_opt)
    return HostConfig(
        ipc=_sharing("IPC", asked.ipc_mode, container, default=SharingKind.SHAREABLE),
        pid=_sharing("PID", asked.pid_mode, container),
        uts=_sharing("UTS", asked.uts_mode, container),
        cgroupns=_cgroupns(asked.cgroupns_mode),
        userns=asked.userns_mode,
        mounts=parse_mounts(asked, container),
        volumes_from=tuple(asked.volumes_from),
        restart=parse_restart(asked.restart_policy, auto_remove=asked.auto_remove),
        auto_remove=asked.auto_remove,
        privileged=asked.privileged,
        readonly_rootfs=asked.readonly_rootfs,
        init=asked.init,
        cap_add=words(asked.cap_add),
        cap_drop=words(asked.cap_drop),
        no_new_privileges=no_new_privileges,
        seccomp=seccomp,
        masked_paths=None if asked.masked_paths is None else tuple(asked.masked_paths),
        readonly_paths=None if asked.readonly_paths is None else tuple(asked.readonly_paths),
        devices=tuple(_device(device) for device in asked.devices),
        ulimits=tuple(Ulimit(ulimit.name, ulimit.soft, ulimit.hard) for ulimit in asked.ulimits),
        sysctls=asked.sysctls,
        group_add=tuple(asked.group_add),
        limits=parse_limits(asked),
        oom_score_adj=asked.oom_score_adj,
        shm_bytes=asked.shm_size or HostConfig().shm_bytes,
        cgroup_parent=asked.cgroup_parent,
        dns=tuple(asked.dns),
        dns_search=tuple(asked.dns_search),
        dns_options=tuple(asked.dns_options),
        extra_hosts=tuple(asked.extra_hosts),
        log_max_bytes=_log_max_bytes(asked.log_config.config),
        log_options=asked.log_config.config,
        runtime=asked.runtime or HostConfig().runtime,
        annotations=asked.annotations,
    )


def parse_limits(asked: body.Resources, before: Limits | None = None) -> Limits:
    """What a container may use; 0 and "" leave what was `before`, as an update does. Raises InvalidRequest."""
    kept = before or Limits()
    if 0 < asked.memory < 6 << 20:
        raise InvalidRequest("Minimum memory limit allowed is 6MB")
    return Limits(
        memory_bytes=asked.memory or kept.memory_bytes,
        memory_swap_bytes=asked.memory_swap or kept.memory_swap_bytes,
        memory_reservation_bytes=asked.memory_reservation or kept.memory_reservation_bytes,
        nano_cpus=asked.nano_cpus or kept.nano_cpus,
        cpu_shares=asked.cpu_shares or kept.cpu_shares,
        cpu_period_us=asked.cpu_period or kept.cpu_period_us,
        cpu_quota_us=asked.cpu_quota or kept.cpu_quota_us,
        cpuset_cpus=asked.cpuset_cpus or kept.cpuset_cpus,
        cpuset_mems=asked.cpuset_mems or kept.cpuset_mems,
        pids_max=asked.pids_limit or kept.pids_max,
        oom_kill_disable=asked.oom_kill_disable or kept.oom_kill_disable,
    )


def parse_restart(asked: body.Restart, *, auto_remove: bool = False) -> RestartPolicy:
    """A restart policy. Raises InvalidRequest."""
    try:
        kind = RestartKind(asked.name or "no")
    except ValueError:
        raise InvalidRequest(f"invalid restart policy: unknown policy {shown(asked.name)}") from None
    if auto_remove and kind is not RestartKind.NO:
        raise InvalidRequest("can't create 'AutoRemove' container with restart policy")
    if asked.maximum_retry_count and kind is not RestartKind.ON_FAILURE:
        raise InvalidRequest("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if asked.maximum_retry_count < 0:
        raise InvalidRequest("invalid restart policy: maximum retry count cannot be negative")
    return RestartPolicy(kind, asked.maximum_retry_count)


def _sharing(
    what: str, mode: str, container: Callable[[str], Container], *, default: SharingKind = SharingKind.PRIVATE
) -> Sharing:
    if not mode:
        return Sharing(default)
    if mode.startswith(_JOIN):
        return Sharing(SharingKind.CONTAINER, container(mode.removeprefix(_JOIN)).id)
    try:
        return Sharing(SharingKind(mode))
    except ValueError:
        raise InvalidRequest(f"invalid {what} mode: {shown(mode)}", hint="use host or container:NAME") from None


def _cgroupns(mode: str) -> SharingKind | None:
    if mode not in ("", "private", "host"):
        raise InvalidRequest(f"invalid cgroup namespace mode: {shown(mode)}", hint="use private or host")
    return SharingKind(mode) if mode else None


def _security(options: list[str]) -> tuple[str, bool]:
    """The seccomp profile, and whether a program may gain no privileges."""
    seccomp, no_new_privileges = "", False
    for option in options:
        name, separator, value = option.partition("=") if "=" in option else option.partition(":")
        if name == "no-new-privileges":
            no_new_privileges = not separator or value == "true"
        elif name == "seccomp":
            seccomp = "" if value == "builtin" else value
        elif name not in ("apparmor", "label", "systempaths"):
            raise InvalidRequest(f"invalid --security-opt: {shown(option)}")
    return seccomp, no_new_privileges


def _device(asked: body.Device) -> Device:
    if not asked.path_on_host.startswith("/"):
        raise InvalidRequest(f"invalid device {shown(asked.path_on_host)}: it has to be absolute")
    return Device(asked.path_on_host, asked.path_in_container or asked.path_on_host, asked.cgroup_permissions)


def _log_max_bytes(options: dict[str, str]) -> int:
    text = options.get("max-size", "").strip().lower()
    digits = text.rstrip("bkmg")
    unit = text.removeprefix(digits).removesuffix("b") if len(text) > len(digits) + 1 else text.removeprefix(digits)
    if not text or text == "-1":
        return 0
    if not digits.isascii() or not digits.isdecimal() or unit not in _UNITS:
        raise InvalidRequest(f"invalid log option max-size {shown(text)}", hint="write it as 10m")
    return int(digits) * _UNITS[unit]
