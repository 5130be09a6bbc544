"""Rules of others: read from nft's and iptables' own output, and walked by packets of ours."""

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.doctor.walk import Packet, outcome_of
from atoll.kernel.diagnosis.iptables_listing import parse_save
from atoll.kernel.diagnosis.nft_listing import parse_listing, rule_texts
from atoll.model.addresses import Family
from atoll.model.ruleset import Chain, Field, Match, Rule, Ruleset, Tool, Verdict

OUT = Packet(Family.V4, iif="atoll0", oif="eth0", source=ip_address("172.17.0.2"), protocol=6)
IN = Packet(
    Family.V4,
    iif="eth0",
    oif="atoll0",
    states=frozenset({"new", "dnat"}),
    destination=ip_address("172.17.0.2"),
    protocol=6,
    port=80,
)


def saved(*rules: str, policy: str = "ACCEPT", chains: str = "") -> Ruleset:
    """An iptables filter table whose FORWARD chain has these rules."""
    declared = "".join(f":{name} - [0:0]\n" for name in chains.split())
    text = f"*filter\n:FORWARD {policy} [0:0]\n{declared}" + "\n".join(rules) + "\nCOMMIT\n"
    return Ruleset(parse_save(text, Tool.LEGACY, "ip"))


def listed(*expressions: list[dict[str, Any]], policy: str = "accept") -> Ruleset:
    """An nft forward chain with a rule of each of these expressions."""
    where = {"family": "inet", "table": "t"}
    base = {**where, "name": "c", "type": "filter", "hook": "forward", "prio": 0, "policy": policy}
    rules = [{"rule": {**where, "chain": "c", "handle": 9 + i, "expr": e}} for i, e in enumerate(expressions)]
    return Ruleset(parse_listing(json.dumps({"nftables": [{"metainfo": {}}, {"chain": base}, *rules]}), ""))


def verdict(ruleset: Ruleset, packet: Packet) -> str:
    outcome = outcome_of(ruleset, ruleset.base_chains("forward")[0], packet)
    return outcome.verdict if outcome.certain else f"perhaps {outcome.verdict}"


@pytest.mark.parametrize(
    ("rules", "out", "into"),
    [
        ((), "drop", "drop"),
        (("-A FORWARD -i atoll0 -j ACCEPT",), "accept", "drop"),
        (("-A FORWARD -i atoll+ -j ACCEPT", "-A FORWARD -o atoll+ -j ACCEPT"), "accept", "accept"),
        (("-A FORWARD ! -i docker0 -o eth0 -j ACCEPT",), "accept", "drop"),
        (("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",), "drop", "drop"),
        (("-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT",), "drop", "accept"),
        (("-A FORWARD -s 172.16.0.0/12 -j ACCEPT",), "accept", "perhaps drop"),
        (("-A FORWARD ! -d 172.16.0.0/12 -j ACCEPT",), "perhaps drop", "drop"),
        (("-A FORWARD -s 0.0.0.0/0 -j ACCEPT",), "accept", "accept"),
        (("-A FORWARD -p udp -j ACCEPT", "-A FORWARD -p tcp -m tcp --dport 79:80 -j ACCEPT"), "perhaps drop", "accept"),
        (("-A FORWARD -p tcp -m multiport --dports 22,443 -j ACCEPT",), "perhaps drop", "drop"),
        (("-A FORWARD -m mark --mark 0x1 -j ACCEPT",), "perhaps drop", "perhaps drop"),
        (("-A FORWARD -j LOG --log-prefix 'a b'", "-A FORWARD -j ACCEPT"), "accept", "accept"),
        (('-A FORWARD -m comment --comment "it\'s ours" -j ACCEPT',), "accept", "accept"),
        (("-A FORWARD -s nonsense -j ACCEPT",), "perhaps drop", "perhaps drop"),
    ],
)
def test_iptables_rules_decide(rules: tuple[str, ...], out: str, into: str) -> None:
    ruleset = saved(*rules, policy="DROP")
    assert (verdict(ruleset, OUT), verdict(ruleset, IN)) == (out, into)


def test_jumps_come_back_and_gotos_do_not() -> None:
    rules = (
        "-A one -i atoll0 -j RETURN",
        "-A one -j DROP",
        "-A two -m limit --limit 1/sec -j RETURN",
        "-A two -j two",
        "-A FORWARD -j one",
        "-A FORWARD -g two",
        "-A FORWARD -j DROP",
    )
    ruleset = saved(*rules, chains="one two")
    assert (verdict(ruleset, OUT), verdict(ruleset, IN)) == ("perhaps accept", "drop")


def test_a_rule_that_may_not_fit_is_no_drop() -> None:
    assert verdict(saved("-A FORWARD -m recent --rcheck -j DROP"), OUT) == "accept"
    assert verdict(saved("-A FORWARD -m recent --rcheck -j one", "-A one -j DROP", chains="one"), OUT) == "accept"


def test_the_command_that_removes_a_rule_is_its_own() -> None:
    text = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080\n"
    (chain,) = parse_save(text, Tool.LEGACY, "ip6")
    assert (chain.hook, chain.kind, chain.priority) == ("prerouting", "nat", -100)
    assert chain.rules[0].verdict is Verdict.TRANSLATE
    assert chain.rules[0].removal == (
        "ip6tables-legacy -t nat -D PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080"
    )


def matching(left: Any, right: Any, op: str = "==", then: str = "drop") -> list[dict[str, Any]]:
    return [{"match": {"op": op, "left": left, "right": right}}, {"counter": {"packets": 1, "bytes": 2}}, {then: None}]


