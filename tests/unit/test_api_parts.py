"""The pure parts of the API: bodies, filters, versions, times, errors, and the hub of events."""

import asyncio

import msgspec
import pytest

from atoll import errors
from atoll.api.body import decode_body
from atoll.api.clock import rfc3339
from atoll.api.docker_networks import parse_network_create
from atoll.api.errors import STATUS, status_of
from atoll.api.events import HISTORY_MAX, WAITING_MAX, EventHub, parse_event_filters
from atoll.api.filters import parse_filters
from atoll.api.network_filters import parse_prune_filters
from atoll.api.query import parse_flag, parse_timestamp_ns
from atoll.api.versions import ApiVersion, fields_of, parse_version
from atoll.engine.events import Event
from atoll.errors import AtollError, Forbidden, InvalidRequest
from atoll.model.network import Driver, Network

KNOWN = frozenset({"name", "label", "dangling"})
HOUR_NS = 3600 * 10**9
NOW_NS = 1_700_000_000 * 10**9


class Shape(msgspec.Struct):
    name: str = ""
    numbers: list[int] = msgspec.field(default_factory=list)


def network(*, created_ns: int = 0, labels: dict[str, str] | None = None) -> Network:
    return Network("0" * 64, "net", Driver.BRIDGE, created_ns, labels=labels or {})


def test_every_error_has_a_status() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AtollError)]
    assert len(kinds) > 10
    for kind in kinds:
        assert any(base in STATUS for base in kind.__mro__)
    assert status_of(errors.PoolOverlap("x")) == 403
    assert status_of(errors.NameTaken("x")) == 409
    assert status_of(errors.StoreTooNew("x")) == 500
    assert status_of(errors.ApplyFailed("x", failed="", undone=0)) == 500


def test_null_is_as_good_as_absent() -> None:
    assert decode_body(b'{"name": null, "numbers": [1, null]}', Shape) == Shape("", [1])
    assert decode_body(b"null", Shape) == Shape()
    request = parse_network_create(b'{"Name": "a", "IPAM": null, "Options": null, "Labels": null, "Driver": null}')
    assert (request.name, request.driver, request.pools) == ("a", Driver.BRIDGE, ())


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"name": 5}', ("name", "5", "str")),
        (b'{"numbers": [1, "two"]}', ("numbers[1]", "two", "int")),
        (b"[1]", ("[1]", "object")),
        (b"{", ("{", "JSON")),
        (b"  ", ("no body",)),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, ("nested",)),
    ],
)
def test_wrong_bodies_are_named(raw: bytes, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_body(raw, Shape)
    for word in words:
        assert word in refused.value.message
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("name", ["bridge", "host", "none", "default"])
def test_predefined_names_are_nobodys(name: str) -> None:
    with pytest.raises(Forbidden, match=name):
        parse_network_create(f'{{"Name": "{name}"}}'.encode())


def test_families_are_switched_by_field_and_by_option() -> None:
    def families(body: str) -> tuple[bool, bool]:
        request = parse_network_create(f'{{"Name": "a", {body}}}'.encode())
        return request.ipv4, request.ipv6

    option = '"Options": {"com.docker.network.enable_ipv6": "true"}'
    assert families('"Driver": ""') == (True, False)
    assert families('"EnableIPv6": true') == (True, True)
    assert families('"EnableIPv4": false, "EnableIPv6": true') == (False, True)
    assert families(option) == (True, True)
    assert families(f'{option}, "EnableIPv6": false') == (True, False)


def test_filters_have_two_forms() -> None:
    for text in ('{"name": ["a", "b"]}', '{"name": {"a": true, "b": true, "c": false}}'):
        assert parse_filters(text, known=KNOWN).values == {"name": ("a", "b")}
    assert parse_filters("", known=KNOWN).values == {}
    assert parse_filters('{"name": []}', known=KNOWN).values == {}


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        ("web", ["web", "my-web-2"], ["we"]),
        ("^web$", ["web"], ["web2", "my-web"]),
        ("w.b|db", ["wob", "adb"], ["d"]),
        ("web[", ["web["], ["web"]),
        ("a.*z", ["a-z"], ["za"]),
    ],
)
def test_names_match_as_in_docker(pattern: str, fits: list[str], fails: list[str]) -> None:
    matches = parse_filters(msgspec.json.encode({"name": [pattern]}).decode(), known=KNOWN).pattern("name")
    assert all(matches(text) for text in fits)
    assert not any(matches(text) for text in fails)


@pytest.mark.parametrize("pattern", ["(a+)+$", "a*a*a*a*b", "x" * 300, "(?:a|aa)"])
def test_patterns_that_could_take_long_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_filters(msgspec.json.encode({"name": [pattern]}).decode(), known=KNOWN).pattern("name")


