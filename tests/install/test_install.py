"""`make install` and `make uninstall` into a directory that plays the root of a machine."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*words: str) -> subprocess.CompletedProcess[str]:
    # .venv is there, or these tests would not run: what `make install` needs first is not made again.
    command = ["make", "--old-file=.venv/run.stamp", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environment
    )


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("root")
    (made / "etc/systemd/system").mkdir(parents=True)
    (made / "etc/systemd/system/other.service").write_text("[Service]\nExecStart=/bin/true\n")
    done = make("install", f"DESTDIR={made}")
    assert done.returncode == 0, done.stdout + done.stderr
    yield made


def test_command_runs_and_names_the_final_place(root: Path) -> None:
    command = root / "usr/local/bin/atoll"
    assert command.readlink() == Path("/opt/atoll/bin/atoll")
    assert (root / "opt/atoll/bin/atoll").read_text().startswith("#!/opt/atoll/bin/python")
    python = root / "opt/atoll/bin/python"
    done = subprocess.run([python, "-I", "-m", "atoll", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "atoll"), done.stderr
    where = subprocess.run(
        [python, "-I", "-c", "import atoll; print(atoll.__file__)"], capture_output=True, text=True, check=True
    )
    assert where.stdout.startswith(str(root))


def test_installed_modules_are_the_source_tree(root: Path) -> None:
    (installed,) = (root / "opt/atoll/lib").glob("python3.*/site-packages/atoll")
    source = ROOT / "src/atoll"

    def names(top: Path) -> set[str]:
        return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file() and path.suffix != ".pyc"}

    assert names(installed) == names(source)


def test_unit_is_valid_and_leaves_containers_alone(root: Path, tmp_path: Path) -> None:
    unit = root / "etc/systemd/system/atoll.service"
    text = unit.read_text()
    assert "KillMode=process" in text
    assert "Type=notify" in text
    assert "@" not in text
    # Units that it refers to have to be found below the same root.
    shutil.copytree(root / "etc/systemd/system", tmp_path / "etc/systemd/system")
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "opt/atoll/bin").mkdir(parents=True)
    shutil.copy(root / "opt/atoll/bin/atoll", tmp_path / "opt/atoll/bin/atoll")
    command = ["systemd-analyze", "verify", f"--root={tmp_path}", "--man=no", str(tmp_path / unit.relative_to(root))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "path",
    [
        "usr/share/bash-completion/completions/atoll",
        "usr/share/zsh/vendor-completions/_atoll",
        "usr/share/fish/vendor_completions.d/atoll.fish",
    ],
)
def test_shells_complete(root: Path, path: str) -> None:
    assert "__complete" in (root / path).read_text()


def test_a_directory_of_others_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "usr/local/bin/precious").touch()
    done = make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr/local")
    assert done.returncode != 0
    assert "a directory of its own" in done.stderr
    assert make("uninstall", f"DESTDIR={tmp_path}", "PREFIX=/usr/local", "PURGE=1").returncode == 0
    assert (tmp_path / "usr/local/bin/precious").exists()


def test_uninstall_leaves_nothing_of_ours(root: Path) -> None:
    state = root / "var/lib/atoll"
    state.mkdir(parents=True)
    (state / "records.db").touch()

    kept = make("uninstall", f"DESTDIR={root}")
    assert kept.returncode == 0, kept.stderr
    assert files(root) == {"etc/systemd/system/other.service", "var/lib/atoll/records.db"}
    assert "PURGE=1" in kept.stdout

    assert make("uninstall", f"DESTDIR={root}", "PURGE=1").returncode == 0
    assert files(root) == {"etc/systemd/system/other.service"}
    assert not state.exists()
    assert make("uninstall", f"DESTDIR={root}", "PURGE=1").returncode == 0, "twice is no error"
