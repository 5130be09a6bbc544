"""Hosts that are broken for real: `atoll doctor` names the cause, and its remedy, typed, mends it.

Where packets were stopped they are tried before and after.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atoll.lab.probe import Answerer
from tests.support.dockerd import SCRIPTS as DOCKERD
from tests.support.patients import PORT, WEB_ADDRESS, Patient, patient

UFW = Path(__file__).parent / "ufw"


@pytest.fixture
def well() -> Iterator[Patient]:
    with patient() as found:
        yield found


def nft(host: Patient, *lines: str) -> None:
    host.host.run("nft -f -", stdin="\n".join(lines) + "\n")


@pytest.mark.parametrize("bridge_nf_call", [0, 1])
def test_a_healthy_host_has_no_warnings(bridge_nf_call: int) -> None:
    with patient(bridge_nf_call=bridge_nf_call) as found:
        status, findings = found.examine()
        assert (status, found.reaches(), found.reaches(version=6)) == (0, "web", "web")
        assert [finding["Kind"] for finding in findings] == ["bridge-filter"] * bridge_nf_call, findings


def test_without_a_daemon_it_says_so() -> None:
    with patient() as found:
        assert found.host.daemon is not None
        found.host.daemon.stop()
        done = found.host.atoll("doctor", check=False)
        assert done.returncode == 2 and "atoll up" in done.stderr and not done.stdout


def test_nft_forward_policy(well: Patient) -> None:
    nft(well, "table inet filter { chain forward { type filter hook forward priority filter; policy drop; }; }")
    assert not well.reaches()
    found = well.find("forward-drop", "chain forward of table inet filter (nft) drops: policy drop")
    assert found["Severity"] == "error" and well.examine()[0] == 2
    assert "nft insert rule inet filter forward iifname '\"at-*\"' accept" in found["Remedy"]
    well.cure(found)
    assert (well.serious(), well.reaches(), well.reaches(version=6)) == ([], "web", "web")


def test_nft_forward_rules_behind_jumps(well: Patient) -> None:
    nft(
        well,
        "table inet guard {",
        "chain last { reject with icmpx admin-prohibited; }",
        "chain zones { iifname vmap { lo : accept, eth9 : goto last }",
        "return; }",
        "chain forward { type filter hook forward priority 10",
        "ct state established,related accept",
        "ct state invalid drop",
        "jump zones",
        "iifname eth9 goto last; }",
        "}",
    )
    assert (well.serious(), well.reaches()) == ([], "web")
    nft(well, "insert rule inet guard zones oifname != lo jump last")
    assert not well.reaches()
    found = well.find("forward-drop", "table inet guard", "reject with icmpx")
    assert "bridge, front" in found["Breaks"]
    well.cure(found)
    assert (well.serious(), well.reaches()) == ([], "web")


def test_iptables_legacy_forward_policy(well: Patient) -> None:
    for program, version in (("iptables-legacy", 4), ("ip6tables-legacy", 6)):
        well.host.run(f"{program} -P FORWARD DROP")
        assert "FORWARD" not in well.host.out("nft list ruleset") and not well.reaches(version=version)
        found = well.find("forward-drop", "chain FORWARD", "(iptables-legacy) drops: policy drop")
        assert f"{program} -I FORWARD -i at-+ -j ACCEPT" in found["Remedy"]
        well.cure(found)
        assert (well.serious(), well.reaches(version=version)) == ([], "web")


def test_dockerd_beside_it(well: Patient, tmp_path: Path) -> None:
    """It closes FORWARD when it is the one who switches forwarding on."""
    well.type("atoll down")
    well.type("sysctl -w net.ipv4.ip_forward=0")
    process = subprocess.Popen([DOCKERD / "start", str(well.host.path), str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: ":FORWARD DROP" in well.host.out("iptables-save") and (tmp_path / "docker.sock").exists())
        well.type("atoll up")
        assert not well.reaches()
        found = well.find("forward-drop", "chain FORWARD of table ip filter (iptables-nft) drops: policy drop")
        assert "iptables-nft -I DOCKER-USER -i at-+ -j ACCEPT" in found["Remedy"]
        well.cure(found)
        assert (well.serious(), well.reaches()) == ([], "web")
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_ufw(well: Patient, tmp_path: Path) -> None:
    subprocess.run([UFW / "make", tmp_path], check=True)
    programs = f"{tmp_path}/bin"
    web, gateway = well.host.sandbox("web"), "10.88.0.1"
    assert well.pings(web, gateway)
    well.type("ufw --force enable", path=programs)
    assert not well.reaches() and not asks_gateway(well)
    found = well.find("forward-drop", "table ip filter")
    assert "ufw route allow in on at-+" in found["Remedy"]
    well.cure(found, path=programs)
    assert well.reaches() == "web"
    asked = well.find("input-drop", "chain INPUT of table ip filter")
    assert (asked["Severity"], asked["Remedy"]) == ("warning", ["ufw allow in on at-+", "ufw allow in on atoll0"])
    well.cure(asked, path=programs)
    assert asks_gateway(well) and well.serious() == []
    assert "of web" in well.find("input-bypassed")["Found"]


def test_firewalld(well: Patient) -> None:
    """Its own table can be changed through its daemon only; what that does is done here by hand."""
    nft(
        well,
        "table inet firewalld {",
        "chain filter_FORWARD_ZONES { iifname eth0 return; }",
        "chain filter_FORWARD { type filter hook forward priority filter + 10",
        "ct state { established, related } accept",
        'iifname "lo" accept',
        "jump filter_FORWARD_ZONES",
        "ct state invalid drop",
        "reject with icmpx admin-prohibited; }",
        "}",
    )
    assert not well.reaches()
    found = well.find("forward-drop", "chain filter_FORWARD of table inet firewalld", "reject with icmpx")
    assert found["Remedy"][-1] == "firewall-cmd --reload"
    bridges = [line.split("=")[-1] for line in found["Remedy"][:-1]]
    assert "atoll0" in bridges and len(bridges) == 2
    for bridge in bridges:
        for way in ("iifname", "oifname"):
            nft(well, f"insert rule inet firewalld filter_FORWARD_ZONES {way} {bridge} accept")
    assert (well.serious(), well.reaches()) == ([], "web")


def test_a_bridge_chain_between_neighbours(well: Patient) -> None:
    well.host.atoll("sandbox create other --network front")
    other = well.host.sandbox("other")
    nft(well, "table bridge lan { chain forward { type filter hook forward priority 0; policy drop; }; }")
    assert not well.pings(other, WEB_ADDRESS)
    found = well.find("forward-drop", "chain forward of table bridge lan (nft) drops: policy drop")
    well.cure(found)
    assert well.pings(other, WEB_ADDRESS) and well.serious() == []


@pytest.mark.parametrize(
    ("line", "word", "version"),
    [
        ("sysctl -w net.ipv4.ip_forward=0", "net.ipv4.ip_forward is 0", 4),
        ("sysctl -w net.ipv6.conf.all.forwarding=0", "net.ipv6.conf.all.forwarding is 0", 6),
        ("sysctl -w net.ipv4.conf.eth0.forwarding=0", "net.ipv4.conf.eth0.forwarding is 0", 4),
    ],
)
def test_forwarding_switched_off(well: Patient, line: str, word: str, version: int) -> None:
    well.type(line)
    assert not well.reaches(version=version)
    found = well.find("forwarding", word)
    assert found["Severity"] == "error"
    well.cure(found)
    assert (well.serious(), well.reaches(version=version)) == ([], "web")


def test_a_vpn_takes_part_of_a_subnet(well: Patient) -> None:
    for line in ("ip tuntap add vpn0 mode tun", "ip link set vpn0 up", "ip route add 10.88.0.128/25 dev vpn0"):
        well.type(line)
    assert not well.reaches()
    found = well.find("overlap", "route 10.88.0.128/25 dev vpn0", "network front has 10.88.0.0/24")
    assert found["Severity"] == "error" and "atoll network rm front" in found["Remedy"]
    well.cure(found)
    assert (well.serious(), well.reaches()) == ([], "web")


def test_a_network_hides_a_part_of_a_vpn(well: Patient) -> None:
    for line in ("ip tuntap add vpn0 mode tun", "ip link set vpn0 up", "ip route add 172.16.0.0/12 dev vpn0"):
        well.type(line)
    found = well.find("overlap", "172.16.0.0/12 dev vpn0", "network bridge has 172.17.0.0/16")
    assert (found["Severity"], well.examine()[0]) == ("warning", 1)
    well.cure(found)
    assert well.serious() == []


def test_an_interface_gets_an_address_of_a_subnet(well: Patient) -> None:
    well.type("ip address add 10.88.0.129/25 dev eth0")
    assert not well.reaches()
    found = well.find("overlap", "interface eth0 has address 10.88.0.129/25")
    well.cure(found)
    assert (well.serious(), well.reaches()) == ([], "web")


def test_an_uplink_with_a_smaller_mtu(well: Patient) -> None:
    well.type("ip link set eth0 mtu 1400")
    fronts = well.find("mtu", "uplink eth0 has an MTU of 1400 bytes, network front")
    assert fronts["Severity"] == "warning" and any("--mtu 1400" in line for line in fronts["Remedy"])
    well.cure(fronts)
    assert well.host.inspect("network", "front")["Options"]["com.docker.network.driver.mtu"] == "1400"
    assert well.host.inspect("sandbox", "web")["Networks"]["front"]["IPAddress"] == WEB_ADDRESS
    assert well.reaches() == "web"
    well.cure(well.find("mtu", "network bridge"))
    assert well.serious() == [] and well.find("mtu", "network bridge")["Severity"] == "note"


def test_a_port_with_a_smaller_mtu(well: Patient) -> None:
    well.host.atoll("sandbox create other --network front")
    port = well.host.inspect("sandbox", "web")["Networks"]["front"]["HostIfname"]
    well.type(f"ip link set {port} mtu 1300")
    large = ["ping", "-c1", "-W1", "-s1400", "-Mdo", WEB_ADDRESS]
    other = well.host.sandbox("other")
    assert other.run(large, check=False).returncode != 0
    well.cure(well.find("mtu", f"{port}, a port of bridge"))
    assert well.serious() == [] and other.run(large, check=False).returncode == 0


def test_another_table_takes_a_port(well: Patient) -> None:
    Answerer(well.host, "thief", [("tcp", "0.0.0.0", 9999)])
    nft(
        well,
        "table ip thief { chain prerouting { type nat hook prerouting priority -150",
        f"tcp dport {{ 443, {PORT} }} redirect to :9999; }}; }}",
    )
    assert well.reaches() == "thief"
    found = well.find("port-translated", "chain prerouting of table ip thief", "redirect to :9999")
    assert found["Severity"] == "error" and found["Remedy"][0].startswith("nft delete rule ip thief prerouting handle")
    well.cure(found)
    assert (well.serious(), well.reaches()) == ([], "web")


def test_another_tool_leads_a_port_elsewhere_in_vain(well: Patient) -> None:
    well.host.run(f"iptables-legacy -t nat -A PREROUTING -p tcp --dport {PORT} -j REDIRECT --to-ports 9999")
    found = well.find("port-translated", "(iptables-legacy), priority -100", f"--dport {PORT} -j REDIRECT")
    assert (found["Severity"], well.reaches()) == ("note", "web")
    well.cure(found)
    assert well.examine()[1] == []


def test_a_port_taken_while_the_daemon_was_away(well: Patient) -> None:
    well.type("atoll down")
    thief = Answerer(well.host, "thief", [("tcp", "0.0.0.0", PORT)])
    well.type("atoll up")
    assert well.reaches() == "web"
    found = well.find("port-held", f"port {PORT}/tcp, which sandbox web publishes", "(pid ")
    assert found["Severity"] == "error" and found["Remedy"][0].startswith("kill ")
    well.cure(found)
    assert (well.serious(), well.reaches()) == ([], "web")
    thief.stop()


def test_a_table_that_was_there_before_is_not_owned() -> None:
    with patient(before="nft add table inet atoll") as found:
        finding = found.find("table-ownership", "inet atoll", "one was there before the daemon")
        assert finding["Severity"] == "warning"
        found.cure(finding)
        assert (found.serious(), found.reaches()) == ([], "web")


def test_router_advertisements_are_not_heard_any_more(well: Patient) -> None:
    router = well.client.address(6)
    well.type(f"ip -6 route add default via {router} dev eth0 metric 100 proto ra")
    well.type("sysctl -w net.ipv6.conf.eth0.accept_ra=1")
    well.cure(well.find("router-advertisements", "eth0 has its default route from a router advertisement"))
    assert well.serious() == []


def test_a_strict_filter_on_the_second_way_in(well: Patient) -> None:
    for line in (
        "ip link add up1 type veth peer name up2",
        "ip link set up1 up",
        "ip link set up2 up",
        "ip address add 203.0.113.2/24 dev up1",
        "ip route add default via 203.0.113.1 dev up1 metric 200",
        "sysctl -w net.ipv4.conf.up1.rp_filter=1",
    ):
        well.type(line)
    well.cure(well.find("reverse-path", "strict on up1", "way out is eth0"))
    assert well.serious() == []


def test_bridged_frames_cross_the_hooks() -> None:
    with patient(bridge_nf_call=1) as found:
        found.host.atoll("network create -o com.docker.network.bridge.enable_icc=false quiet")
        found.host.atoll("sandbox create one --network quiet -p 8081:81")
        found.host.atoll("sandbox create two --network quiet")
        finding = found.find("bridge-filter", "net.bridge.bridge-nf-call-iptables is 1")
        assert finding["Severity"] == "warning" and "network quiet (icc off)" in finding["Breaks"]
        found.cure(finding)
        assert found.examine() == (0, [])


def asks_gateway(host: Patient) -> bool:
    """Whether a sandbox gets an answer from a service on its gateway address."""
    server = host.host.start("busybox nc -l -p 53 -e busybox echo heard")
    try:
        done = host.host.sandbox("web").run("busybox nc -w 1 10.88.0.1 53", check=False)
        return "heard" in done.stdout
    finally:
        server.kill()
        server.wait()


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 60) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < timeout_s, f"still not so after {timeout_s} s"
        time.sleep(0.1)
