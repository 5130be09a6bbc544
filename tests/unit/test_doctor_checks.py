"""Each check over snapshots: above all those that a host made of a namespace can't be given."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from atoll.doctor.diagnose import diagnose
from atoll.doctor.finding import Finding, Kind, Severity
from atoll.doctor.remedies import make_anew
from atoll.doctor.snapshot import Snapshot
from atoll.kernel.diagnosis.managers import read_managers
from atoll.model.addresses import Family
from atoll.model.facts import HostFacts
from atoll.model.hostview import (
    AddressView,
    Feature,
    HostView,
    LinkView,
    Manager,
    NeighbourTable,
    PortHolder,
    RouteView,
    Usage,
)
from atoll.model.ports import PortBinding, PortRange, Protocol
from atoll.model.ruleset import Chain, Ruleset, Tool, Verdict
from atoll.model.world import Allowance, World
from tests.support.worlds import a_network, a_sandbox, an_endpoint, an_id

DOCUMENT = Path(__file__).parents[2] / "docs" / "doctor.md"
FRONT = a_network(1, "front", "10.88.0.0/24", "fd88::/64")
BRIDGE = "at-000000000001"
LONG = PortBinding(Protocol.TCP, None, PortRange(9000, 9999), PortRange(9000, 9999))
WEB = a_sandbox(2, "web", bindings=(LONG,))
DEFAULTS = tuple(
    RouteView(ip_network(prefix), "eth0", ip_address(gateway))
    for prefix, gateway in (("0.0.0.0/0", "192.0.2.1"), ("::/0", "2001:db8::1"))
)
LINKS = (LinkView("eth0", 2, 1500), LinkView(BRIDGE, 3, 1500, "bridge", ours=True))
WELL = Snapshot(World.of((FRONT, WEB, an_endpoint(3, FRONT, WEB))), view=HostView(links=LINKS, routes=DEFAULTS, pid=77))


def found_in(snapshot: Snapshot = WELL, **changes: object) -> list[Finding]:
    """Findings of a snapshot with a changed view."""
    return list(diagnose(replace(snapshot, view=replace(snapshot.view, **changes))))  # type: ignore[arg-type]


def the(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_well_host_has_no_findings() -> None:
    assert found_in() == []
    assert diagnose(Snapshot()) == ()


def test_every_kind_is_explained() -> None:
    text = DOCUMENT.read_text()
    missing = [kind for kind in Kind if f"\n## {kind}\n" not in text]
    assert not missing


@pytest.mark.parametrize(
    ("entries", "overflows", "severity"),
    [(10, 0, None), (900, 0, Severity.WARNING), (10, 3, Severity.WARNING), (1024, 9, Severity.ERROR)],
)
def test_neighbours(entries: int, overflows: int, severity: Severity | None) -> None:
    findings = found_in(neighbours={Family.V4: NeighbourTable(entries, 1024, overflows)})
    if severity is None:
        assert findings == []
        return
    finding = the(findings)
    assert (finding.severity, finding.kind) == (severity, Kind.NEIGHBOURS)
    assert finding.remedy == ("sysctl -w net.ipv4.neigh.default.gc_thresh3=8192",)
    assert f"{entries} of at most 1024" in finding.found


@pytest.mark.parametrize(
    ("usage", "severity"),
    [
        (Usage(80, 100), Severity.WARNING),
        (Usage(100, 100), Severity.ERROR),
        (Usage(79, 100), None),
        (Usage(5, 0), None),
    ],
)
def test_conntrack(usage: Usage, severity: Severity | None) -> None:
    assert [finding.severity for finding in found_in(tracked=usage)] == ([severity] if severity else [])


def test_open_files() -> None:
    assert the(found_in(open_files=Usage(9, 1024))).severity is Severity.NOTE
    full = the(found_in(open_files=Usage(900, 1024)))
    assert (full.severity, full.remedy) == (Severity.WARNING, ("prlimit --pid 77 --nofile=65536:65536",))
    assert found_in(open_files=Usage(9, 20000)) == []


def test_features() -> None:
    finding = the(found_in(absent=frozenset({Feature.NAT})))
    assert finding.severity is Severity.ERROR and Feature.NAT in finding.found and "modprobe" in finding.remedy[0]
    assert the(found_in(absent=frozenset({Feature.IPV6}))).severity is Severity.ERROR
    old = replace(WELL, world=World.of((a_network(1, "old", "10.1.0.0/24"),)))
    assert the(found_in(old, absent=frozenset({Feature.IPV6}))).severity is Severity.NOTE


def test_an_old_kernel_cannot_own_tables() -> None:
    foreign = replace(WELL, owned=False)
    assert (the(found_in(foreign)).severity, len(the(found_in(foreign)).remedy)) == (Severity.WARNING, 4)
    old = the(found_in(foreign, absent=frozenset({Feature.OWNERSHIP})))
    assert (old.kind, old.severity, old.remedy) == (Kind.OWNERSHIP, Severity.NOTE, ())


def test_rules_that_could_not_be_read() -> None:
    finding = the(found_in(ruleset=Ruleset((), ("iptables-legacy-save is not installed",))))
    assert (finding.severity, finding.remedy) == (Severity.NOTE, ("apt-get install iptables",))
    assert the(found_in(ruleset=Ruleset((), ("nft ended with 1: no",)))).remedy == ()


@pytest.mark.parametrize(
    ("name", "remedy"), [("NetworkManager", "nmcli general reload"), ("systemd-networkd", "networkctl reload")]
)
def test_managers(name: str, remedy: str) -> None:
    finding = the(found_in(managers=(Manager(name, (BRIDGE,)),)))
    assert finding.found == f"{name} manages {BRIDGE}" and finding.remedy[-1] == remedy
    assert found_in(managers=(Manager(name),)) == []


def test_managers_are_read_from_their_own_files(tmp_path: Path) -> None:
    """Processes of these names, in this namespace or another one."""
    run, proc = tmp_path / "run", tmp_path / "proc"
    for pid, name, netns in (("1", "NetworkManager", "one"), ("2", "systemd-network", "two"), ("self", "x", "one")):
        (proc / pid / "ns").mkdir(parents=True)
        (proc / pid / "comm").write_text(f"{name}\n")
        (tmp_path / netns).touch()
        (proc / pid / "ns" / "net").symlink_to(tmp_path / netns)
    devices = run / "NetworkManager" / "devices"
    devices.mkdir(parents=True)
    (devices / "3").write_text("[device]\nmanaged=true\n")
    (devices / "4").write_text("[device]\nmanaged=false\n")
    assert read_managers({3: "atoll0", 4: "av1", 5: "av2"}, run=run, proc=proc) == (
        Manager("NetworkManager", ("atoll0",)),
    )


def test_a_forward_chain_that_is_open_to_us_is_no_finding() -> None:
    chain = Chain(Tool.NFT, "inet", "t", "c", "forward", "filter", 0, Verdict.DROP)
    assert the(found_in(ruleset=Ruleset((chain,)))).kind is Kind.FORWARD_DROP
    internal = replace(WELL, world=World.of((replace(FRONT, internal=True),)))
    assert found_in(internal, ruleset=Ruleset((chain,))) == []
    crossing = replace(internal, facts=HostFacts(bridge_nf_call={Family.V4: True}))
    assert [finding.kind for finding in found_in(crossing, ruleset=Ruleset((chain,)))] == [
        Kind.FORWARD_DROP,
        Kind.BRIDGE_FILTER,
    ]


def test_forwarding_asks_only_families_in_use() -> None:
    off = {"net/ipv6/conf/all/forwarding": "0", "net/ipv4/conf/eth1/forwarding": "0"}
    old = replace(WELL, world=World.of((a_network(1, "old", "10.1.0.0/24"),)))
    assert found_in(old, sysctls=off) == []
    assert the(found_in(sysctls=off)).remedy == ("sysctl -w net.ipv6.conf.all.forwarding=1",)


def test_an_interface_name_with_a_dot_is_written_with_slashes() -> None:
    routes = (RouteView(ip_network("0.0.0.0/0"), "eth0.5", ip_address("192.0.2.1")),)
    finding = the(found_in(routes=routes, sysctls={"net/ipv4/conf/eth0.5/forwarding": "0"}))
    assert finding.remedy == ("sysctl -w net/ipv4/conf/eth0.5/forwarding=1",)


@pytest.mark.parametrize(
    ("prefix", "table", "severity"),
    [
        ("0.0.0.0/1", 254, None),
        ("10.99.0.0/16", 254, None),
        ("10.88.0.0/16", 254, Severity.WARNING),
        ("10.88.0.64/26", 254, Severity.ERROR),
        ("10.88.0.0/16", 52, Severity.ERROR),
        ("fd88::/48", 254, Severity.WARNING),
    ],
)
def test_overlapping_routes(prefix: str, table: int, severity: Severity | None) -> None:
    route = RouteView(ip_network(prefix), "tun0", None, 0, table)
    findings = found_in(routes=(*DEFAULTS, route))
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_a_network_moves_to_a_free_subnet_with_all_who_are_on_it() -> None:
    address = AddressView("eth1", ip_interface("10.88.0.9/25"))
    other = AddressView("eth1", ip_interface("10.192.0.9/24"))
    finding = next(f for f in found_in(addresses=(address, other)) if "10.88.0.9/25" in f.found)
    assert finding.remedy == (
        "atoll network disconnect front web",
        "atoll network rm front",
        "atoll network create --subnet 10.192.1.0/24 --subnet fd88::/64 --gateway fd88::1 --ipv6 front",
        "atoll network connect front web",
    )
    predefined = replace(WELL, world=World.of((replace(FRONT, name="bridge"),)))
    assert the(found_in(predefined, addresses=(address,))).remedy == ("ip address del 10.88.0.9/25 dev eth1",)


def test_a_network_that_is_made_anew_keeps_what_it_had() -> None:
    options = {"com.docker.network.bridge.name": "br 0", "com.docker.network.driver.mtu": "9000"}
    back = a_network(4, "back", "10.89.0.0/24")
    front = replace(FRONT, internal=False, labels={"a": "it's"}, options=options)
    pinned = replace(an_endpoint(3, front, WEB), static=(ip_address("10.88.0.2"),), aliases=("db",), gateway_priority=7)
    world = World.of((front, back, WEB, pinned, Allowance(back.id, front.id)))
    assert make_anew(replace(WELL, world=world), front, mtu_bytes=1400)[1:] == (
        "atoll network rm front",
        "atoll network create --subnet 10.88.0.0/24 --gateway 10.88.0.1 --subnet fd88::/64 --gateway fd88::1 --ipv6 "
        "-o 'com.docker.network.bridge.name=br 0' --label 'a=it'\"'\"'s' --mtu 1400 front",
        "atoll network allow --one-way back front",
        "atoll network connect --ip 10.88.0.2 --alias db --gw-priority 7 front web",
    )


def test_a_vpn_that_takes_over_is_the_uplink() -> None:
    halves = tuple(RouteView(ip_network(half), "wg0") for half in ("0.0.0.0/1", "128.0.0.0/1"))
    links = (*LINKS, LinkView("wg0", 4, 1420))
    assert "uplink wg0 has an MTU of 1420" in the(found_in(routes=(*DEFAULTS, *halves), links=links)).found


def test_ipv6_switched_off_on_a_bridge() -> None:
    finding = the(found_in(sysctls={f"net/ipv6/conf/{BRIDGE}/disable_ipv6": "1"}))
    assert (finding.kind, finding.severity) == (Kind.IPV6_DISABLED, Severity.ERROR)


def test_degraded_objects_are_named() -> None:
    snapshot = replace(WELL, degraded={an_id(2): "held by nginx (pid 12)", an_id(1): "left alone", "": "no"})
    findings = diagnose(snapshot)
    assert [finding.subject for finding in findings] == ["sandbox web", "network front", "host"]
    assert findings[0].remedy[:2] == ("kill 12", "atoll sandbox inspect web")


def test_a_listener_inside_a_published_range() -> None:
    holder = PortHolder(Protocol.TCP, ip_address("0.0.0.0"), 9500, "nginx (pid 12)")
    finding = the(found_in(listeners=(holder,)))
    assert (finding.severity, finding.remedy) == (Severity.WARNING, ("kill 12",))
    assert "*:9000-9999->9000-9999/tcp" in finding.found
    degraded = replace(WELL, degraded={an_id(2): "the port is held"})
    assert the(found_in(degraded, listeners=(holder,))).remedy == ("kill 12", "atoll down", "atoll up")


def test_the_worst_comes_first() -> None:
    findings = found_in(
        open_files=Usage(9, 1024), tracked=Usage(90, 100), sysctls={"net/ipv4/ip_forward": "0"}, absent=frozenset()
    )
    assert [finding.severity for finding in findings] == [Severity.ERROR, Severity.WARNING, Severity.NOTE]
