"""The transport: batches, errors with the kernel's own words, dumps that are whole."""

import errno
import ipaddress
import threading
import time

import pytest

from atoll.kernel import inet, links
from atoll.kernel.rtnetlink import REQUESTS_MAX, Refusal, Request, RouteSocket
from atoll.model.addresses import Family
from atoll.model.items import HOST, Address, Bridge, Route
from tests.support.hosts import FreshHost

BRIDGE = Bridge("br-test", "atoll:network:1", "02:42:0a:00:01:01")
INDEX = 1 << 20


def addresses(count: int) -> list[Request]:
    first = ipaddress.ip_address("10.1.0.0")
    items = (Address(HOST, "br-test", ipaddress.ip_interface(f"{first + number}/32")) for number in range(count))
    return [inet.add_address(item, INDEX) for item in items]


def on_bridge(socket: RouteSocket, index: int) -> list[inet.AddressEntry]:
    entries = (inet.decode_address(payload) for payload in socket.dump(inet.addresses_of(index)))
    return [entry for entry in entries if entry is not None and entry.address.version == 4]


def add_many(socket: RouteSocket, count: int) -> None:
    assert socket.change(links.add_bridge(BRIDGE, INDEX)) == {}
    requests = addresses(count)
    for start in range(0, count, REQUESTS_MAX):
        assert socket.change(requests[start : start + REQUESTS_MAX]) == {}


def test_refusals_are_told_by_index_and_the_rest_is_done(host: FreshHost) -> None:
    wrong = links.delete_link(4711)[0]
    with RouteSocket() as socket:
        refused = socket.change([wrong, *links.add_bridge(BRIDGE, INDEX), wrong, *addresses(2), wrong])
        assert {index: refusal.errno for index, refusal in refused.items()} == dict.fromkeys((0, 3, 6), errno.ENODEV)
        assert len(on_bridge(socket, INDEX)) == 2


def test_a_refusal_has_the_kernels_own_words(host: FreshHost) -> None:
    route = Route(HOST, ipaddress.ip_network("192.0.2.0/24"), "lo", ipaddress.ip_address("10.9.9.9"))
    with RouteSocket() as socket:
        refusal = socket.change([inet.add_route(route, 1)])[0]
    assert refusal == Refusal(errno.ENETUNREACH, "Nexthop has invalid gateway")


def test_a_full_datagram_is_answered(host: FreshHost) -> None:
    wrong = links.delete_link(4711)[0]
    with RouteSocket() as socket:
        assert len(socket.change([wrong] * REQUESTS_MAX)) == REQUESTS_MAX
        answers = socket.ask([links.get_by_name("lo"), links.get_by_name("nope")] * REQUESTS_MAX)
        assert [isinstance(answer, bytes) for answer in answers] == [True, False] * REQUESTS_MAX
        assert socket.change([]) == {}


def test_a_dump_of_many_datagrams_is_whole(host: FreshHost) -> None:
    with RouteSocket() as socket:
        add_many(socket, 2000)
        found = {entry.address.ip for entry in on_bridge(socket, INDEX)}
        assert found == {ipaddress.ip_address("10.1.0.0") + number for number in range(2000)}


def test_a_dump_is_filtered_by_the_kernel(host: FreshHost) -> None:
    with RouteSocket() as socket:
        add_many(socket, 3)
        assert {entry.index for entry in on_bridge(socket, 0)} == {1, INDEX}
        assert {entry.index for entry in on_bridge(socket, INDEX)} == {INDEX}
        assert on_bridge(socket, 4711) == []
        host.run("ip", "route", "add", "192.0.2.0/24", "dev", "br-test", "proto", "99")
        decoded = (inet.decode_route(payload) for payload in socket.dump(inet.routes(Family.V4, protocol=99)))
        assert [str(route.destination) for route in decoded if route] == ["192.0.2.0/24"]


def test_an_interrupted_dump_is_noticed_and_asked_again(host: FreshHost) -> None:
    """Links come and go while all are listed."""
    lasting = [links.add_bridge(Bridge(f"br{number}", "", BRIDGE.mac), INDEX + number)[0] for number in range(100)]
    stop = threading.Event()

    def disturb() -> None:
        with RouteSocket() as other:
            while not stop.is_set():
                requests = links.add_bridge(Bridge("br-more", "", BRIDGE.mac), INDEX + 100)
                other.change([*requests, *links.delete_link(INDEX + 100)])

    with RouteSocket() as socket:
        assert socket.change(lasting) == {}
        disturber = threading.Thread(target=disturb)
        disturber.start()
        try:
            until = time.monotonic() + 20
            while socket._dump(links.all_links()) is not None:
                assert time.monotonic() < until, "no dump was interrupted"
            indexes = {links.decode_link(payload).index for payload in socket.dump(links.all_links())}
        finally:
            stop.set()
            disturber.join()
    assert indexes >= {INDEX + number for number in range(100)}


def test_answers_of_an_earlier_request_are_not_taken_for_this_ones(host: FreshHost) -> None:
    with RouteSocket() as socket:
        socket._send([links.get_by_name("lo")] * 3)
        assert socket.change([links.delete_link(4711)[0]])[0].errno == errno.ENODEV
        socket._send([links.get_by_name("lo")] * 3)
        assert len(on_bridge(socket, 1)) == 1


@pytest.mark.parametrize("family", Family)
def test_families_without_anything_are_empty(host: FreshHost, family: Family) -> None:
    with RouteSocket() as socket:
        assert socket.dump(inet.routes(family, protocol=167)) == []
        assert socket.dump(inet.neighbours(family)) == []
