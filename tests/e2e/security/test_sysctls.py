"""Endpoint sysctls: really set inside, again after all that makes the interface anew, and only of that interface."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.security.ledger import Ledger
from tests.e2e.security.stage import Stage

OPTION = "com.docker.network.endpoint.sysctls"
ASKED = f"driver-opt={OPTION}=net.ipv4.conf.IFNAME.log_martians=1"
PATH = "/proc/sys/net/ipv4/conf/{}/log_martians"

REFUSED = {
    "net.core.somaxconn=1": "not of an interface",
    "kernel.hostname=x": "not of the network",
    "net.ipv4.ip_forward=1": "of the whole namespace",
    "net.ipv4.conf.all.forwarding=1": "of all interfaces",
    "net.ipv4.conf.eth0.forwarding=1": "named, not IFNAME",
    "net.ipv4.conf.IFNAME/../all.forwarding=1": "a way out of the directory",
    "net.ipv4.conf.IFNAME.forwarding": "without a value",
}


@pytest.fixture
def sandbox(stage: Stage) -> Iterator[str]:
    stage.host.atoll(["sandbox", "create", "tuned", "--network", f"nat,{ASKED}"])
    yield "tuned"
    stage.host.atoll(["sandbox", "rm", "-f", "tuned"])


def value(stage: Stage, sandbox: str, ifname: str = "eth0") -> str:
    # A mount of sysfs or proc shows the namespace of whoever reads it.
    return stage.host.sandbox(sandbox).out(["cat", PATH.format(ifname)]).strip()


def test_sysctls_are_set_and_stay(stage: Stage, sandbox: str, ledger: Ledger) -> None:
    found = {"at first": value(stage, sandbox)}
    assert stage.host.daemon is not None
    stage.host.sandbox(sandbox).run(["sh", "-c", f"echo 0 > {PATH.format('eth0')}"])
    stage.host.daemon.kill()
    stage.host.daemon.restart()
    found["after a restart of the daemon"] = _soon(stage, sandbox)
    stage.host.atoll(f"network disconnect nat {sandbox}")
    stage.host.atoll(["network", "connect", "--driver-opt", ASKED.removeprefix("driver-opt="), "nat", sandbox])
    found["after a reconnect"] = value(stage, sandbox)
    for when, seen in found.items():
        ledger.decide(f"an endpoint's sysctl is set {when}", "nat", kept=seen == "1", seen=seen)
    assert set(found.values()) == {"1"}, found


def _soon(stage: Stage, sandbox: str) -> str:
    deadline = time.monotonic() + 5
    while (found := value(stage, sandbox)) != "1" and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("text", REFUSED)
def test_other_sysctls_are_refused(stage: Stage, ledger: Ledger, text: str) -> None:
    words = ["sandbox", "create", "refused", "--network", f"nat,driver-opt={OPTION}={text}"]
    done = stage.host.atoll(words, check=False)
    kept = done.returncode == 1 and "sysctl" in done.stderr
    ledger.decide("a sysctl that is not of the endpoint's interface is refused", f"{text}: {REFUSED[text]}", kept=kept)
    assert kept, done.stderr
    assert stage.host.atoll("sandbox inspect refused", check=False).returncode == 1


def test_a_sysctl_that_the_kernel_lacks_is_an_error_without_trace(stage: Stage, ledger: Ledger) -> None:
    option = f"nat,driver-opt={OPTION}=net.ipv4.conf.IFNAME.no_such_thing=1"
    done = stage.host.atoll(["sandbox", "create", "refused", "--network", option], check=False)
    kept = done.returncode == 1 and "no_such_thing" in done.stderr
    ledger.decide("a sysctl that the kernel lacks is an error", "nat", kept=kept, seen=done.stderr.strip())
    assert kept, done.stderr
    assert stage.host.atoll("sandbox inspect refused", check=False).returncode == 1
