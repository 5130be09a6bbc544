"""Every gateway mode, asked from everywhere: closed is closed, open is open, and each sees whom it must."""

from tests.e2e.security.cells import every_cell, every_pair
from tests.e2e.security.ledger import Ledger
from tests.e2e.security.stage import Stage, ask_all
from tests.e2e.security.table import failing, render, render_pairs

CELLS_MIN = 1500
PAIRS_MIN = 1000


def test_every_cell_comes_out_as_the_rules_say(stage: Stage, ledger: Ledger) -> None:
    cells = list(every_cell(hostile=stage.hostile))
    results = ask_all(stage, cells)
    text = render(results, ledger.surroundings)
    ledger.text(text)
    print(f"\n{text}\n{len(results)} cells")
    assert len(results) == len(cells) >= CELLS_MIN
    wrong = failing(results)
    assert not wrong, f"{len(wrong)} of {len(results)} cells:\n" + "\n".join(wrong)


def test_networks_meet_each_other_like_outside_hosts(stage: Stage, ledger: Ledger) -> None:
    cells = list(every_pair(hostile=stage.hostile))
    results = ask_all(stage, cells)
    text = render_pairs(results, ledger.surroundings)
    ledger.text(text)
    print(f"\n{text}\n{len(results)} cells")
    assert len(results) == len(cells) >= PAIRS_MIN
    wrong = failing(results)
    assert not wrong, f"{len(wrong)} of {len(results)} cells:\n" + "\n".join(wrong)
