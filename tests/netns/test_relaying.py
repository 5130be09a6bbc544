"""From the engine's needs to the relay: long ranges are served, conflicts named, and a successor takes over."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from atoll.daemon.relaying import RelayedPorts, Relaying
from atoll.errors import PortTaken, Unavailable
from atoll.kernel.holder import SocketHolder
from atoll.kernel.listeners import sockets_at
from atoll.model.ports import PortBinding, PortRange, Protocol
from atoll.plan.publish import RelayNeed
from atoll.relay.client import RelayClient
from tests.netns.namespaces import eventually, inside, running
from tests.support.relayed import (
    ENDPOINT,
    Row,
    ask,
    bound,
    connect,
    echo,
    relay,
    row,
    tcp_server,
    udp_client,
    udp_server,
)

TCP, UDP = Protocol.TCP, Protocol.UDP
OWNER, OTHER = "3f2a" * 16, "b0b0" * 16


@pytest.fixture(scope="module")
def hosts() -> Iterator[Row]:
    with row() as made:
        yield made


def binding(first: int, last: int, *, inner: int = 0, protocol: Protocol = TCP) -> PortBinding:
    length = last - first
    return PortBinding(protocol, None, PortRange(first, last), PortRange(inner or first, (inner or first) + length))


def need(*wanted: PortBinding) -> RelayNeed:
    return RelayNeed(OWNER, wanted, ip_address(ENDPOINT))


def told(
    hosts: Row, relaying: Relaying, needs: tuple[RelayNeed, ...], gone: tuple[RelayNeed, ...] | None = None
) -> Mapping[str, str]:
    """What the relay can't serve when it is told."""

    def tell() -> Mapping[str, str]:
        answer = relaying(needs, gone)
        return answer()

    return inside(hosts.host, tell)


@contextmanager
def held(hosts: Row, client: RelayClient, *bindings: PortBinding) -> Iterator[SocketHolder]:
    """A holder that has `bindings` for OWNER."""
    holder = SocketHolder(RelayedPorts(client))
    inside(hosts.host, lambda: holder.hold(OWNER, bindings))
    yield holder
    holder.release(OWNER)


@contextmanager
def serving(hosts: Row, client: RelayClient, *bindings: PortBinding) -> Iterator[SocketHolder]:
    """A holder that has `bindings`, which the relay serves."""
    with held(hosts, client, *bindings) as holder:
        assert told(hosts, Relaying(client, holder), tuple(map(need, bindings))) == {}
        yield holder
        assert told(hosts, Relaying(client, holder), ()) == {}


def refused(hosts: Row, holder: SocketHolder, wanted: PortBinding, owner: str = OTHER) -> str:
    with pytest.raises(PortTaken) as caught:
        inside(hosts.host, lambda: holder.hold(owner, [wanted]))
    return caught.value.message


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("inner", [13000, 23000])
def test_every_part_of_a_long_range_is_carried_to_its_own_port(hosts: Row, protocol: Protocol, inner: int) -> None:
    offsets = (0, 63, 64, 500, 999)
    with relay(hosts) as client, ExitStack() as stack:
        stack.enter_context(serving(hosts, client, binding(13000, 13999, inner=inner, protocol=protocol)))
        for offset in offsets:
            if protocol is UDP:
                stack.enter_context(udp_server(hosts.endpoint, inner + offset))
                sock = stack.enter_context(udp_client(hosts.client, port=13000 + offset))
            else:
                stack.enter_context(tcp_server(hosts.endpoint, echo, inner + offset))
                sock = stack.enter_context(connect(hosts.client, port=13000 + offset))
            ask(sock)
        for beside in (12999, 14000):
            assert inside(hosts.host, lambda port=beside: sockets_at(protocol, port)) == []


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_a_successor_has_what_the_relay_serves_and_only_that(hosts: Row, protocol: Protocol) -> None:
    long, short = binding(13000, 13299, protocol=protocol), binding(9000, 9010, protocol=protocol)
    with relay(hosts) as client, serving(hosts, client, long, short) as first:
        first.release(OWNER, [short])  # as its process ends; of the long range it has no sockets
        stranger = SocketHolder()
        for wanted in (long, short):
            assert "the port is held by python" in refused(hosts, stranger, wanted)

        with held(hosts, client, long, short) as second:
            before = client.entries()
            assert told(hosts, Relaying(client, second), (need(long), need(short))) == {}
            assert client.entries() == before
            for wanted in (binding(13100, 13100, protocol=protocol), binding(9005, 9006, protocol=protocol), long):
                assert refused(hosts, second, wanted).endswith("the port is held by sandbox 3f2a3f2a3f2a")

        with bound(hosts.host, protocol, "0.0.0.0", 13100):
            message = refused(hosts, SocketHolder(RelayedPorts(client)), long)
            assert message.startswith(f"cannot publish 0.0.0.0:13100/{protocol.word}: the port is held by ")


