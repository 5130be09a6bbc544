"""`atoll demo` passes every step in time, fails when something is wrong, and leaves nothing behind."""

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from atoll.lab.story import Story
from tests.support.dockerd import docker_command

DEMO_MAX_S = 20
DOCKER_DEMO_MAX_S = 40
MARK = f"TEST_DEMO_MARK={os.getpid()}".encode()


def start(*scenario: str) -> "subprocess.Popen[str]":
    """The demo, with a mark in its environment that everything it starts inherits, and docker's command."""
    path = f"{os.environ['PATH']}:{Path(docker_command()).parent}"
    return subprocess.Popen(
        # A shell's background job, and all below it, begins with SIGINT ignored.
        ["env", "--default-signal=INT", sys.executable, "-m", "atoll", "demo", *scenario],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TEST_DEMO_MARK": str(os.getpid()), "PATH": path},
    )


def left_by(pid: int) -> list[Path]:
    """Namespaces and directories of the demo of this process, and processes that it started."""
    places = (Path("/run/netns"), Path(tempfile.gettempdir()))
    found = [path for place in places for path in place.glob(f"atoll-lab-{pid}-*")]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if MARK in (process / "environ").read_bytes():
                found.append(process)
    return found


def links() -> str:
    return subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout


def test_every_step_passes_in_time_and_nothing_stays_behind() -> None:
    before, begun = links(), time.monotonic()
    demo = start()
    printed, _ = demo.communicate(timeout=90)
    took_s = time.monotonic() - begun
    assert demo.returncode == 0, printed
    assert "FAIL" not in printed and printed.count("PASS") >= 2 * 12, printed
    assert took_s < DEMO_MAX_S, f"{took_s:.1f} s"
    assert not left_by(demo.pid)
    assert links() == before


def mounts(pid: int) -> set[str]:
    """Those of the demo of this process."""
    return set(re.findall(rf"\S*atoll-lab-{pid}-\S*", Path("/proc/self/mountinfo").read_text()))


def test_the_session_typed_with_dockers_command_passes_and_leaves_nothing() -> None:
    """A container's own programs have other environments, but conmon above each has the mark."""
    before, begun = links(), time.monotonic()
    demo = start("docker")
    printed, _ = demo.communicate(timeout=90)
    took_s = time.monotonic() - begun
    assert demo.returncode == 0, printed
    assert "FAIL" not in printed and printed.count("PASS") >= 2 * 10, printed
    assert took_s < DOCKER_DEMO_MAX_S, f"{took_s:.1f} s"
    assert not left_by(demo.pid)
    assert (links(), mounts(demo.pid)) == (before, set())


def test_an_interrupted_demo_cleans_up() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        demo = start()
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Two sandboxes" in line:
                break
        assert left_by(demo.pid)
        demo.send_signal(number)
        demo.communicate(timeout=30)
        assert demo.returncode != 0
        assert not left_by(demo.pid), number


def test_a_check_that_does_not_hold_fails_its_step_and_the_whole() -> None:
    printed = io.StringIO()
    story = Story(printed)
    with story.step("good"):
        story.check("water is wet", True)
    assert story.passed
    with story.step("bad"):
        story.check("fire is cold", False, "800 degrees")
    with story.step("broken"):
        raise OSError(os.strerror(1))
    story.close()
    assert not story.passed
    assert [bool(result.failed) for result in story.results] == [False, True, True]
    assert "800 degrees" in printed.getvalue() and "OSError" in printed.getvalue()
