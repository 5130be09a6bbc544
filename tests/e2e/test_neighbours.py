"""What endpoints believe of each other stays right when an address gets another holder; nobody is told needlessly."""

from collections.abc import Iterator

import pytest

from atoll.lab.host import Host
from atoll.lab.topology import Lab

MAC = "02:00:00:00:77:01"


@pytest.fixture
def host() -> Iterator[Host]:
    with Lab("neigh") as lab:
        host = lab.host("host")
        host.start_daemon()
        host.atoll("network create --ipv6 --subnet 10.88.0.0/24 --subnet fd88::/64 --bridge-name front0 front")
        host.atoll("sandbox create asker --network front")
        yield host


def reaches(host: Host, address: str) -> bool:
    """Whether one ping is answered at once: who believes in another MAC asks again after three seconds only."""
    return host.sandbox("asker").run(f"ping -c 1 -W 1 {address}", check=False).returncode == 0


@pytest.mark.parametrize(("before", "after"), [(f",mac={MAC}", ""), ("", f",mac={MAC}")])
@pytest.mark.parametrize("address", ["10.88.0.20", "fd88::20"])
def test_the_next_holder_of_an_address_is_reached_at_once(host: Host, address: str, before: str, after: str) -> None:
    host.atoll(f"sandbox create one --network front,ip=10.88.0.20,ip6=fd88::20{before}")
    assert reaches(host, address)
    host.atoll("sandbox rm one")
    host.atoll(f"sandbox create two --network front,ip=10.88.0.20,ip6=fd88::20{after}")
    assert reaches(host, address)


def test_the_next_holder_of_an_ipv6_address_beside_another_ipv4_one_is_reached_at_once(host: Host) -> None:
    host.atoll("sandbox create one --network front,ip=10.88.0.20,ip6=fd88::20")
    assert reaches(host, "fd88::20")
    host.atoll("sandbox rm one")
    host.atoll("sandbox create two --network front,ip=10.88.0.21,ip6=fd88::20")
    assert reaches(host, "fd88::20")


def test_who_comes_to_a_usual_address_is_not_announced(host: Host) -> None:
    asker = host.sandbox("asker")
    with asker.capture("eth0", "arp or icmp6") as capture:
        host.atoll("sandbox create one --network front")
        host.atoll("sandbox rm one")
        host.atoll("sandbox create two --network front")
        host.atoll(f"sandbox create three --network front,ip=10.88.0.30,mac={MAC}")
        # Frames arrive in order: what came before the announcement that is to come was seen, too.
        told = capture.packets(1)[0].what
    assert "10.88.0.30" in told or "fd88::4" in told


@pytest.mark.parametrize(("first", "own"), [("10.88.0.3", "10.88.0.2"), ("fd88::3", "fd88::2")])
def test_nobody_else_hears_the_first_packet_to_a_newcomer(host: Host, first: str, own: str) -> None:
    asker = host.sandbox("asker")
    with asker.capture("eth0", "icmp[0] = 8 or icmp6[0] = 128") as capture:
        host.atoll("sandbox create one --network front")
        host.run(f"ping -c 1 -W 1 {first}")
        host.run(f"ping -c 1 -W 1 {own}")
        assert capture.packets(1)[0].target == own


def test_ipv6_addresses_stand_beside_ipv4_ones(host: Host) -> None:
    host.atoll("sandbox create odd --network front,ip=10.88.0.9")
    host.atoll("sandbox create even --network front")
    places = [host.inspect("sandbox", name)["Networks"]["front"] for name in ("asker", "odd", "even")]
    assert [(each["IPAddress"], each["GlobalIPv6Address"]) for each in places] == [
        ("10.88.0.2", "fd88::2"),
        ("10.88.0.9", "fd88::3"),
        ("10.88.0.3", "fd88::4"),
    ]
