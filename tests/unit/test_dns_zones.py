"""Who may resolve what: a plain model of Docker's rules beside the indexed one, and the cases that people meet."""

import itertools
from collections.abc import Sequence
from ipaddress import ip_address

import dns.message
import dns.rcode
import dns.reversename
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.dns.answerer import Answerer, Forward, Memo
from atoll.dns.entries import Asker, Entry, Member
from atoll.dns.zones import Zones

FRONT, BACK = ("net-1", "front"), ("net-2", "back")
DB = Member("e1", "net-1", ("db", "0123456789ab"), (ip_address("10.1.0.2"), ip_address("fd01::2")))
WEB = Member("e2", "net-1", ("web", "www"), (ip_address("10.1.0.3"),))
WEB_TOO = Member("e3", "net-1", ("web2", "www"), (ip_address("10.1.0.4"),))
OLD = Member("e4", "net-2", ("db", "old"), (ip_address("10.2.0.2"),))
SIX = Member("e5", "net-2", ("six",), (ip_address("fd02::6"),))
DOTS = Member("e6", "net-2", ("a.b",), (ip_address("10.2.0.9"),))


def zones_of(*entries: Entry) -> Zones:
    zones = Zones()
    for entry in entries:
        zones.put(entry)
    return zones


class Client:
    """What one asker gets."""

    def __init__(self, zones: Zones, key: str = "me") -> None:
        self._answerer = Answerer(zones, Memo(zones, 100), itertools.count(), key, b"mark")

    def raw(self, name: str, rrtype: str = "A", **options: object) -> bytes | Forward | None:
        return self._answerer.datagram(dns.message.make_query(name, rrtype, **options).to_wire())  # type: ignore[arg-type]

    def ask(self, name: str, rrtype: str = "A", **options: object) -> list[str] | str:
        """The data of an answer; "forward", or the code of an answer without data."""
        answer = self.raw(name, rrtype, **options)
        if isinstance(answer, Forward):
            return "forward"
        assert answer is not None
        message = dns.message.from_wire(answer)
        if message.rcode() != dns.rcode.NOERROR:
            return dns.rcode.to_text(message.rcode())
        return [item.to_text() for rrset in message.answer for item in rrset]


def client(asker: Asker, *members: Member) -> Client:
    return Client(zones_of(asker, *(members or (DB, WEB, WEB_TOO, OLD, SIX, DOTS))))


BOTH = Asker("me", (FRONT, BACK))


def test_names_of_all_kinds_are_found() -> None:
    me = client(BOTH)
    for name in ("db", "DB", "db.", "0123456789ab", "db.front", "Db.FRONT.", "0123456789AB.front"):
        assert me.ask(name) == ["10.1.0.2"], name
    assert me.ask("db", "AAAA") == ["fd01::2"]
    assert me.ask("db.back") == ["10.2.0.2"]
    assert me.ask("a.b") == me.ask("a.b.back") == ["10.2.0.9"]


def test_other_networks_are_not_seen() -> None:
    me = client(Asker("me", (FRONT,)))
    for name in ("old", "db.back", "six", "a.b"):
        assert me.ask(name) == "forward"
    assert me.ask(dns.reversename.from_address("10.2.0.2").to_text(), "PTR") == "forward"


def test_first_network_that_has_the_family_answers() -> None:
    assert client(Asker("me", (BACK, FRONT))).ask("db") == ["10.2.0.2"]
    assert client(Asker("me", (BACK, FRONT))).ask("db", "AAAA") == ["fd01::2"]


def test_a_name_without_such_a_record_has_no_data_and_does_not_leave() -> None:
    me = client(BOTH)
    assert me.ask("web", "AAAA") == me.ask("six", "A") == me.ask("db", "MX") == me.ask("db", "HTTPS") == []


def test_shared_name_has_all_addresses_and_each_comes_first_in_turn() -> None:
    me = client(BOTH)
    answers = [me.ask("www", id=turn) for turn in range(6)]
    assert {tuple(sorted(answer)) for answer in answers} == {("10.1.0.3", "10.1.0.4")}
    assert [answer[0] for answer in answers].count("10.1.0.3") == 3
    assert answers[0] != answers[1]


def test_address_leads_back_to_name_and_network() -> None:
    me = client(BOTH)
    for address, name in (("10.1.0.2", "db.front."), ("fd01::2", "db.front."), ("10.2.0.2", "db.back.")):
        assert me.ask(dns.reversename.from_address(address).to_text(), "PTR") == [name]
    assert me.ask("9.0.1.10.in-addr.arpa", "PTR") == "forward"


