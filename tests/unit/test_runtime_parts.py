"""The runtime's pure parts: users, environments, signals, restarts, what images and bytes from outside say."""

import json
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import AtollError, InvalidRequest, Unsupported
from atoll.model.container import Container, ContainerConfig, HostConfig, Limits, RestartKind, RestartPolicy, Ulimit
from atoll.model.image import HealthCheck, HealthKind, ImageConfig, parse_health
from atoll.model.reference import parse_reference
from atoll.runtime.bundle.capabilities import ALL, DEFAULT, capabilities
from atoll.runtime.bundle.effective import effective, merged_env
from atoll.runtime.bundle.resources import resources, rlimits
from atoll.runtime.bundle.seccomp import seccomp
from atoll.runtime.bundle.users import User, parse_user
from atoll.runtime.images.store import parse_image
from atoll.runtime.programs import last_words
from atoll.runtime.restarts import next_delay_s, restarts, starts_at_boot
from atoll.runtime.signals import parse_signal, signal_number
from atoll.runtime.supervise.etcfiles import resolv_conf
from atoll.runtime.supervise.logs import parse_line

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv:/bin/false\nbroken\n:x:y:z\n"
GROUP = "root:x:0:\nweb:x:44:\nextra:x:55:web,root\nbroken:\n"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("", User(0, 0, (0, 55), "/root")),
        ("web", User(33, 44, (44, 55), "/srv")),
        ("33", User(33, 44, (44, 55), "/srv")),
        ("web:root", User(33, 0, (0,), "/srv")),
        ("7", User(7, 0, (0,), "/")),
        ("7:8", User(7, 8, (8,), "/")),
        ("7:extra", User(7, 55, (55,), "/")),
    ],
)
def test_user(text: str, user: User) -> None:
    assert parse_user(text, passwd=PASSWD, group=GROUP) == user


@pytest.mark.parametrize("text", ["nobody", "web:nobody", "-1", "99999999999", "2147483648", "1:99999999999", "²"])
def test_user_that_is_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_user(text, passwd=PASSWD, group=GROUP)


def test_own_entrypoint_takes_the_images_command_away() -> None:
    image = ImageConfig(entrypoint=("/entry",), cmd=("a", "b"))
    config = ContainerConfig("x")
    assert effective(image, config).argv == ("/entry", "a", "b")
    assert effective(image, replace(config, cmd=("c",))).argv == ("/entry", "c")
    assert effective(image, replace(config, entrypoint=("/own",))).argv == ("/own",)
    assert effective(image, replace(config, entrypoint=(), cmd=("c",))).argv == ("c",)
    with pytest.raises(InvalidRequest, match="no command"):
        effective(image, replace(config, entrypoint=()))


def test_health_check_of_the_image_is_completed_or_switched_off() -> None:
    image = ImageConfig(cmd=("x",), health=HealthCheck(HealthKind.CMD, ("test",), interval_ns=5, retries=7))
    config = ContainerConfig("x")
    assert effective(image, config).health == image.health
    own = HealthCheck(interval_ns=9)
    assert effective(image, replace(config, health=own)).health == HealthCheck(
        HealthKind.CMD, ("test",), interval_ns=9, retries=7
    )
    assert effective(image, replace(config, health=HealthCheck(HealthKind.NONE))).health is None


def test_environment_is_merged_by_name() -> None:
    assert merged_env(("A=1", "B=2", "C=3"), ("B=x=y", "C", "D=")) == ("A=1", "B=x=y", "D=")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("9", "SIGKILL"),
        ("kill", "SIGKILL"),
        ("SIGTERM", "SIGTERM"),
        ("sigrtmin+3", "SIGRTMIN+3"),
        ("RTMAX-1", "SIGRTMAX-1"),
    ],
)
def test_signal(text: str, name: str) -> None:
    assert parse_signal(text) == name


def test_number_of_a_signal() -> None:
    assert [signal_number(name) for name in ("SIGKILL", "SIGRTMIN", "SIGRTMIN+3", "SIGRTMAX-1")] == [9, 34, 37, 63]


@pytest.mark.parametrize("text", ["", "0", "-9", "99", "SIG", "SIGX", "KILL;reboot", "SIGRTMIN+333", "٣"])
def test_signal_that_is_none(text: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid signal"):
        parse_signal(text)


def container(kind: RestartKind, retries_max: int = 0, **fields: object) -> Container:
    host = HostConfig(restart=RestartPolicy(kind, retries_max))
    made = Container("1", "x", "2", 0, ContainerConfig("x"), host, started_ns=1)
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "code", "again"),
    [
        (container(RestartKind.NO), 1, False),
        (container(RestartKind.ALWAYS), 0, True),
        (container(RestartKind.ALWAYS, stop_requested=True), 137, False),
        (container(RestartKind.UNLESS_STOPPED), 0, True),
        (container(RestartKind.ON_FAILURE), 0, False),
        (container(RestartKind.ON_FAILURE), 1, True),
        (container(RestartKind.ON_FAILURE, 3, restart_count=2), 1, True),
        (container(RestartKind.ON_FAILURE, 3, restart_count=3), 1, False),
    ],
)
def test_restart(record: Container, code: int, again: bool) -> None:
    assert restarts(record, code) is again


