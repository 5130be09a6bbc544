"""Whose a host port is: nobody's in routed mode, and the sandbox's as soon as a gateway of it translates."""

from collections.abc import Iterator

import pytest

from atoll.lab.probe import CLOSED_WAIT_S, Answerer, ask_one
from tests.e2e.security.ledger import Ledger
from tests.e2e.security.nets import NETS, VERSIONS
from tests.e2e.security.stage import EVERYWHERE, Stage

PORT, HOST_PORT = 93, 8930
SERVERS = [("tcp", EVERYWHERE[version], PORT) for version in VERSIONS]


@pytest.fixture
def twins(stage: Stage) -> Iterator[tuple[str, str]]:
    """Two sandboxes of the routed network that publish the same port."""
    names = ("one", "two")
    for last, name in enumerate(names, 60):
        ends = f"routed,ip={NETS['routed'].address(4, last)},ip6={NETS['routed'].address(6, last)}"
        stage.host.atoll(["sandbox", "create", name, "--network", ends, "-p", f"{HOST_PORT}:{PORT}"])
        Answerer(stage.host.sandbox(name), name, SERVERS)
    yield names
    stage.host.atoll(["sandbox", "rm", "-f", *names])


def asked(stage: Stage, version: int, address: str, port: int, *, wait_s: float = 3.0) -> str:
    """Who answers the neighbour."""
    return ask_one(stage.neighbour, "tcp", address or str(stage.host.address(version)), port, wait_s=wait_s).server


def test_routed_ports_are_the_containers_and_the_hosts_stay_free(
    stage: Stage, twins: tuple[str, str], ledger: Ledger
) -> None:
    service = Answerer(stage.host, "host", [("tcp", EVERYWHERE[v], HOST_PORT) for v in VERSIONS])
    for version in VERSIONS:
        found = [asked(stage, version, NETS["routed"].address(version, last), PORT) for last in (60, 61)]
        at_host = asked(stage, version, "", HOST_PORT)
        kept = (*found, at_host) == (*twins, "host")
        ledger.decide("two routed sandboxes publish one port, the host's is free", f"IPv{version}", kept=kept)
        assert kept, (found, at_host)
    service.stop()


def test_a_host_port_comes_with_a_gateway_that_translates_and_goes_with_it(
    stage: Stage, twins: tuple[str, str], ledger: Ledger
) -> None:
    host, (one, _) = stage.host, twins
    for version in VERSIONS:
        assert not asked(stage, version, "", HOST_PORT, wait_s=CLOSED_WAIT_S)
    host.atoll(["network", "connect", "--gw-priority", "5", "nat", one])
    for version in VERSIONS:
        by_host = asked(stage, version, "", HOST_PORT)
        straight = asked(stage, version, NETS["routed"].address(version, 60), PORT, wait_s=CLOSED_WAIT_S)
        kept = (by_host, straight) == (one, "")
        ledger.decide("the host port opens when a gateway translates", f"IPv{version}", kept=kept)
        assert kept, (by_host, straight)
    host.atoll(["network", "disconnect", "nat", one])
    for version in VERSIONS:
        by_host = asked(stage, version, "", HOST_PORT, wait_s=CLOSED_WAIT_S)
        straight = asked(stage, version, NETS["routed"].address(version, 60), PORT)
        kept = (by_host, straight) == ("", one)
        ledger.decide("and closes when it is routed again", f"IPv{version}", kept=kept)
        assert kept, (by_host, straight)
