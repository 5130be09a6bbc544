"""`nft flush ruleset` under 10,000 published ports: an owned table loses nothing, a shared one is whole again soon."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from atoll.kernel import netns
from atoll.kernel.nlmsg import Exchange, attributes
from atoll.lab.flow import Flow
from atoll.lab.host import Host
from atoll.lab.probe import Answerer
from atoll.lab.topology import Lab

FIRST, PORTS = 20_000, 10_000
LAST = FIRST + PORTS - 1
WHOLE_AGAIN_MAX_S = 1.0
_NETFILTER, _GETGEN, _GEN_ID = 12, 0xA10, 1  # NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NFTA_GEN_ID


@contextmanager
def published(*options: str) -> Iterator[tuple[Host, Host]]:
    """A host that publishes 10,000 ports, each by an element, and one outside."""
    with Lab("flush") as lab:
        lan = lab.switch("lan", "10.99.0.0/24", "fd99::/64")
        host, outside = lab.host("host", lan), lab.host("outside", lan)
        host.start_daemon(*options)
        host.atoll(f"sandbox create web -p {FIRST}-{LAST}:{FIRST + 1}-{LAST + 1} -p 9000:9000/udp")
        Answerer(host.sandbox("web"), "web", [("tcp", "0.0.0.0", LAST + 1)])
        yield host, outside


def generation(host: Host) -> int:
    """How many transactions nftables has seen in a host's namespace."""

    def read() -> int:
        with Exchange(_NETFILTER) as kernel:
            answer = kernel.request(_GETGEN, bytes(4))
        return int.from_bytes(attributes(answer.payload, 4)[_GEN_ID], "big")

    return netns.run_in(str(host.path), read)


def until_answered(outside: Host, address: str, port: int) -> float:
    """Seconds until a connection to the port is answered."""

    def connect() -> float:
        begun = time.monotonic()
        while time.monotonic() - begun < 10:
            with socket.socket() as client:
                client.settimeout(0.05)
                if client.connect_ex((address, port)) == 0:
                    return time.monotonic() - begun
        return float("inf")

    return netns.run_in(str(outside.path), connect)


def test_an_owned_table_loses_nothing_under_traffic() -> None:
    with published() as (host, outside):
        before = host.run("nft list map inet atoll any4").stdout.count(" : ")
        target = (str(host.address()), 9000)
        flow = Flow(
            outside, host.sandbox("web"), protocol="udp", listen=("0.0.0.0", 9000), target=target, rate=2000, seconds=3
        )
        for _ in range(8):
            time.sleep(0.25)
            host.run("nft flush ruleset")
            assert until_answered(outside, target[0], LAST) < 0.05
        report = flow.report()
        assert (report.sent, report.lost) == (6000, 0)
        after = host.run("nft list map inet atoll any4").stdout.count(" : ")
        assert before == after >= PORTS


def test_a_shared_table_is_whole_again_by_one_transaction() -> None:
    with published("--shared-tables") as (host, outside):
        address = str(host.address())
        assert until_answered(outside, address, LAST) < 1
        assert "flags owner" not in host.run("nft list table inet atoll").stdout
        before = generation(host)
        host.run("nft flush ruleset")
        taken = until_answered(outside, address, LAST)
        print(f"whole again after {taken * 1000:.0f} ms ({os.cpu_count()} processors)")
        assert taken < WHOLE_AGAIN_MAX_S
        # The flush itself, and what put everything back.
        assert generation(host) == before + 2
        assert host.run("nft list map inet atoll any4").stdout.count(" : ") >= PORTS


def test_a_flush_while_a_new_sandbox_is_checked_is_mended_as_soon() -> None:
    with published("--shared-tables") as (host, outside):
        for delay_s in (0.30, 0.35, 0.40, 0.45):
            host.atoll("sandbox rm web")
            host.atoll(f"sandbox create web -p {FIRST}-{LAST}:{FIRST + 1}-{LAST + 1}")
            Answerer(host.sandbox("web"), "web", [("tcp", "0.0.0.0", LAST + 1)])
            time.sleep(delay_s)
            host.run("nft flush ruleset")
            assert until_answered(outside, str(host.address()), LAST) < 2 * WHOLE_AGAIN_MAX_S
