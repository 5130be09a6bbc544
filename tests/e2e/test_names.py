"""Sandboxes find each other by name, while the daemon changes what is there, is killed, or isn't there at all."""

import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import dns.message
import dns.reversename
import pytest

from atoll.dns.client import NameClient
from tests.netns.namespaces import eventually, inside
from tests.support.daemon import DaemonHost, daemon_host
from tests.support.named import NAME_SERVER, RESOLVERS, asked, data, knows, resolver

RATE = 1000


@pytest.fixture
def host(tmp_path: Path) -> Iterator[DaemonHost]:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(f"nameserver {RESOLVERS[0]}\n")
    with daemon_host("names", options=("--resolv-conf", str(resolv_conf))) as host:
        yield host


def network(host: DaemonHost, name: str, subnet: str, **fields: Any) -> None:
    body = {"Name": name, "Driver": "bridge", "IPAM": {"Config": [{"Subnet": subnet}]}, **fields}
    host.must("POST", "/networks/create", body)


def sandbox(host: DaemonHost, name: str, *endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"Name": name, "Endpoints": list(endpoints), "Resolve": "Pid" not in fields, **fields}
    created = host.must("POST", "/atoll/sandboxes/create", body)
    found: dict[str, Any] = host.must("GET", f"/atoll/sandboxes/{created['Id']}")
    return found


def address(sandbox: dict[str, Any], network: str) -> str:
    found: str = sandbox["Networks"][network]["IPAddress"]
    return found


def get(sandbox: dict[str, Any], name: str, rrtype: str = "A", **options: Any) -> Sequence[str]:
    return data(asked(sandbox["NetnsPath"], name, rrtype, **options))


def service(host: DaemonHost) -> NameClient:
    return NameClient(host.directory / "run" / "names.sock")


def test_sandboxes_find_each_other_on_the_networks_that_they_share(host: DaemonHost) -> None:
    network(host, "Front", "10.1.0.0/24")
    network(host, "back", "10.2.0.0/24")
    one = sandbox(host, "one", {"Network": "Front"})
    two = sandbox(host, "Two", {"Network": "Front", "Aliases": ["db"]}, {"Network": "back"})
    three = sandbox(host, "three", {"Network": "back", "Aliases": ["db"]})
    plain, other = sandbox(host, "plain"), sandbox(host, "other")

    front, back = address(two, "Front"), address(two, "back")
    for name in ("two", "TWO", "two.front", "db", "db.Front", two["Id"][:12], f"{two['Id'][:12]}.front"):
        assert get(one, name) == get(one, name, tcp=True) == [front], name
    assert get(one, "one") == [address(one, "Front")]
    assert get(three, "two") == get(two, "two.back") == [back]
    assert get(three, "one") == get(one, "three") == get(plain, "two") == "SERVFAIL"
    assert get(two, dns.reversename.from_address(address(three, "back")).to_text(), "PTR") == ["three.back."]
    # The default bridge has names, too.
    assert get(plain, "other") == [address(other, "bridge")]

    host.must("POST", "/networks/back/connect", {"Container": "one", "EndpointConfig": {"Aliases": ["late"]}})
    now = host.must("GET", "/atoll/sandboxes/one")
    assert get(one, "three") == [address(three, "back")]
    assert get(three, "late") == [address(now, "back")]
    assert get(three, "db") == [address(three, "back")]
    host.must("POST", "/networks/back/disconnect", {"Container": "one"})
    assert get(one, "three") == get(three, "late") == "SERVFAIL"
    host.must("DELETE", "/atoll/sandboxes/Two")
    assert get(one, "db") == "SERVFAIL"


def test_name_of_several_leads_to_all_of_them(host: DaemonHost) -> None:
    network(host, "front", "10.1.0.0/24")
    one = sandbox(host, "one", {"Network": "front"})
    many = [sandbox(host, f"w{number}", {"Network": "front", "Aliases": ["web"]}) for number in range(3)]
    assert get(one, "web") == sorted(address(each, "front") for each in many)
    firsts = [asked(one["NetnsPath"], "web").answer[0][0].to_text() for _ in range(12)]
    assert {firsts.count(address(each, "front")) for each in many} == {4}


