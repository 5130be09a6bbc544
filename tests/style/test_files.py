"""What is in the repository: nothing of one machine, and what the README promises."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.style.tree import ROOT, tracked_files

OF_ONE_MACHINE = re.compile(
    r"/root/|/home/\w|/work/\w|\.\./shared|pyenv|pypi\.org|pythonhosted|npmjs\.|deb\.debian\.org|--(extra-)?index-url"
)
SELF = Path(__file__)

TEXT = [
    path
    for path in tracked_files()
    if path.suffix not in {".png", ".gif", ".pcap", ".db"} and not path.is_symlink() and path != SELF
]


def show(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_nothing_of_one_machine_is_tracked() -> None:
    found = [
        f"{show(path)}:{number}: {match.group()}"
        for path in TEXT
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := OF_ONE_MACHINE.search(line))
    ]
    assert not found


def test_text_ends_with_one_newline_and_has_no_trailing_blanks() -> None:
    wrong = [
        show(path)
        for path in TEXT
        if (text := path.read_text())
        and (not text.endswith("\n") or text.endswith("\n\n") or re.search(r"[ \t]+$", text, re.MULTILINE))
        and path.suffix not in {".txt", ".json", ".nft"}
    ]
    assert not wrong


@pytest.mark.parametrize(
    "command", ["git clone", "make demo", "make setup", "make test", ".venv/bin/atoll up", "docker -H"]
)
def test_readme_shows_the_command(command: str) -> None:
    assert command in (ROOT / "README.md").read_text()


def test_readme_commands_exist() -> None:
    """Every `make TARGET` of the documents is a target with a line in `make help`."""
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"make (\w+)", listed))
    assert {"setup", "demo", "test", "check", "bench", "install", "uninstall", "help", "clean", "golden"} <= targets
    for document in ROOT.glob("*.md"):
        named = set(re.findall(r"`?(?:^|[`\s])make (\w+)(?:`| [A-Z]+=|$)", document.read_text(), re.MULTILINE))
        assert named <= targets, f"{document.name} names {named - targets}"


def test_links_between_documents_lead_somewhere() -> None:
    for document in [path for path in TEXT if path.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{show(document)} links to {target}"


def test_ci_runs_the_tests() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_every_test_folder_is_described() -> None:
    described = (ROOT / "tests/README.md").read_text()
    for folder in {path.relative_to(ROOT / "tests").parts[0] for path in TEXT if path.is_relative_to(ROOT / "tests")}:
        if (ROOT / "tests" / folder).is_dir():
            assert f"`{folder}/`" in described, f"tests/README.md has no paragraph on {folder}"


def test_lock_files_name_every_dependency_with_hashes() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        for entry in re.split(r"\n(?=\S)", lock.read_text().strip()):
            assert re.match(r"[a-z0-9-]+==\S+ ", entry), entry[:60]
            assert "--hash=sha256:" in entry, entry[:60]
