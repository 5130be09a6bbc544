"""Terminals by atoll's own command: typed into, left, come back to."""

import sys
from collections.abc import Callable, Iterator

import pytest

from atoll.lab.terminal import Terminal
from tests.support.contained import Docker, contained_host

Typed = Callable[..., Terminal]


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with contained_host("cliterm") as docker:
        yield docker


@pytest.fixture
def typed(docker: Docker) -> Typed:
    words = [sys.executable, "-m", "atoll", "--socket", str(docker.host.socket)]
    return lambda *arguments: Terminal([*words, *arguments])


def test_a_shell_in_a_terminal(typed: Typed) -> None:
    with typed("run", "--rm", "-it", "busybox", "sh") as shell:
        shell.read_until("# ")
        shell.type("tty; echo $((6 * 7)); exit 5\n")
        said = shell.read_rest()
        assert "/dev/pts/0" in said and "42" in said
        assert shell.wait() == 5


@pytest.mark.parametrize(("option", "keys"), [((), "\x10\x11"), (("--detach-keys", "ctrl-a,d"), "\x01d")])
def test_left_by_its_keys_it_runs_on(docker: Docker, typed: Typed, option: tuple[str, ...], keys: str) -> None:
    with typed("run", "-it", "--name", "left", *option, "busybox", "sh") as shell:
        shell.read_until("# ")
        shell.type("kept=yes\n")
        shell.read_until("# ")
        shell.type(keys)
        assert shell.wait() == 0
    assert docker("ps", "--format", "{{.Names}}") == "left"
    with typed("attach", *option, "left") as shell:
        shell.type("echo $kept$kept; exit 6\n")
        assert "yesyes" in shell.read_rest()
        assert shell.wait() == 6
    with typed("start", "-ai", "left") as shell:
        shell.type("exit 7\n")
        assert shell.wait() == 7
    docker("rm", "left")


def test_exec_in_a_terminal(docker: Docker, typed: Typed) -> None:
    docker("run", "--detach", "--name", "box", "busybox", "sleep", "1000")
    with typed("exec", "-it", "box", "sh") as shell:
        shell.read_until("# ")
        shell.type("exit 4\n")
        assert shell.wait() == 4
    with typed("exec", "-it", "--detach-keys", "x,y", "box", "sh") as shell:
        shell.read_until("# ")
        shell.type("xy")
        assert shell.wait() == 0
    docker("rm", "--force", "box")


def test_a_terminal_is_wanted_where_there_is_none(docker: Docker) -> None:
    import subprocess

    words = [sys.executable, "-m", "atoll", "--socket", str(docker.host.socket), "run", "--rm", "-it", "busybox"]
    done = subprocess.run(words, input="", capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, "not a TTY" in done.stderr) == (125, True)
