"""Help, reference and completion are made of the parser; examples are real command lines; start-up stays cheap."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll.cli.command import Command
from atoll.cli.completion import SCRIPTS, complete
from atoll.cli.http import Client
from atoll.cli.parser import build_parser
from atoll.cli.reference import reference
from tests.support.http_server import serve

ROOT = Path(__file__).parents[2]
NOT_ON_THE_FAST_PATH = {
    "aiohttp", "asyncio", "contextlib", "csv", "ctypes", "dataclasses", "difflib", "email", "http", "inspect",
    "ipaddress", "logging", "msgspec", "pathlib", "pyroute2", "rich", "shutil", "ssl", "subprocess", "tempfile",
    "typing", "urllib",
    "atoll.api", "atoll.daemon", "atoll.engine", "atoll.ipam", "atoll.kernel", "atoll.lab", "atoll.model", "atoll.plan",
    "atoll.store",
}  # fmt: skip


def commands(command: Command) -> Iterator[Command]:
    for name, inner in command.filled().commands.items():
        if not name.startswith("_"):
            yield inner.filled()
            yield from commands(inner)


ALL = {command.prog: command for command in commands(build_parser())}


def test_reference_is_what_the_generator_writes() -> None:
    assert (ROOT / "docs/cli.md").read_text() == reference(), "python -m atoll.cli.reference >docs/cli.md"


@pytest.mark.parametrize("prog", ALL)
def test_every_command_has_help_with_examples_that_parse(prog: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ALL[prog]
    assert command.examples
    for line in command.examples:
        assert line.startswith("atoll ")
        assert command.commands or line.startswith(f"{prog}")
        words = shlex.split(line.partition(" >")[0])[1:]
        if words[:1] != ["demo"]:
            build_parser().parse_args(words)
    if prog != "atoll demo":
        with pytest.raises(SystemExit) as exit:
            build_parser().parse_args([*prog.split()[1:], "-h"])
        assert exit.value.code == 0
        assert f"  {command.examples[0]}" in capsys.readouterr().out


CHANGING = (*("run", "create", "start", "stop", "restart", "kill", "pause", "unpause", "rm", "rename", "update"),)


def test_commands_that_change_something_can_run_dry() -> None:
    changing = {prog for prog, command in ALL.items() if "--dry-run" in command.format_usage()}
    assert changing == {
        *(f"atoll network {verb}" for verb in ["create", "rm", "prune", "connect", "disconnect", "allow", "disallow"]),
        *(f"atoll sandbox {verb}" for verb in ["create", "rm"]),
        *(f"atoll {verb}" for verb in ["up", "down", "purge", *CHANGING]),
        *(f"atoll container {verb}" for verb in [*CHANGING, "prune"]),
        *(f"atoll volume {verb}" for verb in ["create", "rm", "prune"]),
    }


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["netw"], ["network"]),
        (["network", "dis"], ["disallow", "disconnect"]),
        (["network", "ls", "--no"], ["--no-trunc"]),
        (["network", "inspect", ""], ["back", "front"]),
        (["network", "rm", "front", "b"], ["back"]),
        (["network", "connect", "front", ""], ["db", "web"]),
        (["network", "connect", "--ip", "10.0.0.1", "front", "w"], ["web"]),
        (["network", "connect", "--ip", ""], []),
        (["network", "connect", "front", "web", ""], []),
        (["sandbox", "exec", "w"], ["web"]),
        (["sandbox", "create", "x", "--network", "f"], ["front"]),
        (["port", ""], ["db", "web"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["logs", ""], ["box", "job"]),
        (["rm", "box", "j"], ["job"]),
        (["run", "--join", "b"], ["box"]),
        (["run", "--rm", "busy"], ["busybox:latest"]),
        (["volume", "rm", ""], ["kept"]),
        (["run", "--pull", ""], ["always", "missing", "never"]),
        (["nonsense", ""], []),
    ],
)
def test_completes_commands_options_and_names(tmp_path: Path, words: list[str], found: list[str]) -> None:
    with serve(tmp_path / "s") as exchange:
        exchange.answers["GET /networks"] = (200, [{"Name": "front"}, {"Name": "back"}])
        exchange.answers["GET /atoll/sandboxes"] = (200, [{"Name": "web"}, {"Name": "db"}])
        exchange.answers["GET /containers/json"] = (200, [{"Names": ["/box"]}, {"Names": ["/job"]}])
        exchange.answers["GET /images/json"] = (200, [{"RepoTags": ["busybox:latest"]}, {"RepoTags": []}])
        exchange.answers["GET /volumes"] = (200, {"Volumes": [{"Name": "kept"}]})
        assert complete(words, Client(str(tmp_path / "s"))) == found
        assert complete(["--socket", str(tmp_path / "s"), *words], Client("/nonexistent")) == found


def test_completes_all_commands_and_none_that_is_hidden() -> None:
    assert set(complete([""], Client("/nonexistent"))) == set(build_parser().commands) - {"__complete"}
    assert complete(["network", "rm", ""], Client("/nonexistent")) == []


def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    with serve(tmp_path / "s") as exchange:
        exchange.answers["GET /networks"] = (200, [{"Name": "front"}, {"Name": "back"}])
        program = (
            f'atoll() {{ "{sys.executable}" -m atoll "$@"; }}\n{SCRIPTS["bash"]}'
            'COMP_WORDS=(atoll network rm f); COMP_CWORD=3; _atoll; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "-c", program],
            env={"ATOLL_SOCKET": str(tmp_path / "s")},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "front\n"


def test_the_fast_path_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from atoll.cli.main import main; main(['network', 'ls']);"
        "import json; print(json.dumps(sorted(sys.modules)))"
    )
    with serve(tmp_path / "s") as exchange:
        exchange.answers["GET /networks"] = (
            200,
            [{"Id": "1" * 64, "Name": "a1", "Driver": "bridge", "Scope": "local"}],
        )
        # -S: what site-packages' .pth files import is not ours.
        done = subprocess.run(
            [sys.executable, "-S", "-c", program],
            env={"ATOLL_SOCKET": str(tmp_path / "s"), "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=True,
        )
    table, row, modules = done.stdout.splitlines()
    assert table.startswith("NETWORK ID")
    assert row.startswith("111111111111")
    assert NOT_ON_THE_FAST_PATH.isdisjoint(json.loads(modules))