def test_labels_of_one_filter_add_up() -> None:
    labels = {"colour": "red", "size": ""}
    for text, fits in (
        ('{"label": ["colour"]}', True),
        ('{"label": ["colour=red", "size"]}', True),
        ('{"label": ["colour=red", "weight"]}', False),
        ('{"label": ["colour="]}', False),
        ('{"label": ["size="]}', True),
    ):
        assert parse_filters(text, known=KNOWN).labelled("label", labels) is fits, text


@pytest.mark.parametrize(
    ("until", "age_ns", "kept"),
    [
        ("1h", HOUR_NS - 1, True),
        ("1h", HOUR_NS + 1, False),
        ("1h30m", HOUR_NS, True),
        ("90000ms", 91 * 10**9, False),
        (str(NOW_NS // 10**9 - 3600), HOUR_NS + 1, False),
        ("2023-11-14T22:13:20", 1, False),
        ("2023-11-14T22:13:20Z", -1, True),
        ("2023-11-14", HOUR_NS, True),
    ],
)
def test_prune_until(until: str, age_ns: int, kept: bool) -> None:
    keeps = parse_prune_filters(f'{{"until": ["{until}"]}}', now_ns=NOW_NS)
    assert keeps(network(created_ns=NOW_NS - age_ns)) is kept


def test_prune_by_label() -> None:
    keeps = parse_prune_filters('{"label": {"a": true}, "label!": {"b": true}}', now_ns=NOW_NS)
    assert not keeps(network(labels={"a": "1"}))
    assert keeps(network(labels={"a": "1", "b": "2"}))
    assert keeps(network())


def test_versions_are_ordered_by_number() -> None:
    assert ApiVersion(1, 9) < ApiVersion(1, 24) < ApiVersion(1, 50)
    assert parse_version("1.24") == ApiVersion(1, 24)
    body = {"Name": "a", "EnableIPv4": True, "BridgeNfIptables": False}
    assert fields_of(ApiVersion(1, 47), body).keys() == {"Name", "BridgeNfIptables"}
    assert fields_of(ApiVersion(1, 50), body).keys() == {"Name", "EnableIPv4"}


@pytest.mark.parametrize("text", ["1.51", "1.23", "2.0", "1", "1.2.3", "", "1.", "9999.1"])
def test_versions_outside_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_version(text)


def test_times_keep_their_nanoseconds() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert rfc3339(NOW_NS + 1) == "2023-11-14T22:13:20.000000001Z"
    assert parse_timestamp_ns("since", "1700000000.000000001") == NOW_NS + 1
    assert parse_timestamp_ns("since", "-5") == -5 * 10**9
    for text in ("", "x", "1.2.3", "1e9", "1.0000000001", "²", "12345678901"):
        with pytest.raises(InvalidRequest):
            parse_timestamp_ns("since", text)


def test_flags() -> None:
    assert parse_flag({"force": "1"}, "force") and parse_flag({"force": "True"}, "force")
    assert not parse_flag({"force": "0"}, "force") and not parse_flag({}, "force")
    with pytest.raises(InvalidRequest, match="perhaps"):
        parse_flag({"force": "perhaps"}, "force")


def event(number: int) -> Event:
    return Event("network", "create", f"{number:064x}", number, {"name": f"n{number}", "type": "bridge"})


def test_a_slow_watcher_is_cut_off_and_nobody_else() -> None:
    async def watch() -> None:
        hub = EventHub()
        with hub.watch() as slow, hub.watch() as quick:
            for number in range(WAITING_MAX + 10):
                hub.publish(event(number))
                assert (await quick.next()) == event(number)
            assert await slow.next() is None
        assert hub.history() == tuple(event(n) for n in range(WAITING_MAX + 10 - HISTORY_MAX, WAITING_MAX + 10))

    asyncio.run(watch())


def test_a_closed_hub_ends_those_who_come_late() -> None:
    async def watch() -> None:
        hub = EventHub()
        with hub.watch() as early:
            hub.close()
            assert await early.next() is None
        with hub.watch() as late:
            assert await late.next() is None

    asyncio.run(watch())


def test_event_filters() -> None:
    connected = Event("network", "connect", "a" * 64, 0, {"name": "net", "type": "bridge", "container": "c" * 64})
    removed = Event("sandbox", "destroy", "c" * 64, 0, {"name": "box"})
    for text, wanted in (
        ("", [connected, removed]),
        ('{"type": ["network"]}', [connected]),
        ('{"network": ["net"]}', [connected]),
        ('{"container": {"%s": true}}' % ("c" * 64), [connected, removed]),
        ('{"sandbox": ["box"]}', [removed]),
        ('{"event": ["connect", "destroy"], "type": ["sandbox"]}', [removed]),
        ('{"network": [""]}', []),
    ):
        fits = parse_event_filters(text)
        assert [each for each in (connected, removed) if fits(each)] == wanted, text
