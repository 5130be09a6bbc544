"""The lab itself: hosts reach each other, captures and probes tell the truth, nothing stays behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atoll.lab.flow import Flow
from atoll.lab.leftovers import delete_namespace, sweep
from atoll.lab.namespace import residents
from atoll.lab.probe import Answerer, Question, ask, ask_one
from atoll.lab.topology import Lab
from tests.netns.namespaces import eventually


def namespaces_of(pid: int, label: str = "*") -> list[Path]:
    return list(Path("/run/netns").glob(f"atoll-lab-{pid}-{label}-*"))


def test_hosts_on_one_switch_reach_each_other_in_both_families() -> None:
    with Lab("t") as lab:
        lan = lab.switch("lan", "10.99.0.0/24", "fd99::/64")
        one, two = lab.host("one", lan), lab.host("two", lan)
        Answerer(two, "two", [("tcp", "0.0.0.0", 80), ("udp", "::", 53)])
        answers = ask(
            one,
            {
                "tcp": Question("tcp", str(two.address(4)), 80),
                "udp": Question("udp", str(two.address(6)), 53),
                "closed": Question("tcp", str(two.address(4)), 81, 0.4),
            },
        )
        assert (answers["tcp"].server, answers["tcp"].client) == ("two", str(one.address(4)))
        assert (answers["udp"].server, answers["udp"].client) == ("two", str(one.address(6)))
        assert answers["closed"].error == "ECONNREFUSED"
    # Labs of other tests may stand for longer.
    assert not namespaces_of(os.getpid(), "t")


@pytest.mark.parametrize("version", [4, 6])
def test_a_router_carries_between_switches_and_sctp_by_hand_is_answered(version: int) -> None:
    with Lab("t") as lab:
        lan = lab.switch("lan", "10.99.0.0/24", "fd99::/64")
        wan = lab.switch("wan", "203.0.113.0/24", "2001:db8:9::/64")
        inside, router = lab.host("inside", lan), lab.host("router", lan, wan, forwarding=True)
        outside = lab.host("outside", wan)
        inside.route("default", router)
        outside.route("default", router, leg=1)
        Answerer(inside, "inside", [("sctp", "0.0.0.0", 5000), ("sctp", "::", 5000)])
        answer = ask_one(outside, "sctp", str(inside.address(version)), 5000)
        assert (answer.server, answer.client) == ("inside", str(outside.address(version)))
        assert ask_one(outside, "sctp", str(inside.address(version)), 5001, wait_s=0.4).error == "timeout"


def test_a_capture_sees_the_first_packet_sent_after_it_started() -> None:
    with Lab("t") as lab:
        lan = lab.switch("lan", "10.99.0.0/24", "fd99::/64")
        one, two = lab.host("one", lan), lab.host("two", lan)
        with two.capture("eth0", "tcp port 80") as capture:
            ask_one(one, "tcp", str(two.address(6)), 80, wait_s=0.4)
            first = capture.packets(1)[0]
        assert (first.source, first.target, first.target_port) == (str(one.address(6)), str(two.address(6)), 80)
        assert "[S]" in first.what


def test_a_killed_lab_is_swept_by_the_next() -> None:
    script = (
        "import sys, time; from atoll.lab.topology import Lab\n"
        "lab = Lab('dead'); host = lab.host('one', lab.switch('lan', '10.99.0.0/24'))\n"
        "host.start('sleep 1000'); print('up', flush=True); time.sleep(1000)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    left = namespaces_of(process.pid)
    assert len(left) == 2
    # The program was started by way of `nsenter`, which may not have entered yet.
    eventually(lambda: residents(left))
    process.kill()
    process.wait()
    process.stdout.close()
    sweep()
    assert not residents(left) and not namespaces_of(process.pid)
    assert not [path for where in ("/tmp", "/run") for path in Path(where).glob(f"atoll-lab-{process.pid}-*")]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_flow_reports_what_was_dropped(protocol: str) -> None:
    with Lab("t") as lab:
        lan = lab.switch("lan", "10.99.0.0/24", "fd99::/64")
        one, two = lab.host("one", lan), lab.host("two", lan)
        target = (str(two.address()), 9000)
        flow = Flow(one, two, protocol=protocol, listen=("0.0.0.0", 9000), target=target, rate=1000, seconds=1.2)
        time.sleep(0.3)
        two.run("nft add table inet t { chain c { type filter hook input priority 0; policy drop; } ; }")
        time.sleep(0.3)
        two.run("nft delete table inet t")
        report = flow.report()
        assert report.sent == 1200
        if protocol == "udp":
            assert 200 < report.lost < 700
        else:
            assert report.lost == 0 and report.longest_ms > 250


def test_a_program_whose_namespace_went_before_it_is_ended_too() -> None:
    with Lab("t") as lab:
        host = lab.host("one")
        process = host.start("sh -c 'echo up; sleep 1000'")
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        delete_namespace(host.path)
        assert process.poll() is None
    assert process.poll() is not None
