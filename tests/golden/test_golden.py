"""Whole cases as files: a world in, every step to build or mend it out, as people would type it.

A case is a folder. `case.json` has the records of the world, the host's facts, and `missing`:
patterns of lines whose items the kernel is without (default: all of them). `steps.txt` is the answer.
"""

import json
import re
from pathlib import Path

import pytest

from atoll.model.addresses import Family
from atoll.model.facts import HostFacts
from atoll.model.ops import Op, Verb
from atoll.model.world import World
from atoll.plan.compile import Scope, compile_scope
from atoll.plan.describe import line
from atoll.plan.diff import diff
from atoll.store.codec import decode_record

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/case.json"))


def load(folder: Path) -> tuple[World, HostFacts, frozenset[Family], list[str]]:
    case = json.loads((folder / "case.json").read_text())
    records = [
        decode_record(
            kind,
            record.get("id") or f"{record['source_id']}:{record['target_id']}",
            json.dumps(record).encode(),
            where=folder.name,
        )
        for kind, records in case["world"].items()
        for record in records
    ]
    nf_call = case.get("bridge_nf_call", False)
    facts = HostFacts(bridge_nf_call=dict.fromkeys(Family, nf_call), ipv6=case.get("host_ipv6", True))
    closed = frozenset(Family(family) for family in case.get("closed", ()))
    return World.of(records), facts, closed, case.get("missing", [".*"])


def steps_of(folder: Path) -> str:
    world, facts, closed, missing = load(folder)
    wanted = compile_scope(world, Scope.everything(world), facts, closed)
    there = {
        key: item
        for key, item in wanted.items()
        if not any(re.search(pattern, line(Op(Verb.ADD, item))) for pattern in missing)
    }
    return "".join(f"{line(op)}\n" for op in diff(wanted, there))


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_case(folder: Path, request: pytest.FixtureRequest) -> None:
    expected = folder / "steps.txt"
    steps = steps_of(folder)
    if request.config.getoption("--update-golden", default=False):
        expected.write_text(steps)
    assert steps == expected.read_text()


def test_there_are_cases() -> None:
    assert len(CASES) >= 10
