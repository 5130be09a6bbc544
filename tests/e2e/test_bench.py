"""Every benchmark runs to its end in its smallest form, and is written down. How fast is no matter here."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import SUBJECTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_subject_measures_and_is_written_down(subject: str, tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    command = [sys.executable, "-m", "bench", subject, "--effort", "smallest", "--write", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as bench:
        _, said = bench.communicate()
    assert bench.returncode == 0, said
    page = file.read_text()
    assert "| kernel |" in page and "half of all" in page
    assert not list(Path("/run/netns").glob(f"atoll-lab-{bench.pid}-*")), "namespaces are left"
