"""Elements go into the kernel and come out as they are, all of a change or none."""

import errno
import itertools
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from atoll.errors import KernelError
from atoll.kernel.kernel import Count
from atoll.kernel.nft.elements import Elements
from atoll.kernel.nft.firewall import Firewall
from atoll.kernel.nft.library import Library
from atoll.kernel.nft.netlink import NetfilterSocket
from atoll.kernel.nft.table import Table
from atoll.model.firewall import SETS, PartType, TableFamily, address_part
from atoll.model.items import Element, Key, Part, Span
from atoll.model.ops import Op, Verb
from tests.netns.namespaces import inside, namespace
from tests.netns.nft_support import adds, counted, firewall_of, listed, removes

SAMPLES: dict[PartType, tuple[Part, ...]] = {
    PartType.IFNAME: ("at-0123456789ab", "b"),
    PartType.IPV4: (IPv4Address("10.1.2.3"), IPv4Address("192.168.255.254")),
    PartType.IPV6: (IPv6Address("fd00::1:2"), IPv6Address("::1")),
    PartType.PROTOCOL: (6, 132),
    PartType.SERVICE: (8080, 1),
    PartType.NFPROTO: (2, 10),
    PartType.ETHER: ("02:42:0a:00:00:02", "02:42:0a:00:00:03"),
    PartType.TARGET: (IPv6Address("fd00::2"), IPv6Address("fd00::3")),
}
SPANS: dict[PartType, Part] = {
    PartType.IFNAME: "spanned",
    PartType.IPV4: address_part(ip_network("10.64.0.0/10")),
    PartType.IPV6: address_part(ip_network("fd01::/64")),
    PartType.PROTOCOL: 17,
    PartType.SERVICE: Span(10000, 60000),
    PartType.NFPROTO: 2,
}
ANYWHERE = address_part(ip_network("0.0.0.0/0"))


def samples(name: str) -> list[Element]:
    kind = SETS[name]
    found = [
        Element(
            name, tuple(SAMPLES[part][turn] for part in kind.parts), tuple(SAMPLES[part][turn] for part in kind.data)
        )
        for turn in (0, 1)
    ]
    if kind.interval:
        data = tuple(SAMPLES[part][0] for part in kind.data)
        found.append(Element(name, tuple(SPANS[part] for part in kind.parts), data))
    return found


def published(number: int, *, port: int = 80) -> Element:
    return Element("any4", (6, number), (IPv4Address("10.0.0.2"), port))


def span(low: int, high: int, *, to: str = "10.0.0.2") -> Element:
    return Element("span4", (ANYWHERE, IPv4Address("10.9.9.9"), 6, Span(low, high)), (IPv4Address(to),))


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with namespace("nft-elements") as name:
        yield name


@pytest.fixture
def firewall(host: str) -> Iterator[Firewall]:
    with firewall_of(host) as made:
        made.refill([])
        yield made


@pytest.mark.parametrize("name", SETS)
def test_elements_of_every_set_are_added_observed_listed_and_removed(host: str, firewall: Firewall, name: str) -> None:
    elements = samples(name)
    expected = {element.key: element for element in elements}
    assert firewall.observe(elements) == {}
    firewall.apply(adds(*elements))
    assert firewall.observe(elements) == expected
    assert firewall.survey() == expected
    assert listed(host, name) == set(elements)
    firewall.apply(removes(elements[0]))
    assert firewall.survey().keys() == expected.keys() - {elements[0].key}
    firewall.apply(removes(*elements[1:]))
    assert firewall.survey() == {}
    assert listed(host, name) == set()


@pytest.mark.parametrize("name", SETS)
def test_elements_of_a_counted_set_count_from_zero_and_others_do_not(host: str, firewall: Firewall, name: str) -> None:
    elements = samples(name)
    firewall.apply(adds(*elements))
    zero = {element.key: Count() for element in elements}
    assert firewall.element_counts() == (zero if SETS[name].counted else {})
    assert counted(host, name) == (zero if SETS[name].counted else dict.fromkeys(zero))


def test_observe_returns_the_kernels_data_for_a_key(firewall: Firewall) -> None:
    firewall.apply(adds(published(8080)))
    asked = published(8080, port=81)
    assert firewall.observe([asked, published(9090)]) == {asked.key: published(8080)}


def test_many_keys_are_observed_as_well_as_few(firewall: Firewall) -> None:
    elements = [published(number) for number in range(1, 2001)]
    firewall.apply(adds(*elements[::2]))
    assert firewall.observe(elements) == {element.key: element for element in elements[::2]}


def test_what_is_there_already_and_what_is_gone_already_is_no_error(firewall: Firewall) -> None:
    for ops in (adds(published(1), span(5, 9)), removes(published(1), span(5, 9))):
        firewall.apply(ops)
        before = firewall.survey()
        firewall.apply(ops)
        assert firewall.survey() == before


def test_the_last_op_on_a_key_counts(firewall: Firewall) -> None:
    moved = published(1, port=81)
    firewall.apply([*adds(published(1), published(2)), Op(Verb.CHANGE, moved, published(1)), *removes(published(2))])
    assert firewall.survey() == {moved.key: moved}
    firewall.apply([*removes(moved), *adds(published(1))])
    assert firewall.survey() == {moved.key: published(1)}


