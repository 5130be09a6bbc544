"""Held ports as bits: what can be had is what no binding meets, counted port by port."""

from functools import reduce
from ipaddress import IPv4Address, IPv6Address
from operator import or_

from hypothesis import given
from hypothesis import strategies as st

from atoll.model.addresses import IPAddress
from atoll.model.heldports import HeldPorts, highest_in, lowest_row, range_bits
from atoll.model.ports import PORT_MAX, PortBinding, PortRange, Protocol, addresses_meet

ADDRESSES = [None, IPv4Address(0), IPv4Address("127.0.0.1"), IPv6Address(0), IPv6Address(1)]
protocols = st.sampled_from([Protocol.TCP, Protocol.UDP])
ranges = st.tuples(st.integers(1, 40), st.integers(0, 6)).map(lambda pair: PortRange(pair[0], sum(pair)))
bindings = st.builds(
    lambda protocol, at, ports: PortBinding(protocol, at, ports, ports), protocols, st.sampled_from(ADDRESSES), ranges
)


def meet(one: PortBinding, other: PortBinding) -> bool:
    return (
        one.protocol is other.protocol
        and one.host.overlaps(other.host)
        and addresses_meet(one.host_address, other.host_address)
    )


@given(st.lists(st.tuples(st.booleans(), bindings), max_size=20), protocols, st.sampled_from(ADDRESSES))
def test_bits_are_those_of_the_bindings_held(
    steps: list[tuple[bool, PortBinding]], protocol: Protocol, address: IPAddress | None
) -> None:
    held, there = HeldPorts(), list[PortBinding]()
    for comes, binding in steps:
        if comes:
            assert (held.taking([binding]) is not None) == (not any(meet(binding, other) for other in there))
        if comes and held.taking([binding]) is not None:
            held = held.after(come=[binding])
            there.append(binding)
        elif binding in there:
            held = held.after(gone=[binding])
            there.remove(binding)
    assert held == HeldPorts().after(come=there)
    met = [each for each in there if each.protocol is protocol and addresses_meet(each.host_address, address)]
    assert held.meeting(protocol, address) == reduce(or_, (range_bits(each.host) for each in met), 0)


@given(st.lists(bindings, max_size=6))
def test_bindings_are_admitted_together_when_no_two_meet(wanted: list[PortBinding]) -> None:
    pairs = [(one, other) for index, one in enumerate(wanted) for other in wanted[:index]]
    assert (HeldPorts().taking(wanted) is not None) == (not any(meet(one, other) for one, other in pairs))


@given(st.sets(st.integers(0, 40)), ranges, st.integers(1, 8))
def test_rows_and_highest_are_found_as_by_looking_at_each_port(ports: set[int], within: PortRange, length: int) -> None:
    bits = sum(1 << port for port in ports)
    rows = [port for port in range(42) if all(port + offset in ports for offset in range(length))]
    assert lowest_row(bits, length) == min(rows, default=None)
    assert highest_in(bits, within) == max((p for p in ports if within.first <= p <= within.last), default=None)


def test_first_and_last_port_have_a_bit() -> None:
    for port in (1, PORT_MAX):
        one = PortRange(port, port)
        held = HeldPorts().after(come=[PortBinding(Protocol.TCP, None, one, one)])
        assert held.meeting(Protocol.TCP, None) == range_bits(one) == 1 << port
