"""A table's rules as parts, and the nft script that builds them inside a table that is there.

A `table inet atoll { ... }` block can't be used: nft 1.0.6 compares the table's flags, and can't
spell `persist`. So the block is read once and written as commands, one a line.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from atoll.model.firewall import SETS, TableFamily, element_text
from atoll.model.items import Element

MARK_CHAIN = "version"
"""An empty chain whose comment says what was built; see `table.py`."""

_ELEMENTS_A_LINE = 500
_DECLARATION = re.compile(r"(set|map)\s+(\w+)\s*(\{.*\})\Z")
_TABLE = re.compile(r"table\s+(\w+) atoll\s*\{\Z")
_CHAIN = re.compile(r"chain\s+(\w+)\s*\{\Z")
_COMMENT = re.compile(r'(?:^|\s)#[^"]*\Z')


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain: `hook` is its `type ... hook ...` line, "" unless it is a base chain; `rules` in order."""

    name: str
    hook: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What a file of rules says. `sets` has (set or map, name, `{ type ... }`); `digest` stands for the text."""

    family: TableFamily
    sets: tuple[tuple[str, str, str], ...]
    chains: tuple[Chain, ...]
    digest: str


def load_rules(family: TableFamily) -> Ruleset:
    """The rules of this version for our table of a family. Effects: reads the package's FAMILY.nft."""
    return parse_rules(files("atoll.kernel.nft").joinpath(f"{family}.nft").read_text())


def parse_rules(source: str) -> Ruleset:
    """Read the text of one table; sets and rules stand on one line each."""
    sets: list[tuple[str, str, str]] = []
    chains: list[Chain] = []
    family = None
    name, hook, rules = "", "", list[str]()
    for raw in source.splitlines():
        line = _COMMENT.sub("", raw).strip()
        if match := _DECLARATION.match(line):
            sets.append((match[1], match[2], match[3]))
        elif match := _TABLE.match(line):
            family = TableFamily(match[1])
        elif match := _CHAIN.match(line):
            name, hook, rules = match[1], "", []
        elif line == "}" and name:
            chains.append(Chain(name, hook, tuple(rules)))
            name = ""
        elif name and line.startswith("type "):
            hook = line
        elif name and line:
            rules.append(line)
        else:
            assert line in ("", "}"), f"rules: {raw!r}"
    assert family is not None, "rules without a table"
    content = repr((sets, chains))
    return Ruleset(family, tuple(sets), tuple(chains), hashlib.sha256(content.encode()).hexdigest()[:16])


def build_script(
    rules: Ruleset,
    elements: Iterable[Element],
    *,
    old_chains: Iterable[str] = (),
    old_sets: Iterable[tuple[str, bool]] = (),
    missing: bool = False,
) -> str:
    """Commands that turn the table's content into the rules and those of `elements` that are its own, whatever it was.

    `old_chains` and `old_sets` (name, whether a map) are there now; all go and come in the same transaction, so no
    packet meets a table without rules. `missing`: there is no table yet.
    """
    where = rules.family.table
    lines = [f"{'add' if missing else 'flush'} table {where}"]
    lines += [f"delete chain {where} {name}" for name in old_chains]
    lines += [f"delete {'map' if is_map else 'set'} {where} {name}" for name, is_map in old_sets]
    lines += [f"add {kind} {where} {name} {spec}" for kind, name, spec in rules.sets]
    for chain in rules.chains:  # all of them before any rule, for the sake of jumps
        lines.append(f"add chain {where} {chain.name}" + (f" {{ {chain.hook} }}" if chain.hook else ""))
    for chain in rules.chains:
        lines += [f"add rule {where} {chain.name} {rule}" for rule in chain.rules]
    own = (element for element in elements if SETS[element.set].family is rules.family)
    return "\n".join(lines + _element_lines(where, own)) + "\n"


def _element_lines(where: str, elements: Iterable[Element]) -> list[str]:
    texts: dict[str, list[str]] = {}
    for element in elements:
        texts.setdefault(element.set, []).append(element_text(element)[2:-2])
    return [
        f"add element {where} {name} {{ {', '.join(rows[start : start + _ELEMENTS_A_LINE])} }}"
        for name, rows in texts.items()
        for start in range(0, len(rows), _ELEMENTS_A_LINE)
    ]