@pytest.mark.parametrize(
    ("before", "after"), [(published(1), published(1, port=81)), (span(5, 9), span(5, 9, to="10.0.0.3"))]
)
def test_a_change_replaces_the_data_even_when_the_old_is_gone(
    firewall: Firewall, before: Element, after: Element
) -> None:
    firewall.apply(adds(before))
    for _ in range(2):
        firewall.apply([Op(Verb.CHANGE, after, before)])
        assert firewall.survey() == {after.key: after}
        firewall.apply(removes(after))


def test_a_refused_change_changes_nothing_and_names_the_element(host: str, firewall: Firewall) -> None:
    there = [published(7000), span(100, 200), Element("nets", ("br0",))]
    firewall.apply(adds(*there))
    before = firewall.survey()
    many = [published(number, port=number) for number in range(5000, 9001)]  # several messages; 7000 has other data
    with pytest.raises(KernelError, match=r"cannot add element any4 \{ tcp \. 7000 : 10\.0\.0\.2 \. 7000 \}") as raised:
        firewall.apply([*removes(there[1], there[2]), *adds(*many)])
    assert raised.value.errno == errno.EEXIST
    assert raised.value.hint == "nft list map inet atoll any4"
    assert firewall.survey() == before


def test_an_overlapping_interval_is_refused(firewall: Firewall) -> None:
    firewall.apply(adds(span(100, 200)))
    with pytest.raises(KernelError, match=r"cannot add element span4 .*150-160.*overlaps"):
        firewall.apply(adds(span(150, 160)))


def test_removing_an_absent_interval_leaves_one_that_holds_its_lower_end(firewall: Firewall) -> None:
    firewall.apply(adds(span(100, 200)))
    before = firewall.survey()
    absent = [span(150, 160), span(100, 150), span(150, 300)]
    assert firewall.observe(absent) == {}
    firewall.apply(removes(*absent))
    assert firewall.survey() == before


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_intervals_the_kernel_let_overlap_are_removed_one_by_one(firewall: Firewall, order: tuple[int, ...]) -> None:
    nested = [span(50, 60), span(40, 70), span(30, 80)]  # from inside out the kernel takes them
    for element in nested:
        firewall.apply(adds(element))
    left = {element.key: element for element in nested}
    assert firewall.observe(nested) == left
    for which in order:
        firewall.apply(removes(nested[which]))
        del left[nested[which].key]
        assert firewall.survey() == left
    for element in nested:
        firewall.apply(adds(element))
    firewall.apply(removes(*(nested[which] for which in order)))
    assert firewall.survey() == {}


def test_without_the_destroy_message_what_is_gone_is_no_error_either(host: str) -> None:
    with firewall_of(host) as firewall:
        firewall.refill([published(1), span(5, 9)])
    library = inside(host, Library)
    netlink = NetfilterSocket(library.fd)
    try:
        Table(netlink, TableFamily.INET).claim()
        elements = Elements(netlink, destroys=False)
        elements.change([published(1), published(2), span(5, 9), span(6, 7)], [published(3)])
        assert list(elements.all_of("any4").values()) == [published(3)]
        assert elements.all_of("span4") == {}
    finally:
        netlink.close()
        library.close()


def test_without_the_table_a_change_says_so(host: str, firewall: Firewall) -> None:
    firewall.delete()
    firewall.delete()
    assert firewall.survey() == {}
    assert firewall.observe([published(1), span(5, 9)]) == {}
    with pytest.raises(KernelError, match="table inet atoll or the set is gone"):
        firewall.apply(adds(published(1)))


def cpu_ms(function: Callable[[], object]) -> float:
    """What a run costs in our process and in the kernel for us: what else the machine does hardly counts."""
    start = time.process_time()
    function()
    return (time.process_time() - start) * 1000


def best_ms(function: Callable[[], object], *, runs: int = 7) -> float:
    """The cheapest of some runs."""
    return min(cpu_ms(function) for _ in range(runs))


def test_a_survey_right_after_many_additions_is_whole(firewall: Firewall) -> None:
    expected: dict[Key, Element] = {}
    for start in range(1, 60001, 6000):  # each makes the kernel rebuild its hash table in the background
        elements = [published(number) for number in range(start, start + 6000)]
        firewall.apply(adds(*elements))
        expected.update((element.key, element) for element in elements)
        assert firewall.survey() == expected


def test_fifty_thousand_elements_are_surveyed_in_well_under_a_second(firewall: Firewall) -> None:
    addresses = [IPv4Address("10.0.0.1") + index for index in range(10)]
    elements = [Element("addr4", (here, 6, port), (here, port)) for here in addresses for port in range(1, 5001)]
    firewall.apply(adds(*elements))
    assert firewall.survey() == {element.key: element for element in elements}
    assert best_ms(firewall.survey) < 800
    one = Element("addr4", (IPv4Address("10.9.9.9"), 6, 1), (IPv4Address("10.0.0.1"), 1))

    def come_and_go() -> None:
        firewall.apply(adds(one))
        firewall.apply(removes(one))

    assert best_ms(come_and_go) < 5


def test_a_thousand_published_ports_take_some_milliseconds(firewall: Firewall) -> None:
    ops = adds(*(published(number) for number in range(1, 1001)))
    undo = [op.inverse for op in ops]

    def again() -> float:
        taken = cpu_ms(lambda: firewall.apply(ops))
        firewall.apply([op for op in undo if op is not None])
        return taken

    assert min(again() for _ in range(7)) < 20