def test_libc_finds_names_of_ours_and_of_others(host: DaemonHost, tmp_path: Path) -> None:
    network(host, "front", "10.1.0.0/24", EnableIPv6=True)
    one, two = sandbox(host, "one", {"Network": "front"}), sandbox(host, "two", {"Network": "front"})
    inner = tmp_path / "inner.conf"
    inner.write_text(f"nameserver {NAME_SERVER}\noptions ndots:0\n")

    def getent(database: str, name: str) -> str:
        script = 'mount --bind "$1" /etc/resolv.conf && getent "$2" "$3"'
        command = ["nsenter", f"--net={one['NetnsPath']}", "unshare", "--mount", "sh", "-c", script, "sh"]
        done = subprocess.run([*command, str(inner), database, name], capture_output=True, text=True, check=False)
        return done.stdout

    with resolver(host.name, RESOLVERS[0], knows({"example.com": "198.51.100.7"})):
        assert getent("ahostsv4", "two").split()[0] == address(two, "front")
        assert getent("ahostsv6", "two").split()[0] == two["Networks"]["front"]["GlobalIPv6Address"]
        assert getent("hosts", address(two, "front")).split()[1] == "two.front"
        assert getent("ahostsv4", "example.com").split()[0] == "198.51.100.7"
        assert getent("hosts", "nobody") == ""


def test_internal_network_asks_nobody(host: DaemonHost) -> None:
    network(host, "inside", "10.3.0.0/24", Internal=True)
    one, two = sandbox(host, "one", {"Network": "inside"}), sandbox(host, "two", {"Network": "inside"})
    with resolver(host.name, RESOLVERS[0], knows({"example.com": "198.51.100.7"})) as questions:
        assert get(one, "example.com") == "SERVFAIL"
        assert get(one, "two") == [address(two, "inside")]
        assert questions == []
        network(host, "out", "10.4.0.0/24")
        host.must("POST", "/networks/out/connect", {"Container": "one"})
        assert get(one, "example.com") == ["198.51.100.7"]


@contextmanager
def questions(sandbox: dict[str, Any], name: str) -> Iterator[list[str]]:
    """RATE questions a second as long as the block lasts; the answers, or why there was none."""
    ended, answers = Event(), []

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((NAME_SERVER, 53))
            sock.settimeout(2)
            query = dns.message.make_query(name, "A").to_wire()[2:]
            begun, number = time.monotonic(), 0
            while not ended.is_set():
                packet_id = struct.pack(">H", number & 0xFFFF)
                try:
                    sock.send(packet_id + query)
                    answer = sock.recv(512)
                    same = answer[:2] == packet_id
                    answers.append(dns.message.from_wire(answer).answer[0][0].to_text() if same else "another's")
                except (OSError, IndexError) as error:
                    answers.append(repr(error))
                number += 1
                time.sleep(max(0.0, begun + number / RATE - time.monotonic()))

    thread = Thread(target=lambda: inside(sandbox["NetnsPath"], ask))
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


def test_no_answer_is_lost_while_the_daemon_is_killed_and_started(host: DaemonHost) -> None:
    network(host, "front", "10.1.0.0/24")
    one, two = sandbox(host, "one", {"Network": "front"}), sandbox(host, "two", {"Network": "front"})
    pid = service(host).pid()
    begun = time.monotonic()
    with questions(one, "two") as answers:
        for _ in range(3):
            time.sleep(0.3)
            host.kill9()
            time.sleep(0.3)
            host.start()
            sandbox(host, f"more-{len(answers)}", {"Network": "front"})
        host.restart()
    seconds = time.monotonic() - begun
    assert set(answers) == {address(two, "front")}
    assert len(answers) > 0.7 * RATE * seconds
    assert service(host).pid() == pid
    print(f"\n{len(answers)} questions in {seconds:.1f} s, none lost over three kills and a restart")


