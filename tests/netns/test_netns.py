"""Namespaces are made whole, told apart by evidence, and never kept alive."""

import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.errors import InvalidRequest
from atoll.kernel import netns, sysctl
from tests.netns.namespaces import eventually
from tests.support.hosts import FreshHost


def sleeper() -> subprocess.Popen[bytes]:
    """A process in a network namespace of its own."""
    process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_made_namespace_has_loopback_up_and_a_containers_sysctls(host: FreshHost) -> None:
    path = host.path("one")
    netns.make(path)
    assert "UP" in host.link("lo", at=path)["flags"]
    expected = {
        "net/ipv4/ping_group_range": "0 2147483647",
        "net/ipv4/ip_unprivileged_port_start": "0",
        "net/ipv6/conf/default/disable_ipv6": "1",
        "net/ipv6/conf/default/accept_ra": "0",
        "net/bridge/bridge-nf-call-iptables": "0",
        "net/bridge/bridge-nf-call-ip6tables": "0",
    }
    assert netns.run_in(path, lambda: {name: sysctl.read(name) for name in expected}) == expected
    assert sysctl.read("net/ipv4/ip_unprivileged_port_start") == "1024"


def test_making_again_keeps_what_is_there(host: FreshHost) -> None:
    netns.make(host.path("one"))
    before = netns.evidence(host.path("one"), None)
    netns.make(host.path("one"))
    assert netns.evidence(host.path("one"), None) == before


def test_a_file_that_a_crash_left_is_mounted_over(host: FreshHost) -> None:
    Path(host.path("one")).touch()
    netns.make(host.path("one"))
    assert netns.exists(host.path("one"))


def test_an_unmount_reaches_other_mount_namespaces(host: FreshHost) -> None:
    netns.make(host.path("one"))
    netns.make(host.path("two"))
    script = "echo; read go; cat /proc/self/mountinfo"
    other = subprocess.Popen(
        ["unshare", "--mount", "--propagation=unchanged", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdout.readline()
    netns.delete(host.path("one"))
    mounts = other.communicate("go\n")[0]
    assert host.path("two") in mounts
    assert host.path("one") not in mounts


def test_deleting_what_is_gone_succeeds(host: FreshHost) -> None:
    netns.make(host.path("one"))
    netns.delete(host.path("one"))
    netns.delete(host.path("one"))
    assert not Path(host.path("one")).exists()


def test_deleting_takes_stacked_mounts_away(host: FreshHost) -> None:
    netns.make(host.path("one"))
    host.run("mount", "--bind", host.path("one"), host.path("one"))
    netns.delete(host.path("one"))
    assert not Path(host.path("one")).exists()


def test_threads_leave_the_caller_where_it_is(host: FreshHost) -> None:
    netns.make(host.path("one"))
    mine = netns.own_cookie()
    assert netns.run_in(host.path("one"), netns.own_cookie) != mine
    assert netns.own_cookie() == mine


def test_an_error_inside_comes_out(host: FreshHost) -> None:
    netns.make(host.path("one"))
    with pytest.raises(ZeroDivisionError):
        netns.run_in(host.path("one"), lambda: 1 // 0)


def test_nothing_stays_open(host: FreshHost) -> None:
    netns.make(host.path("one"))
    host.run("ip", "link", "add", "v0", "type", "veth", "peer", "v1", "netns", host.path("one"))
    before, threads = len(list(Path("/proc/self/fd").iterdir())), set(threading.enumerate())
    netns.run_in(host.path("one"), lambda: None)
    netns.evidence(host.path("one"), None)
    netns.ifnames(netns.evidence(host.path("one"), None))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert set(threading.enumerate()) <= threads
    netns.delete(host.path("one"))
    eventually(lambda: not host.link("v0"), seconds=2)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nowhere/netns", "no such file"),
        ("/tmp", "is not a network namespace"),
        ("/dev/null", "is not a network namespace"),
        ("/proc/self/ns/uts", "is not a network namespace"),
        ("/etc/hostname/x", "not a directory"),
        ("", "does not begin with /"),
        ("run/netns/x", "does not begin with /"),
        ("/a\0b", "not a path"),
    ],
)
def test_what_is_no_namespace_is_named(path: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        netns.evidence(path, None)
    assert reason in wrong.value.message
    assert repr(path) in wrong.value.message


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidRequest):
        netns.evidence(str(tmp_path / "pipe"), None)


def test_a_process_that_is_gone_is_named() -> None:
    with sleeper() as process:
        process.kill()
    with pytest.raises(InvalidRequest, match=f"no process {process.pid}"):
        netns.evidence("", process.pid)


class TestAlive:
    def test_by_path(self, host: FreshHost) -> None:
        netns.make(host.path("one"))
        known = netns.evidence(host.path("one"), None)
        assert netns.alive(known)
        netns.delete(host.path("one"))
        assert not netns.alive(known)

    def test_another_at_the_same_path_is_not_it(self, host: FreshHost) -> None:
        netns.make(host.path("one"))
        known = netns.evidence(host.path("one"), None)
        netns.delete(host.path("one"))
        netns.make(host.path("one"))
        assert not netns.alive(known)
        with pytest.raises(InvalidRequest, match="another network namespace"):
            netns.visit(known, lambda: None)

    def test_by_process(self) -> None:
        with sleeper() as process:
            known = netns.evidence("", process.pid)
            assert known.path == f"/proc/{process.pid}/ns/net"
            assert netns.alive(known)
            assert not netns.alive(replace(known, pid_start_ticks=1))
            process.kill()
        assert not netns.alive(known)

    def test_not_after_a_reboot(self, host: FreshHost) -> None:
        netns.make(host.path("one"))
        assert not netns.alive(replace(netns.evidence(host.path("one"), None), boot_id="another"))

    def test_a_made_one_that_was_never_looked_at(self, host: FreshHost) -> None:
        netns.make(host.path("one"))
        assert netns.alive(replace(netns.evidence(host.path("one"), None), cookie=0, boot_id=""))


def test_interfaces_inside_are_listed(host: FreshHost) -> None:
    netns.make(host.path("one"))
    host.run("ip", "link", "add", "v0", "type", "veth", "peer", "eth7", "netns", host.path("one"))
    assert netns.ifnames(netns.evidence(host.path("one"), None)) == {"lo", "eth7"}
