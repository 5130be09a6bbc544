"""The files of rules, the sets' types in the model, and the script that builds them, say the same."""

import re
from ipaddress import IPv4Address

import pytest

from atoll.kernel.nft.rules import MARK_CHAIN, Ruleset, build_script, load_rules, parse_rules
from atoll.model.firewall import SETS, PartType, SetType, TableFamily
from atoll.model.items import FENCES, Element

RULES = {family: load_rules(family) for family in TableFamily}
BASE = RULES[TableFamily.INET]
EACH = pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
TYPEOF = {PartType.IFNAME: "iifname", PartType.ETHER: "ether saddr"}


def declaration_of(kind: SetType) -> str:
    word, parts = "type", " . ".join(kind.parts)
    if PartType.TARGET in kind.parts:
        word, parts = "typeof", " . ".join(TYPEOF.get(part, part) for part in kind.parts)
    types = parts + (f" : {' . '.join(kind.data)}" if kind.data else "")
    return f"{{ {word} {types}; {'flags interval; ' if kind.interval else ''}{'counter; ' if kind.counted else ''}}}"


def sets_of(rules: Ruleset) -> list[SetType]:
    return [kind for kind in SETS.values() if kind.family is rules.family]


@EACH
def test_every_set_has_the_same_type_in_the_rules_and_in_the_model(rules: Ruleset) -> None:
    declared = [(name, kind == "map", text) for kind, name, text in rules.sets]
    assert declared == [(kind.name, bool(kind.data), declaration_of(kind)) for kind in sets_of(rules)]


@EACH
def test_rules_name_only_sets_that_exist_and_every_set_is_used(rules: Ruleset) -> None:
    used = {name for chain in rules.chains for rule in chain.rules for name in re.findall(r"@([a-z]\w+)\b(?!,)", rule)}
    assert used == {kind.name for kind in sets_of(rules)}


@pytest.mark.parametrize("name", [kind.name for kind in SETS.values() if kind.counted])
def test_one_rule_alone_counts_in_the_elements_of_a_set(name: str) -> None:
    rules = [rule for chain in RULES[SETS[name].family].chains for rule in chain.rules]
    assert sum(len(re.findall(rf"(?<!!= )@{name}\b", rule)) for rule in rules) == 1


@EACH
def test_jumps_lead_to_chains_that_exist_and_every_chain_is_reached(rules: Ruleset) -> None:
    targets = {
        name for chain in rules.chains for rule in chain.rules for name in re.findall(r"(?:goto|jump) (\w+)", rule)
    }
    assert targets == {chain.name for chain in rules.chains if not chain.hook}
    assert MARK_CHAIN not in {chain.name for chain in rules.chains}


def test_fences_are_sets() -> None:
    assert set(SETS) >= FENCES


def test_comments_and_layout_do_not_change_the_digest_but_rules_do() -> None:
    text = "table inet atoll {\n\tset a { type ifname; }\n\tchain c {\n\t\tiifname @a drop\n\t}\n}\n"
    assert parse_rules(text).digest == parse_rules(text.replace("drop\n", "drop   # why\n\n")).digest
    assert parse_rules(text).digest != parse_rules(text.replace("drop", "accept")).digest


def test_a_script_removes_what_is_there_before_it_builds() -> None:
    element = Element("any4", (6, 80), (IPv4Address("10.0.0.2"), 8080))
    lines = build_script(BASE, [element], old_chains=["old"], old_sets=[("m", True), ("s", False)]).splitlines()
    assert lines[:4] == [
        "flush table inet atoll",
        "delete chain inet atoll old",
        "delete map inet atoll m",
        "delete set inet atoll s",
    ]
    assert lines[-1] == "add element inet atoll any4 { tcp . 80 : 10.0.0.2 . 8080 }"
    assert sum(line.startswith("add rule") for line in lines) == sum(len(chain.rules) for chain in BASE.chains)
