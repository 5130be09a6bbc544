"""What `atoll rules --counters` says a network and a published port have carried is what was sent."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from atoll.lab.host import Host
from atoll.lab.namespace import Namespace
from atoll.lab.probe import Answerer, Question, ask
from atoll.lab.topology import Lab

SUBNETS = {"red": "10.81.0.0/24", "blue": "10.82.0.0/24"}
ECHO_OCTETS = 20 + 8 + 56
"""IPv4, ICMP, and what ping sends unless told otherwise."""


@dataclass
class Site:
    """A host with a network of each colour and a sandbox on it, and a host outside."""

    host: Host
    outside: Host
    sandboxes: Mapping[str, Namespace]

    def network(self, name: str, *options: str) -> dict[str, Any]:
        """A network as `atoll rules` gives it."""
        (rules,) = json.loads(self.host.atoll(["rules", *options, "--format", "json", name]).stdout)
        (found,) = rules["Networks"]
        return dict(found)

    def counted(self, name: str, of: str) -> list[tuple[int, int]]:
        """Packets and bytes of a network's elements of one set."""
        elements = self.network(name, "--counters")["Elements"]
        return [(each["Packets"], each["Bytes"]) for each in elements if each["Set"] == of]


@pytest.fixture
def site() -> Iterator[Site]:
    with Lab("counts") as lab:
        lan = lab.switch("lan", "10.99.0.0/24")
        host, outside = lab.host("host", lan), lab.host("outside", lan)
        host.start_daemon()
        for name, subnet in SUBNETS.items():
            host.atoll(f"network create {name} --subnet {subnet}")
            port = {"red": 8081, "blue": 8082}[name]
            host.atoll(f"sandbox create in-{name} --network {name} -p {port}:80")
        sandboxes = {name: host.sandbox(f"in-{name}") for name in SUBNETS}
        for name, sandbox in sandboxes.items():
            Answerer(sandbox, name, [("tcp", "0.0.0.0", 80)])
        yield Site(host, outside, sandboxes)


def ping(site: Site, name: str, times: int) -> None:
    """Open so many connections, of one packet each way, from a sandbox to the host outside."""
    for _ in range(times):
        site.sandboxes[name].run(f"ping -c1 -W2 {site.outside.address()}")


def test_networks_and_ports_have_counts_of_their_own(site: Site) -> None:
    assert "Packets" not in json.dumps(site.network("red"))
    assert site.network("red")["Iptables"][0].split()[:3] == ["-", "-", "MASQUERADE"]

    ping(site, "red", 3)
    ping(site, "blue", 1)
    assert site.counted("red", "masq") == [(3, 3 * ECHO_OCTETS)]
    assert site.counted("blue", "masq") == [(1, ECHO_OCTETS)]

    questions = {str(number): Question("tcp", str(site.host.address()), 8082) for number in range(4)}
    assert {answer.server for answer in ask(site.outside, questions).values()} == {"blue"}
    assert [packets for packets, _octets in site.counted("red", "any4")] == [0]
    assert [packets for packets, _octets in site.counted("blue", "any4")] == [4]

    lines = [line.split() for line in site.network("blue", "--counters")["Iptables"]]
    assert [(line[2], line[0]) for line in lines] == [("MASQUERADE", "1"), ("DNAT", "4")]
    shown = [line.split() for line in site.host.atoll("rules --counters red").stdout.splitlines()]
    assert [words for words in shown if {"masq", "3", str(3 * ECHO_OCTETS)} <= set(words)]


def test_counts_go_on_over_a_restart_and_begin_again_with_the_rules(site: Site) -> None:
    ping(site, "red", 2)
    assert site.host.daemon is not None
    site.host.daemon.stop()
    ping(site, "red", 1)
    site.host.start_daemon()
    assert site.counted("red", "masq") == [(3, 3 * ECHO_OCTETS)]

    site.host.daemon.stop()
    site.host.run("nft delete chain inet atoll version")
    site.host.start_daemon()
    assert site.counted("red", "masq") == [(0, 0)]
    ping(site, "red", 1)
    assert site.counted("red", "masq") == [(1, ECHO_OCTETS)]
