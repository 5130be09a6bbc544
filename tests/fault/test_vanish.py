"""A namespace of somebody else's that dies at any step of its attachment: said in those words, and nothing stays."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from atoll.engine.engine import Engine
from atoll.errors import ApplyFailed, NotFound
from atoll.kernel.kernel import Kernel, Locate, StepFailed
from atoll.model.ops import Step
from atoll.model.sandbox import EndpointRequest, SandboxRequest
from tests.fault.dying import DyingKernel, Fuse
from tests.fault.scenarios import two_networks
from tests.fault.test_kill import Hosts, check, recover
from tests.netns.namespaces import eventually
from tests.support.engines import EngineHost, in_child, make_engine, settle
from tests.support.snapshot import run_in


class VanishingKernel(DyingKernel):
    """Deletes somebody else's namespace before a step, counted from 0, once it is armed."""

    def __init__(self, kernel: Kernel, name: str, point: int) -> None:
        super().__init__(kernel, Fuse(None, kills=False))
        self._name = name
        self._left = point
        self.armed = False
        self.gone = False

    def execute(self, steps: Sequence[Step], locate: Locate) -> None:
        """Do the steps, some of them without the namespace."""
        if not self.armed or self.gone or self._left >= len(steps):
            self._left -= len(steps) if self.armed else 0
            super().execute(steps, locate)
            return
        before, self.gone = self._left, True
        super().execute(steps[:before], locate)
        subprocess.run(["ip", "netns", "del", self._name], check=True)
        try:
            super().execute(steps[before:], locate)
        except StepFailed as stop:
            raise StepFailed(before + stop.index, stop.error) from stop.error


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(tmp_path)
    yield made
    made.remove()


def nothing(engine: Engine, path: str) -> None:
    """The namespace isn't attached yet."""


def attach(engine: Engine, path: str) -> None:
    endpoints = (EndpointRequest("web"), EndpointRequest("back"))
    engine.create_sandbox(SandboxRequest("box", netns_path=path, endpoints=endpoints))


def connect(engine: Engine, path: str) -> None:
    engine.connect("web", "box", EndpointRequest("web"))


def attached_to_one(engine: Engine, path: str) -> None:
    engine.create_sandbox(SandboxRequest("box", netns_path=path, endpoints=(EndpointRequest("back"),)))


Verb = Callable[[Engine, str], None]


def vanish(host: EngineHost, name: str, point: int, prepare: Verb, act: Verb) -> None:
    """Act on a namespace that dies at a point, and write down how that ended: "" when there are fewer points."""
    path = f"/run/netns/{name}"
    kernels: list[VanishingKernel] = []

    def wrap(kernel: Kernel) -> Kernel:
        kernels.append(VanishingKernel(kernel, name, point))
        return kernels[0]

    engine = make_engine(host, seed="vanish", wrap_kernel=wrap)
    engine.start()
    two_networks(engine)
    prepare(engine, path)
    settle(engine)
    kernels[0].armed = True
    ended = "done"
    try:
        act(engine, path)
    except NotFound as error:
        assert path in error.message
        assert isinstance(error.__cause__, ApplyFailed)
        assert not error.__cause__.stuck, error.__cause__.stuck
        ended = "told"
    if kernels[0].gone:
        # A namespace that dies takes its cables along a little later.
        eventually(lambda: "atoll:endpoint" not in run_in(host.netns, "ip", "-d", "link"))
    (host.state / "ended").write_text(ended if kernels[0].gone else "")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("prepare", "act"), [(nothing, attach), (attached_to_one, connect)], ids=["attach", "connect"])
def test_namespace_that_dies_while_it_is_attached(hosts: Hosts, tmp_path: Path, prepare: Verb, act: Verb) -> None:
    name = f"atoll-vanish-{tmp_path.name}"[:60]
    host = hosts.fresh()
    assert in_child(host, partial(vanish, host, name, 0, nothing, nothing)) == 0
    wanted = recover(host)
    told = 0
    for point in range(200):
        host = hosts.fresh()
        subprocess.run(["ip", "netns", "add", name], check=True)
        try:
            assert in_child(host, partial(vanish, host, name, point, prepare, act)) == 0
        finally:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        ended = (host.state / "ended").read_text()
        if not ended:
            break
        check(f"vanished at point {point}", recover(host), wanted)
        told += ended == "told"
    print(f"\n{point} points, {told} of them told")
    assert told > 5
