"""Long ranges that only the relay can carry: over crash and restart, up to the limit, and without delaying a create."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from atoll.daemon.servicewatch import LOOK_INTERVAL_S
from atoll.engine.relays import RELAYED_PORTS_MAX
from atoll.relay.client import RelayClient
from tests.netns.namespaces import eventually
from tests.support.daemon import DaemonHost, daemon_host
from tests.support.relayed import ask, bound, connect, echo, tcp_server, udp_client

LOOPBACK = "::1"


@pytest.fixture
def host() -> Iterator[DaemonHost]:
    with daemon_host("ranges") as made:
        yield made


def create(host: DaemonHost, name: str, *publish: str, query: str = "") -> list[str]:
    """Create a sandbox on the default bridge, which has only IPv4; the answer's warnings."""
    body = {"Name": name, "Publish": list(publish)}
    answer: dict[str, Any] = host.must("POST", f"/atoll/sandboxes/create{query}", body)
    return list(answer["Warnings"])


def degraded(host: DaemonHost) -> list[str]:
    return [each["Reason"] for each in host.must("GET", "/atoll/status")["Degraded"]]


@contextmanager
def answering(host: DaemonHost, name: str, port: int) -> Iterator[None]:
    """An echo server in a sandbox."""
    inside_ = host.must("GET", f"/atoll/sandboxes/{name}")["NetnsPath"]
    with tcp_server(inside_, echo, port, "0.0.0.0"):
        yield


def exchange(host: DaemonHost, port: int) -> None:
    with connect(host.name, LOOPBACK, port) as sock:
        ask(sock)


def can_exchange(host: DaemonHost, port: int) -> bool:
    try:
        exchange(host, port)
    except OSError:
        return False
    return True


def test_clients_of_long_ranges_do_not_notice_a_crash(host: DaemonHost) -> None:
    create(host, "one", "13000-13999:13000-13999", "8080:80")
    create(host, "two", "14000-14299:24000-24299")
    with ExitStack() as stack:
        for name, inner in (("one", 13000), ("one", 13999), ("one", 80), ("two", 24299)):
            stack.enter_context(answering(host, name, inner))
        open_ = [stack.enter_context(connect(host.name, LOOPBACK, port)) for port in (13000, 13999, 8080, 14299)]
        for _ in range(2):
            host.kill9()
            for sock in open_:
                ask(sock)
            exchange(host, 14299)
            host.start()
            assert degraded(host) == []
            for sock in open_:
                ask(sock)
            for port in (13000, 13999, 8080, 14299):
                exchange(host, port)
        refused = host.ask("POST", "/atoll/sandboxes/create", {"Name": "thief", "Publish": ["13500:80"]})
        assert refused.status == 409
        assert "13500/tcp" in refused.message and "one" in refused.message
    for name in ("one", "two"):
        host.must("DELETE", f"/atoll/sandboxes/{name}")
    assert host.run("ss -Hltun") == ""
    create(host, "heir", "13000-13999:13000-13999")


def test_a_range_comes_back_when_the_relay_was_killed(host: DaemonHost) -> None:
    create(host, "one", "13000-13999:13000-13999")
    path = host.directory / "run" / "relay.sock"
    pid = RelayClient(path).pid()
    host.run(f"kill -9 {pid}")
    create(host, "two", "8080:80")
    with answering(host, "one", 13999):
        exchange(host, 13999)
    assert RelayClient(path).pid() != pid
    assert degraded(host) == []


def test_a_relay_that_was_killed_is_replaced_though_nobody_asks(host: DaemonHost) -> None:
    create(host, "one", "13000-13999:13000-13999")
    path = host.directory / "run" / "relay.sock"
    for restarts in (1, 2):
        pid = RelayClient(path).pid()
        time.sleep(LOOK_INTERVAL_S + 0.2)
        host.run(f"kill -9 {pid}")
        begun = time.monotonic()
        with answering(host, "one", 13999):
            eventually(lambda: can_exchange(host, 13999), seconds=LOOK_INTERVAL_S * 3)
        assert restarts > 1 or time.monotonic() - begun < LOOK_INTERVAL_S, "not at once"
        assert RelayClient(path).pid() != pid
        assert host.log.count("relay.sock has ended") == restarts
    assert degraded(host) == []


def test_a_killed_relay_that_nobody_needs_is_not_started(host: DaemonHost) -> None:
    create(host, "one", "13000:13000")
    path = host.directory / "run" / "relay.sock"
    pid = RelayClient(path).pid()
    host.must("DELETE", "/atoll/sandboxes/one")
    host.run(f"kill -9 {pid}")
    time.sleep(4 * LOOK_INTERVAL_S)
    assert host.log.count("relay.sock has ended") == 1
    assert not RelayClient(path).running()
    create(host, "two", "13000:13000")
    with answering(host, "two", 13000):
        exchange(host, 13000)


def test_a_port_taken_while_daemon_and_relay_were_away_is_named(host: DaemonHost) -> None:
    create(host, "one", "13000-13999:13000-13999")
    host.kill9()
    RelayClient(host.directory / "run" / "relay.sock").stop()
    eventually(lambda: "13500" not in host.run("ss -Hltn"))  # a process that ends closes one file after the other
    with bound(host.name, port=13500):
        host.start()
        (reason,) = degraded(host)
        assert "[::]:13500/tcp" in reason or "0.0.0.0:13500/tcp" in reason
        assert "held by python" in reason
        assert host.must("GET", "/atoll/sandboxes/one")["Degraded"] == [reason]


def test_what_is_beyond_the_limit_is_said_and_served_once_there_is_room(host: DaemonHost) -> None:
    most = f"20000-{20000 + RELAYED_PORTS_MAX - 101}"
    assert create(host, "first", f"{most}:{most}") == []
    said = "relay: [::]:40000-40999/udp is closed to IPv6 clients: of 4096 relayed ports 100 are left"
    assert create(host, "planned", "40000-40999:40000-40999/udp", query="?dry-run=1") == [said]
    assert degraded(host) == []
    assert create(host, "second", "40000-40999:40000-40999/udp") == [said]
    assert degraded(host) == [said]
    # A range that fits is served although a longer one before it is not, and the choice outlives a restart.
    assert create(host, "third", "9000-9098:9000-9098") == []
    host.restart()
    assert degraded(host) == [said]
    with answering(host, "third", 9098):
        exchange(host, 9098)
    with udp_client(host.name, LOOPBACK, 40999) as sock, pytest.raises(ConnectionRefusedError):
        sock.send(b"hello")
        sock.recv(100)

    host.must("DELETE", "/atoll/sandboxes/first")
    assert degraded(host) == []
    with answering(host, "third", 9000):
        exchange(host, 9000)
    assert host.run("ss -Hlun sport = :40999").count("[::]:40999") == 1


def test_a_range_of_50000_ports_delays_no_create(host: DaemonHost) -> None:
    create(host, "first", "8080:80")  # starts the relay
    begun = time.monotonic()
    (warning,) = create(host, "whole", "10000-59999:10000-59999")
    assert time.monotonic() - begun < 1
    assert warning == "relay: [::]:10000-59999/tcp is closed to IPv6 clients: of 4096 relayed ports 4095 are left"
    # IPv4 clients have all of it.
    with answering(host, "whole", 59999), connect(host.name, "127.0.0.1", 59999) as sock:
        ask(sock)