IIF = {"meta": {"key": "iifname"}}
SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}


@pytest.mark.parametrize(
    ("expression", "out", "into"),
    [
        (matching(IIF, "atoll0"), "drop", "accept"),
        (matching(IIF, {"set": ["eth0", "lo"]}), "accept", "drop"),
        (matching(IIF, "at*"), "drop", "accept"),
        (matching(IIF, "eth0", op="!="), "drop", "accept"),
        (matching({"ct": {"key": "state"}}, ["established", "related"], op="in"), "accept", "accept"),
        (matching({"ct": {"key": "state"}}, {"|": ["new", "related"]}, op="in"), "drop", "drop"),
        (matching({"ct": {"key": "status"}}, "dnat", op="in"), "accept", "drop"),
        (matching(SADDR, {"prefix": {"addr": "172.16.0.0", "len": 12}}), "drop", "accept"),
        (matching(SADDR, {"range": ["172.17.0.0", "172.17.0.9"]}), "drop", "accept"),
        (matching(SADDR, {"set": [{"elem": {"val": "172.17.0.2"}}]}), "drop", "accept"),
        (matching({"payload": {"protocol": "ip6", "field": "saddr"}}, "::/0"), "accept", "accept"),
        (matching(SADDR, "@blocked"), "accept", "accept"),
        (matching(DPORT, {"range": [80, 90]}), "accept", "drop"),
        (matching({"meta": {"key": "l4proto"}}, {"set": ["tcp", "udp"]}), "drop", "drop"),
        (matching({"meta": {"key": "nfproto"}}, "ipv6"), "accept", "accept"),
        (matching({"fib": {"result": "type", "flags": ["daddr"]}}, "local"), "accept", "accept"),
        (matching({"meta": {"key": "mark"}}, 1), "accept", "accept"),
        ([{"xt": {"type": "match", "name": "conntrack"}}, {"drop": None}], "accept", "accept"),
        ([{"xt": {"type": "target", "name": "REJECT"}}], "drop", "drop"),
        ([{"xt": None}], "accept", "accept"),
        ([{"limit": {"rate": 1, "per": "second"}}, {"drop": None}], "accept", "accept"),
        ([{"vmap": {"key": IIF, "data": {"set": [["atoll0", {"drop": None}], ["eth0", {"accept": None}]]}}}],
         "drop", "accept"),
    ],
)  # fmt: skip
def test_nft_rules_decide(expression: list[dict[str, Any]], out: str, into: str) -> None:
    ruleset = listed(expression)
    assert (verdict(ruleset, OUT), verdict(ruleset, IN)) == (out, into)


def test_rules_are_shown_as_nft_shows_them() -> None:
    text = (
        "table inet t { # handle 3\n\tset s { # handle 2\n\t\ttype ifname\n\t}\n\n\tchain c { # handle 1\n"
        '\t\ttype filter hook forward priority filter; policy drop;\n\t\tiifname "eth0" counter packets 0 bytes 7 '
        "drop # handle 4\n\t}\n}\n"
    )
    assert rule_texts(text)["inet", "t", 4] == 'iifname "eth0" drop'


def test_a_loop_of_jumps_ends() -> None:
    loop = Chain(Tool.NFT, "inet", "t", "c", "forward", rules=(Rule("jump c", verdict=Verdict.JUMP, target="c"),))
    assert outcome_of(Ruleset((loop,)), loop, OUT).verdict is Verdict.ACCEPT


def test_what_a_packet_leaves_open_is_not_decided() -> None:
    for match in (Match(Field.OIF, ("eth0",)), Match(Field.PORT, (80,)), Match(Field.PROTOCOL, (6,))):
        chain = Chain(Tool.NFT, "inet", "t", "c", "forward", rules=(Rule("", (match,), Verdict.ACCEPT),))
        outcome = outcome_of(Ruleset((chain,)), chain, Packet(Family.V4, iif="atoll0"))
        assert (outcome.verdict, outcome.certain) == (Verdict.ACCEPT, False)


WORDS = st.sampled_from(
    ["nftables", "chain", "rule", "expr", "match", "left", "right", "op", "meta", "key", "iifname", "payload", "set",
     "protocol", "field", "saddr", "ip", "vmap", "data", "jump", "target", "drop", "range", "prefix", "elem", "val",
     "family", "inet", "table", "name", "handle", "hook", "forward", "prio", "xt", "dnat", "dport", "tcp", "mangle"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=25,
)


@given(JSON)
def test_nonsense_from_nft_is_no_error(expr: Any) -> None:
    where = {"family": "inet", "table": "t"}
    base = {**where, "name": "c", "hook": "forward"}
    entries = [{"chain": base}, {"rule": {**where, "chain": "c", "expr": expr, "handle": expr}}, {"rule": expr}, expr]
    chains = parse_listing(json.dumps({"nftables": entries}), "")
    assert chains[0].name == "c"
    outcome_of(Ruleset(chains), chains[0], OUT)
    parse_listing(json.dumps(expr), "")


@given(
    st.lists(st.sampled_from(["-A", "FORWARD", "-i", "!", "-j", "DROP", "-m", "--dport", "1:x", "*", "'", "-s", ""]))
)
def test_nonsense_from_iptables_is_a_value_error_at_most(words: list[str]) -> None:
    text = f"*filter\n:FORWARD DROP [0:0]\n-A FORWARD {' '.join(words)}\n:x\n-A y z\n"
    try:
        parse_save(text, Tool.LEGACY, "ip")
    except ValueError:
        assert "'" in words
