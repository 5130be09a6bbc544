"""A start on a host that is right does nothing; one after a reboot makes everything anew, and can be broken off."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from atoll.kernel.kernel import Kernel, Locate
from atoll.model.ops import Step
from atoll.plan.describe import line
from atoll.plan.driver import Naming
from tests.fault.dying import DyingKernel, Fuse
from tests.fault.scenarios import a_full_sandbox
from tests.fault.test_kill import Hosts, check, recover
from tests.support.engines import EngineHost, in_child, make_engine, settle, was_killed


class TellingKernel(DyingKernel):
    """Writes down every step that it is asked for."""

    def __init__(self, kernel: Kernel, said: Path) -> None:
        super().__init__(kernel, Fuse(None, kills=False))
        self._said = said

    def execute(self, steps: Sequence[Step], locate: Locate) -> None:
        """Say it, and do it."""
        if steps:
            with self._said.open("a") as log:
                log.writelines(f"{line(step)}\n" for step in steps)
        super().execute(steps, locate)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(tmp_path)
    yield made
    made.remove()


def prepared(hosts: Hosts) -> EngineHost:
    host = hosts.fresh()

    def prepare() -> None:
        # So that a network has a further bridge, too.
        engine = make_engine(host, seed="prepared", naming=Naming(endpoints_max=1))
        engine.start()
        a_full_sandbox(engine)
        engine.allow("web", "back")
        settle(engine)

    assert in_child(host, prepare) == 0
    return host


def reboot(host: EngineHost) -> None:
    """What a reboot takes: the host's namespace and the mounts of its sandboxes. The store stays."""
    for mount in host.netns_directory.iterdir():
        subprocess.run(["umount", "-l", str(mount)], check=True)
        mount.unlink()
    name = Path(host.netns).name
    subprocess.run(["ip", "netns", "del", name], check=True)
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)


def test_a_start_on_a_host_that_is_right_does_nothing(hosts: Hosts) -> None:
    host = prepared(hosts)
    said = host.state / "said"

    def start_again() -> None:
        engine = make_engine(host, seed="again", wrap_kernel=lambda kernel: TellingKernel(kernel, said))
        engine.start()
        settle(engine)
        engine.sweep()
        settle(engine)

    assert in_child(host, start_again) == 0
    assert not said.exists(), said.read_text()


def test_a_reboot_is_made_good_and_can_be_broken_off_anywhere(hosts: Hosts, tally: Callable[[str, int], None]) -> None:
    host = prepared(hosts)
    wanted = recover(host)
    broken_off = 0
    for point in range(200):
        reboot(host)
        fuse = Fuse(point, kills=True)
        fuse.armed = True

        def start_and_die(fuse: Fuse, host: EngineHost) -> None:
            engine = make_engine(host, wrap_kernel=lambda kernel: DyingKernel(kernel, fuse))
            engine.start()
            settle(engine)

        killed = was_killed(in_child(host, partial(start_and_die, fuse, host)))
        broken_off += killed
        check(f"rebooted, killed at point {point}", recover(host), wanted)
        if not killed:
            break
    tally("kill points of a rebuild", broken_off)
    print(f"\nrebuild after a reboot: {broken_off} kill points")
    assert broken_off > 40
