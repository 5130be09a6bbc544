"""Records and JSON: every record comes back equal, and what isn't one is refused by field."""

import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InvalidRequest, StoreCorrupt
from atoll.model.addresses import Family
from atoll.model.network import Network, Pool
from atoll.model.options import BridgeOptions
from atoll.model.ports import PortBinding, PortMapping, PortRange, Protocol
from atoll.model.sandbox import Endpoint, NetnsEvidence, Sandbox
from atoll.model.world import Allowance, Record, Removal, kind_of
from atoll.store.codec import decode_record, encode_record
from tests.support.worlds import a_network, a_sandbox, an_endpoint

SCHEMA_1 = Path(__file__).parent / "records-1.jsonl"

addresses = st.ip_addresses()
interfaces = st.builds(IPv4Interface, st.integers(0, 2**32 - 1)) | st.builds(IPv6Interface, st.integers(0, 2**128 - 1))
networks = interfaces.map(lambda interface: interface.network)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
maps = st.dictionaries(texts, texts, max_size=3)
counts = st.integers(0, 2**63 - 1)

port_ranges = st.builds(PortRange, st.integers(1, 65535), st.integers(1, 65535))
mappings = st.builds(
    PortMapping, container=port_ranges, host=st.none() | port_ranges, host_address=st.none() | addresses
)
bindings = st.builds(PortBinding, host=port_ranges, container=port_ranges, host_address=st.none() | addresses)
pools = st.builds(
    Pool,
    subnet=networks,
    gateway=addresses,
    ip_range=st.none() | networks,
    auxiliary=st.lists(st.tuples(texts, addresses), max_size=2).map(tuple),
)
bridges = st.builds(BridgeOptions, ifname=texts, mtu_bytes=counts, host_binding=st.none() | addresses)
evidence = st.builds(NetnsEvidence, path=texts, boot_id=texts, cookie=counts, pid=st.none() | counts)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        Network,
        id=texts,
        name=texts,
        created_ns=counts,
        pools=st.lists(pools, max_size=2).map(tuple),
        ipam_options=maps,
        options=maps,
        labels=maps,
        bridge=st.none() | bridges,
    ),
    st.builds(
        Sandbox,
        id=texts,
        name=texts,
        created_ns=counts,
        netns=st.none() | evidence,
        owner_id=st.none() | texts,
        mappings=st.lists(mappings, max_size=2).map(tuple),
        bindings=st.lists(bindings, max_size=2).map(tuple),
        labels=maps,
    ),
    st.builds(
        Endpoint,
        id=texts,
        network_id=texts,
        addresses=st.lists(interfaces, max_size=2).map(tuple),
        aliases=st.lists(texts, max_size=2).map(tuple),
        gateway_priority=st.integers(-(2**31), 2**31),
        static=st.lists(addresses, max_size=2).map(tuple),
        driver_options=maps,
    ),
    st.builds(Allowance, source_id=texts, target_id=texts),
    st.builds(Removal, id=texts, path=texts),
)


def decoded(record: Record, body: bytes) -> Record:
    return decode_record(kind_of(record), record.id, body, where="the test")


@given(records)
def test_every_record_comes_back_equal_and_of_the_same_types(record: Record) -> None:
    back = decoded(record, encode_record(record))
    assert back == record
    # repr, as IPv4Interface equals no address but an IntEnum equals its number.
    assert repr(back) == repr(record)


@given(records)
def test_all_fields_are_written(record: Record) -> None:
    assert set(json.loads(encode_record(record))) == set(type(record).__dataclass_fields__)


def test_read_only_map_is_written_as_a_map() -> None:
    sandbox = a_sandbox(1, "web", labels=MappingProxyType({"a": "b"}))
    assert decoded(sandbox, encode_record(sandbox)) == a_sandbox(1, "web", labels={"a": "b"})


def test_text_without_utf8_form_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest, match="not Unicode"):
        encode_record(a_sandbox(1, "web", labels={"a": "\ud800"}))


NETWORK = a_network(1, "web", "10.0.0.0/24", "fd00::/64")