def test_a_port_that_another_has_is_named_and_the_rest_is_served(hosts: Row) -> None:
    long, other = binding(13000, 13299), binding(15000, 15999)
    with relay(hosts) as client, held(hosts, client, long, other) as holder:
        relaying = Relaying(client, holder)
        needs = (need(long), need(other))
        with running(hosts.host, ["socat", "-u", "TCP6-LISTEN:13100,ipv6only=1", "STDIO"]) as thief:
            eventually(lambda: inside(hosts.host, lambda: sockets_at(TCP, 13100)))
            problems = told(hosts, relaying, needs)
            assert problems == {
                OWNER: "[::]:13064-13127/tcp is not served: cannot publish [::]:13100/tcp: "
                f"the port is held by socat (pid {thief.pid})"
            }
            for number in (13000, 13128, 15500):
                with tcp_server(hosts.endpoint, echo, number), connect(hosts.client, port=number) as sock:
                    ask(sock)
        eventually(lambda: inside(hosts.host, lambda: not sockets_at(TCP, 13100)))
        assert told(hosts, relaying, needs) == {}
        with tcp_server(hosts.endpoint, echo, 13100), connect(hosts.client, port=13100) as sock:
            ask(sock)


def test_a_thousand_single_ports_are_served_but_for_one_that_another_has(hosts: Row) -> None:
    many = [binding(port, port, inner=80) for port in range(13000, 20000, 7)]
    with relay(hosts) as client, held(hosts, client, *many) as holder, tcp_server(hosts.endpoint, echo, 80):
        relaying = Relaying(client, holder)
        with bound(hosts.host, TCP, "::1", 13007):
            problems = told(hosts, relaying, (need(*many),), ())
            assert problems[OWNER].startswith(
                "[::]:13007/tcp is not served: cannot publish [::]:13007/tcp: the port is held by "
            )
            assert len(client.entries()) == len(many) - 1
            for number in (13000, 19993):
                with connect(hosts.client, port=number) as sock:
                    ask(sock)
        assert told(hosts, relaying, (need(*many),)) == {}
        with connect(hosts.client, port=13007) as sock:
            ask(sock)
        assert told(hosts, relaying, (), (need(*many),)) == {}
        assert client.entries() == {}


def test_ports_that_the_relay_serves_are_no_strangers_to_a_successor(hosts: Row) -> None:
    many = [binding(port, port, inner=80) for port in range(13000, 20000, 7)]
    with relay(hosts) as client, serving(hosts, client, *many) as first:
        first.release(OWNER)
        assert "the port is held by python" in refused(hosts, SocketHolder(), many[0])
        with held(hosts, client, *many) as second:
            assert told(hosts, Relaying(client, second), (need(*many),)) == {}


def test_change_leaves_what_it_is_not_about(hosts: Row) -> None:
    first, second, third = binding(13000, 13009), binding(14000, 14299), binding(15000, 15000)
    with relay(hosts) as client, held(hosts, client, first, second, third) as holder:
        relaying = Relaying(client, holder)
        assert told(hosts, relaying, (need(first), need(second))) == {}
        before = client.entries()
        assert told(hosts, relaying, (need(third),), (need(second),)) == {}
        after = client.entries()
        assert [key.split()[2] for key in after] == ["13000-13009", "15000"]
        assert after.items() & before.items()
        assert told(hosts, relaying, (), (need(first), need(third))) == {}
        assert client.entries() == {}


def test_change_of_a_relay_that_is_gone_is_an_error(hosts: Row) -> None:
    wanted = binding(13000, 13000)
    with relay(hosts) as client, held(hosts, client, wanted) as holder:
        relaying = Relaying(client, holder)
        assert told(hosts, relaying, (), (need(wanted),)) == {}
        client.stop()
        with pytest.raises(Unavailable, match="no relay runs"):
            told(hosts, relaying, (need(wanted),), ())


def test_what_is_not_held_is_left_out(hosts: Row) -> None:
    with relay(hosts) as client, held(hosts, client, binding(13000, 13299)) as holder:
        assert told(hosts, Relaying(client, holder), (need(binding(14000, 14999)),)) == {}
        assert client.entries() == {}


def test_ports_are_free_when_they_are_not_needed_any_more(hosts: Row) -> None:
    with relay(hosts) as client:
        for _ in range(5):
            with serving(hosts, client, binding(13000, 13299)):
                assert len(client.entries()) == 5
            bound(hosts.host, port=13299).close()
