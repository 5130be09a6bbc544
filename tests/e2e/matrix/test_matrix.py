"""Every published form, asked from everywhere: closed is closed, and open shows the right client."""

from pathlib import Path

import pytest

from tests.e2e.matrix.cells import every_cell
from tests.e2e.matrix.scene import ask_all, outcome, stage
from tests.e2e.matrix.table import failing, render

BUILD = Path(__file__).parents[3] / "build"
CELLS_MIN = 150


@pytest.mark.parametrize("bridge_nf_call", [0, 1])
def test_every_cell_comes_out_as_the_rules_say(bridge_nf_call: int) -> None:
    cells = list(every_cell(bridge_nf_call))
    with stage(bridge_nf_call) as scene:
        results = {cell: outcome(scene, cell, answer) for cell, answer in ask_all(scene, cells).items()}
    text = render(results, bridge_nf_call)
    BUILD.mkdir(exist_ok=True)
    (BUILD / f"packet-matrix-{bridge_nf_call}.txt").write_text(text)
    print(f"\n{text}\n{len(results)} cells")
    assert len(results) == len(cells) >= CELLS_MIN
    wrong = failing(results)
    assert not wrong, f"{len(wrong)} of {len(results)} cells:\n" + "\n".join(wrong)