def test_start_at_boot() -> None:
    assert starts_at_boot(container(RestartKind.ALWAYS, stop_requested=True))
    assert not starts_at_boot(container(RestartKind.UNLESS_STOPPED, stop_requested=True))
    assert starts_at_boot(container(RestartKind.UNLESS_STOPPED))
    assert not starts_at_boot(container(RestartKind.ALWAYS, started_ns=0))
    assert not starts_at_boot(container(RestartKind.ON_FAILURE))


def test_delay_doubles_up_to_a_minute_and_begins_anew() -> None:
    delays, delay_s = [], 0.0
    for _ in range(12):
        delay_s = next_delay_s(delay_s, ran_s=0.1)
        delays.append(delay_s)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8] and delays[-1] == 60
    assert next_delay_s(60, ran_s=11) == 0.1


def test_capabilities() -> None:
    every = (1 << len(ALL)) - 1
    assert set(capabilities((), (), privileged=False, available=every)) == set(DEFAULT)
    assert capabilities((), (), privileged=True, available=0b101) == ("CAP_CHOWN", "CAP_DAC_READ_SEARCH")
    assert capabilities(("all",), ("cap_chown",), privileged=False, available=0b11) == ("CAP_DAC_OVERRIDE",)
    with pytest.raises(InvalidRequest, match="unknown capability 'NONE'"):
        capabilities(("NONE",), (), privileged=False, available=every)


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        (Limits(memory_bytes=8 << 20, memory_swap_bytes=4 << 20), InvalidRequest),
        (Limits(nano_cpus=10**9, cpu_quota_us=5), InvalidRequest),
    ],
)
def test_limits_that_contradict_each_other(limits: Limits, error: type[AtollError]) -> None:
    with pytest.raises(error):
        resources(limits, devices=(), privileged=False, swap_limit=True)


def test_swap_that_is_not_counted_is_not_limited() -> None:
    with pytest.raises(Unsupported, match="swap"):
        limits = Limits(memory_bytes=8 << 20, memory_swap_bytes=16 << 20)
        resources(limits, devices=(), privileged=False, swap_limit=False)
    found = resources(Limits(memory_bytes=8 << 20), devices=(), privileged=False, swap_limit=False)
    assert found["memory"] == {"limit": 8 << 20}


@pytest.mark.parametrize("ulimit", [Ulimit("none", 1, 1), Ulimit("nofile", 2, 1), Ulimit("nofile", -1, 1)])
def test_ulimit_that_is_none(ulimit: Ulimit) -> None:
    with pytest.raises(InvalidRequest):
        rlimits([ulimit])


@pytest.mark.parametrize(
    ("said", "last"),
    [
        ("", ""),
        ('time="2026" level=error msg="exec: \\"x\\": not found"\n', 'exec: "x": not found'),
        ('{"level":"error","msg":"no"}\n', "no"),
        ("one\ntwo\n\n", "two"),
        ("7", "7"),
    ],
)
def test_last_words(said: str, last: str) -> None:
    assert last_words(said) == last


def test_resolv_conf_without_anything_is_empty() -> None:
    assert resolv_conf((), (), ()) == ""
    assert resolv_conf(("192.0.2.1", "2001:db8::1"), ("a", "b"), ("ndots:0",)) == (
        "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch a b\noptions ndots:0\n"
    )


@given(JSON)
def test_config_of_an_image_is_read_or_refused(document: object) -> None:
    for whole in (
        document,
        {"rootfs": document},
        {"rootfs": {"diff_ids": []}, "config": document, "history": document},
    ):
        try:
            parse_image(json.dumps(whole).encode())
        except InvalidRequest:
            continue


@given(st.binary(max_size=200))
def test_bytes_are_a_config_or_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_image(raw)


@given(JSON)
def test_seccomp_profile_is_read_or_refused(document: object) -> None:
    for whole in (document, {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": document, "archMap": document}):
        try:
            seccomp(json.dumps(whole), machine="x86_64", capabilities=())
        except InvalidRequest:
            continue


@given(st.dictionaries(st.sampled_from(["Test", "Interval", "Timeout", "Retries", "StartPeriod"]), JSON))
def test_health_check_is_read_or_refused(document: dict[str, object]) -> None:
    try:
        parse_health(document)
    except InvalidRequest:
        return


@given(st.text(alphabet=string.ascii_lowercase + "./:@-_A", max_size=40))
def test_reference_is_completed_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidRequest:
        return
    assert parse_reference(reference.complete) == parse_reference(reference.familiar) == reference


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=20))
def test_users_are_found_or_refused(passwd: str, group: str, text: str) -> None:
    try:
        parse_user(text, passwd=passwd, group=group)
    except InvalidRequest:
        return


@given(st.binary(max_size=80))
def test_log_lines_are_read_or_passed_over(raw: bytes) -> None:
    parse_line(raw)