def changed(record: Record, **fields: Any) -> bytes:
    return json.dumps({**json.loads(encode_record(record)), **fields}).encode()


def without(record: Record, name: str) -> bytes:
    value = json.loads(encode_record(record))
    del value[name]
    return json.dumps(value).encode()


def test_missing_field_gets_its_default() -> None:
    assert decoded(NETWORK, without(NETWORK, "labels")) == NETWORK


def pool(**fields: Any) -> list[Mapping[str, Any]]:
    return [{"subnet": "10.0.0.0/24", "gateway": "10.0.0.1", **fields}]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 100_000, "nested|recursion|truncated"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (without(NETWORK, "name"), "name: missing"),
        (changed(NETWORK, surprise=1), "surprise: unknown field"),
        (changed(NETWORK, id="other"), "its id field is 'other'"),
        (changed(NETWORK, name=7), "name: 7 is not of type str"),
        (changed(NETWORK, ipv6=1), "ipv6: 1 is not of type bool"),
        (changed(NETWORK, created_ns=True), "created_ns: True is not of type int"),
        (changed(NETWORK, created_ns=1.5), "created_ns: 1.5 is not of type int"),
        (changed(NETWORK, driver="overlay"), "driver: 'overlay' is not a Driver"),
        (changed(NETWORK, driver=None), "driver: None is not a Driver"),
        (changed(NETWORK, driver=[]), r"driver: \[\] is not a Driver"),
        (changed(NETWORK, labels={"a": 1}), "labels: .* is not a map of strings"),
        (changed(NETWORK, labels=None), "labels: None is not a map"),
        (changed(NETWORK, pools={}), "pools: {} is not a list"),
        (changed(NETWORK, pools=pool(subnet="10.0.0.1/24")), r"pools\[0\].subnet: 10.0.0.1/24 has host bits set"),
        (changed(NETWORK, pools=pool(gateway=167772161)), r"pools\[0\].gateway: 167772161 is not a string"),
        (changed(NETWORK, pools=pool(gateway="10.0.0")), r"pools\[0\].gateway: .* IPv4 or IPv6"),
        (changed(NETWORK, pools=pool(auxiliary=[["a", "b", "c"]])), r"pools\[0\].auxiliary\[0\]: .* list of 2"),
        (changed(NETWORK, pools=pool(auxiliary=[["a", "b"]])), r"pools\[0\].auxiliary\[0\]\[1\]: 'b' does not"),
    ],
)
def test_what_does_not_fit_is_named_with_record_and_field(body: bytes, reason: str) -> None:
    with pytest.raises(StoreCorrupt, match=reason) as caught:
        decoded(NETWORK, body)
    assert f"network {NETWORK.id} in the test does not decode" in caught.value.message


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(StoreCorrupt, match="no such kind"):
        decode_record("volume", "1", b"{}", where="the test")


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_are_a_record_or_corrupt(body: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        decode_record("endpoint", "1", body, where="the test")


def test_records_of_schema_1_are_read_for_ever() -> None:
    """When this fails, stored networks are lost: give the change of a record a migration, or its field a default."""
    web = a_network(1, "web", "10.0.0.0/24", "fd00::/64", **{"com.docker.network.driver.mtu": "1400"})
    sandbox = a_sandbox(
        2,
        "one",
        mappings=(PortMapping(Protocol.TCP, PortRange(80, 80), PortRange(8080, 8080), IPv4Address("127.0.0.1")),),
        bindings=(PortBinding(Protocol.TCP, IPv6Address("::1"), PortRange(8080, 8089), PortRange(80, 89)),),
        labels={"tier": "front"},
    )
    expected = [web, sandbox, an_endpoint(3, web, sandbox), Allowance(web.id, "f"), Removal(sandbox.id, "/run/x")]
    lines = [json.loads(line) for line in SCHEMA_1.read_text().splitlines()]
    found = [decode_record(kind, key, json.dumps(body).encode(), where="the test") for kind, key, body in lines]
    assert found == expected
    assert found[2].address(Family.V6) == IPv6Interface("fd00::2/64")  # type: ignore[union-attr]
