"""Network namespaces for tests: made, entered by throw-away threads, deleted."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CDLL, get_errno
from pathlib import Path
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
LIBC = CDLL(None, use_errno=True)


@contextmanager
def namespace(purpose: str) -> Iterator[str]:
    """A fresh namespace with loopback up; its name is yielded."""
    name = f"at-test-{purpose}-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        run(name, "ip link set lo up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def path_of(name: str) -> Path:
    return Path("/run/netns") / name


def run(name: str, command: str) -> str:
    """Run a command line of plain words in a namespace; its output."""
    enter = ["nsenter", f"--net={path_of(name)}"]
    done = subprocess.run([*enter, *command.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@contextmanager
def running(name: str, command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process in a namespace, ended with the block."""
    process = subprocess.Popen(
        ["nsenter", f"--net={path_of(name)}", *command], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def enter(name: str) -> None:
    """Let the calling thread be in a namespace."""
    descriptor = os.open(path_of(name), os.O_RDONLY)
    if LIBC.setns(descriptor, CLONE_NEWNET):
        raise OSError(get_errno(), f"setns {name}")
    os.close(descriptor)


def inside(name: str, function: Callable[[], T]) -> T:
    """The result of `function`, called by a thread that is in the namespace."""
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            enter(name)
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=call)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def eventually(condition: Callable[[], T], *, seconds: float = 5) -> T:
    """The first true result of `condition`, asked every 20 ms."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.02)
    return result