def test_nothing_leaves_from_internal_networks() -> None:
    me = client(Asker("me", (FRONT,), forward=False))
    assert me.ask("example.com") == me.ask("nobody") == "SERVFAIL"
    assert me.ask("db") == ["10.1.0.2"]


def test_container_wins_over_search_domain() -> None:
    me = client(Asker("me", (FRONT,), search=("corp.example",)))
    assert me.ask("db.corp.example") == ["10.1.0.2"]
    assert me.ask("db.front.corp.example") == ["10.1.0.2"]
    assert me.ask("mail.corp.example") == "forward"


def test_bare_names_stay_where_the_client_has_search_domains_to_try() -> None:
    me = client(Asker("me", (FRONT,), dotted_only=True))
    assert me.ask("nobody") == []
    assert me.ask("nobody.example") == "forward"


def test_questions_of_another_class_are_others() -> None:
    assert client(BOTH).ask("db", "TXT", rdclass="CH") == "forward"


def test_long_answer_is_cut_by_udp_and_whole_with_edns() -> None:
    many = [Member(f"m{n}", "net-1", (f"c{n}", "all"), (ip_address(f"10.1.1.{n}"),)) for n in range(100)]
    me = client(BOTH, *many)
    short = dns.message.from_wire(me.raw("all"))  # type: ignore[arg-type]
    assert short.flags & dns.flags.TC and 20 < len(short.answer[0]) < 40
    assert len(me.ask("all", use_edns=0, payload=4096)) == 100
    firsts = {dns.message.from_wire(me.raw("all", id=turn)).answer[0][0].to_text() for turn in range(100)}  # type: ignore[arg-type]
    assert len(firsts) > 50


def test_change_is_seen_by_the_next_question() -> None:
    zones = zones_of(BOTH, DB)
    me = Client(zones)
    assert me.ask("db") == ["10.1.0.2"]
    zones.put(Member("e1", "net-1", ("db",), (ip_address("10.1.0.77"),)))
    assert me.ask("db") == ["10.1.0.77"]
    zones.drop("e1")
    assert me.ask("db") == "forward"
    zones.drop("me")
    assert me.ask("db") == "SERVFAIL"


def test_memo_is_bounded() -> None:
    zones = zones_of(BOTH, DB)
    memo = Memo(zones, 10)
    answerer = Answerer(zones, memo, itertools.count(), "me", b"")
    for number in range(100):
        packet = dns.message.make_query("db", "A", use_edns=0, payload=1000 + number).to_wire()
        assert isinstance(answerer.datagram(packet), bytes)
        assert len(memo) <= 10


keys = st.integers(0, 6).map("k{}".format)
words = st.sampled_from(["a", "b", "a.b", "front", "back"])
members = st.builds(
    Member,
    keys,
    st.sampled_from(["net-1", "net-2"]),
    st.lists(words, max_size=3, unique=True).map(tuple),
    st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]).map(ip_address), max_size=2, unique=True).map(tuple),
)
steps = st.lists(members | keys, max_size=12)
asked = st.lists(words, min_size=1, max_size=3).map(".".join)


def model(members: Sequence[Member], asker: Asker, name: str, version: int) -> set[str] | None:
    """Docker's rule, spelled out."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        label, network_name = ".".join(parts[:cut]), ".".join(parts[cut:])
        known = False
        for key, its_name in asker.networks:
            if network_name in ("", its_name):
                mine = [each for each in members if each.network == key and label in each.names]
                known = known or bool(mine)
                found = {str(ip) for each in mine for ip in each.addresses if ip.version == version}
                if found:
                    return found
        if known:
            return set()
    return None


@given(steps, asked, st.permutations([FRONT, BACK]), st.integers(0, 2))
@settings(max_examples=400)
def test_any_history_comes_to_what_is_there(
    history: list[Member | str], name: str, order: list[tuple[str, str]], count: int
) -> None:
    zones, there = Zones(), {}
    asker = Asker("me", tuple(order[:count]))
    zones.put(asker)
    for step in history:
        if isinstance(step, Member):
            zones.put(step)
            there[step.key] = step
        else:
            zones.drop(step)
            there.pop(step, None)
    me = Client(zones)
    for rrtype, version in (("A", 4), ("AAAA", 6)):
        expected = model(list(there.values()), asker, name, version)
        for _ in range(2):
            found = me.ask(name, rrtype)
            assert (None if found == "forward" else set(found)) == expected