def test_names_go_on_without_a_daemon_and_change_with_the_next_one(host: DaemonHost) -> None:
    network(host, "front", "10.1.0.0/24")
    one, two = sandbox(host, "one", {"Network": "front"}), sandbox(host, "two", {"Network": "front"})
    host.kill9()
    assert get(one, "two") == [address(two, "front")]
    host.start()
    three = sandbox(host, "three", {"Network": "front", "Aliases": ["two"]})
    assert get(one, "two") == sorted([address(two, "front"), address(three, "front")])
    assert get(three, "one") == [address(one, "front")]
    assert host.must("GET", "/atoll/status")["Degraded"] == []


def test_killed_name_service_is_back_at_once(host: DaemonHost) -> None:
    network(host, "front", "10.1.0.0/24")
    one, two = sandbox(host, "one", {"Network": "front"}), sandbox(host, "two", {"Network": "front"})
    time.sleep(1.5)  # until it is watched
    for _ in range(2):
        begun = time.monotonic()
        os.kill(service(host).pid(), signal.SIGKILL)
        eventually(lambda: _answered(one) == [address(two, "front")], seconds=5)
        print(f"\nanswered again after {time.monotonic() - begun:.2f} s")
    assert host.must("GET", "/atoll/status")["Degraded"] == []


def test_killed_name_service_is_back_with_the_next_change(host: DaemonHost) -> None:
    network(host, "front", "10.1.0.0/24")
    one, two = sandbox(host, "one", {"Network": "front"}), sandbox(host, "two", {"Network": "front"})
    os.kill(service(host).pid(), signal.SIGKILL)
    sandbox(host, "three", {"Network": "front"})
    assert get(one, "two", tcp=True) == [address(two, "front")]


def test_namespace_that_is_made_again_is_answered_again(host: DaemonHost) -> None:
    network(host, "front", "10.1.0.0/24")
    one, two = sandbox(host, "one", {"Network": "front"}), sandbox(host, "two", {"Network": "front"})
    subprocess.run(["umount", "--lazy", one["NetnsPath"]], check=True)
    before = eventually(lambda: host.must("GET", "/atoll/sandboxes/one")["NetnsInode"], seconds=5)
    assert before != one["NetnsInode"]
    eventually(lambda: _answered(one) == [address(two, "front")], seconds=5)


def _answered(sandbox: dict[str, Any]) -> Sequence[str]:
    try:
        return get(sandbox, "two", timeout_s=0.2)
    except Exception:
        return ""


def test_removed_sandbox_leaves_nothing_and_purge_ends_the_service(host: DaemonHost) -> None:
    network(host, "front", "10.1.0.0/24")
    one = sandbox(host, "one", {"Network": "front"})
    client = service(host)
    pid = client.pid()
    descriptors = Path(f"/proc/{pid}/fd")
    before = len(list(descriptors.iterdir()))
    for number in range(5):
        two = sandbox(host, f"two-{number}", {"Network": "front"})
        assert get(one, two["Name"]) == [address(two, "front")]
        host.must("DELETE", f"/atoll/sandboxes/{two['Name']}")
        eventually(lambda: host.run("ip -o link show type veth").count("\n") == 1)
        assert not Path(two["NetnsPath"]).exists()
    eventually(lambda: len(list(descriptors.iterdir())) == before)
    client.close()
    host.must("POST", "/atoll/purge")
    eventually(lambda: not Path(f"/proc/{pid}").exists())


def test_attached_namespace_is_named_but_not_answered_or_kept(host: DaemonHost) -> None:
    network(host, "front", "10.1.0.0/24")
    one = sandbox(host, "one", {"Network": "front"})
    process = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        own = Path("/proc/self/ns/net").stat().st_ino
        eventually(lambda: Path(f"/proc/{process.pid}/ns/net").stat().st_ino != own)
        foreign = sandbox(host, "foreign", {"Network": "front"}, Pid=process.pid)
        assert get(one, "foreign") == [address(foreign, "front")]
    finally:
        process.kill()
        process.wait()
    eventually(lambda: get(one, "foreign") == "SERVFAIL")
