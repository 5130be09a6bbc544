"""The table is ours alone, survives us, and is rebuilt only when it is wrong."""

import errno
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from atoll.errors import KernelError, Unavailable
from atoll.kernel.kernel import Count, RuleCount
from atoll.kernel.nft.firewall import Firewall
from atoll.kernel.nft.library import Library
from atoll.kernel.nft.rules import load_rules
from atoll.model.firewall import TABLES, TableFamily
from atoll.model.items import Element
from tests.netns.namespaces import inside, namespace, path_of, run
from tests.netns.nft_support import adds, firewall_of, listed

ELEMENTS = (
    Element("any4", (6, 8080), (IPv4Address("10.0.0.2"), 80)),
    Element("lan4", ("at-br", IPv4Address("10.0.0.0"))),
    Element("nets", ("at-br",)),
    Element("guarded", ("av1",)),
    Element("arp4", ("av1", "02:42:0a:00:00:02", IPv4Address("10.0.0.2"))),
    Element("nd6t", ("av1", "02:42:0a:00:00:02", IPv6Address("fd00::2"))),
)

OWNER = """
import subprocess, sys
from atoll.kernel.nft.firewall import Firewall
firewall = Firewall()
firewall.ensure()
# A program that outlives the owner, with whatever descriptors it inherits.
child = subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def host() -> Iterator[str]:
    with namespace("nft-table") as name:
        yield name


@pytest.fixture
def firewall(host: str) -> Iterator[Firewall]:
    with firewall_of(host) as made:
        yield made


def table_of(host: str) -> str:
    """The tables with handles: anything made anew gets another."""
    return "".join(run(host, f"nft -a list table {table}") for table in TABLES)


def make_plain(host: str) -> None:
    """Somebody else makes the tables first: they stay theirs to change."""
    for table in TABLES:
        run(host, f"nft add table {table}")


def refused(host: str, command: str) -> str:
    done = subprocess.run(
        ["nsenter", f"--net={path_of(host)}", *command.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0, f"{command} succeeded"
    return done.stderr


def test_the_first_ensure_builds_and_the_next_touches_nothing(host: str, firewall: Firewall) -> None:
    assert not firewall.owned
    assert firewall.ensure()
    assert firewall.owned
    firewall.apply(adds(*ELEMENTS))
    before = table_of(host)
    assert not firewall.ensure()
    assert table_of(host) == before


def test_the_kernel_holds_every_rule_of_the_text(host: str, firewall: Firewall) -> None:
    firewall.ensure()
    for family in TableFamily:
        for chain in load_rules(family).chains:
            lines = run(host, f"nft list chain {family.table} {chain.name}").splitlines()
            present = [line for line in lines if line.startswith("\t\t") and not line.strip().startswith("type ")]
            assert len(present) == len(chain.rules), chain.name


def test_another_process_can_neither_flush_nor_change_the_table(host: str, firewall: Firewall) -> None:
    firewall.refill(ELEMENTS)
    before = table_of(host)
    run(host, "nft flush ruleset")
    for command in (
        "nft add element inet atoll nets { evil }",
        "nft flush chain inet atoll forward",
        "nft delete table inet atoll",
        "nft add rule inet atoll forward accept",
        "nft delete element bridge atoll guarded { av1 }",
        "nft flush chain bridge atoll prerouting",
        "nft delete table bridge atoll",
    ):
        assert "Operation not permitted" in refused(host, command)
    assert table_of(host) == before
    assert not firewall.ensure()


def test_tables_of_others_are_left_alone(host: str, firewall: Firewall) -> None:
    run(host, "nft add table inet other")
    run(host, "nft add chain inet other atoll { type filter hook input priority 0 ; }")
    run(host, "nft add table ip atoll")
    run(host, "nft add table bridge other")
    before = run(host, "nft -a list ruleset")
    firewall.ensure()
    firewall.refill(ELEMENTS)
    firewall.delete()
    assert run(host, "nft -a list ruleset") == before


def test_the_next_process_adopts_the_table_of_a_killed_one_as_it_is(host: str, firewall: Firewall) -> None:
    enter = ["nsenter", f"--net={path_of(host)}", sys.executable, "-c", OWNER]
    owner = subprocess.Popen(enter, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    try:
        with pytest.raises(Unavailable, match="owned by another process"):
            firewall.ensure()
        with pytest.raises(Unavailable, match="owned by another process"):
            firewall.delete()
        with pytest.raises(KernelError) as raised:
            firewall.apply(adds(*ELEMENTS))
        assert raised.value.errno == errno.EPERM
        owner.kill()
        owner.communicate()
        before = table_of(host).splitlines()
        assert not firewall.owned
        assert not firewall.ensure()
        assert firewall.owned
        assert _unowned(table_of(host).splitlines()) == _unowned(before)
        run(host, "nft flush ruleset")
        firewall.apply(adds(*ELEMENTS))
        assert set(firewall.survey().values()) == set(ELEMENTS)
    finally:
        subprocess.run(["kill", str(child)], check=True)


def test_an_orphan_that_was_flushed_is_built_again(host: str) -> None:
    with firewall_of(host) as first:
        first.refill(ELEMENTS)
    run(host, "nft flush ruleset")
    with firewall_of(host) as second:
        assert second.survey() == {}
        assert second.ensure()
        assert second.owned
        second.refill(ELEMENTS)
        assert set(second.survey().values()) == set(ELEMENTS)
        assert not second.ensure()


def test_a_crash_between_building_and_marking_is_built_again(host: str) -> None:
    with firewall_of(host) as first:
        first.refill(ELEMENTS)
    run(host, "nft delete chain inet atoll version")
    with firewall_of(host) as second:
        assert second.ensure()
        assert set(second.survey().values()) == set(ELEMENTS)
        assert not second.ensure()


@pytest.mark.parametrize(
    "damage",
    [
        "flush table inet atoll",
        "flush chain inet atoll into_net",
        "add rule inet atoll forward accept",
        "insert rule inet atoll raw accept",
        "add chain inet atoll stray",
        "add chain inet atoll hooked { type filter hook forward priority -1 ; policy drop ; }",
        "add chain inet atoll forward { policy drop ; }",
        "add set inet atoll stray { type ipv4_addr ; }",
        "replace rule inet atoll from_net handle HANDLE drop",
        "delete rule inet atoll from_net handle HANDLE",
        "flush table bridge atoll",
        "delete table bridge atoll",
        "flush chain bridge atoll sent",
        "insert rule bridge atoll sent_arp accept",
    ],
)
def test_a_damaged_table_is_made_right_and_keeps_its_elements(host: str, damage: str) -> None:
    make_plain(host)
    with firewall_of(host) as firewall:
        assert firewall.ensure()
        assert not firewall.owned  # a plain table stays plain, so anyone may break it
        firewall.apply(adds(*ELEMENTS))
        right = "".join(run(host, f"nft list table {table}") for table in TABLES)
        accepts = next(line for line in table_of(host).splitlines() if "@pairs counter" in line)
        run(host, f"nft {damage.replace('HANDLE', accepts.split()[-1])}")
        assert firewall.ensure()
        lost = damage == "delete table bridge atoll"
        assert set(firewall.survey().values()) == {each for each in ELEMENTS if not (lost and each.rank == 1)}
        firewall.apply(adds(*ELEMENTS))
        mended = "".join(run(host, f"nft list table {table}") for table in TABLES).splitlines()
        assert sorted(_unowned(mended)) == sorted(_unowned(right.splitlines()))
        assert not firewall.ensure()


def _unowned(lines: list[str]) -> list[str]:
    """A listing without what says whose the tables are just now."""
    return [line.partition(" # ")[0] for line in lines if line.strip() and not line.startswith("\tflags")]


@pytest.mark.parametrize("counts", [True, False], ids=["as it was", "without the counter of a set"])
def test_a_table_restored_from_its_listing_is_right_only_when_its_elements_count(host: str, counts: bool) -> None:
    make_plain(host)
    with firewall_of(host) as firewall:
        firewall.ensure()
        firewall.apply(adds(*ELEMENTS))
        listing = run(host, "nft list table inet atoll")
        declared = "set masq {\n\t\ttype nf_proto . ifname\n\t\tcounter\n"
        assert declared in listing
        restored = listing if counts else listing.replace(declared, declared.replace("\t\tcounter\n", ""))
        run(host, "nft delete table inet atoll")
        enter = ["nsenter", f"--net={path_of(host)}", "nft", "-f", "-"]
        subprocess.run(enter, input=restored, text=True, check=True)
        assert firewall.ensure() is not counts
        assert set(firewall.survey().values()) == set(ELEMENTS)


def test_elements_that_no_longer_fit_are_dropped_by_a_rebuild(host: str) -> None:
    run(host, "nft add table inet atoll")
    run(host, "nft add set inet atoll bygone { type ipv4_addr ; elements = { 10.0.0.1 } ; }")
    run(host, "nft add set inet atoll nets { type ifname ; elements = { at-br } ; }")
    run(host, "nft add set inet atoll lan4 { type ipv4_addr ; elements = { 10.0.0.1 } ; }")
    run(host, 'nft add set inet atoll internal { type ifname ; elements = { "at{br" } ; }')
    with firewall_of(host) as firewall:
        assert firewall.ensure()
        assert firewall.survey().keys() == {("element", "nets", ("at-br",))}


def test_refill_puts_exactly_these_elements(host: str, firewall: Firewall) -> None:
    firewall.refill(ELEMENTS)
    many = [Element("any4", (17, port), (IPv4Address("10.0.0.2"), port)) for port in range(1, 3001)]
    firewall.refill(many)
    assert set(firewall.survey().values()) == set(many)
    assert listed(host, "any4") == set(many)
    assert firewall.owned
    assert not firewall.ensure()


def test_what_traffic_counts_does_not_make_the_table_wrong(host: str, firewall: Firewall) -> None:
    firewall.refill([Element("subnet4", (2, IPv4Address("10.7.0.1")))])
    run(host, "ip link add at-a address 02:00:00:00:00:0a type veth peer name at-b")
    run(host, "ip link set at-a up")
    run(host, "ip link set at-b up")
    run(host, "ip addr add 10.7.0.1/24 dev at-a")
    before = {each.rule: each.count for each in firewall.counters()}
    assert before["meta nfproto . ip daddr @subnet4 counter drop"] == Count()
    inside(host, lambda: knock("at-b", "02:00:00:00:00:0a", "10.7.0.1"))
    assert (
        RuleCount("inet atoll", "input", "meta nfproto . ip daddr @subnet4 counter drop", Count(1, 28))
        in firewall.counters()
    )
    assert not firewall.ensure()


def knock(ifname: str, mac: str, address: str) -> None:
    """One empty UDP datagram from 10.7.0.9 out of `ifname`, written by hand."""
    source, destination = socket.inet_aton("10.7.0.9"), socket.inet_aton(address)
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, source, destination)
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~total & 0xFFFF) + header[12:]
    frame = (
        bytes.fromhex(mac.replace(":", "")) + b"\2\0\0\0\0\1" + b"\x08\0" + header + struct.pack(">HHHH", 9, 9, 8, 0)
    )
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((ifname, 0))
        raw.send(frame)


def test_counters_tell_every_counting_rule_with_its_text(firewall: Firewall) -> None:
    firewall.ensure()
    expected = [
        (family.table, chain.name, rule)
        for family in TableFamily
        for chain in load_rules(family).chains
        for rule in chain.rules
        if "counter" in rule
    ]
    assert [(count.table, count.chain, count.rule) for count in firewall.counters()] == expected


def test_rules_that_nft_refuses_are_told_with_the_numbered_script(host: str) -> None:
    library = inside(host, Library)
    with pytest.raises(KernelError, match="No such file or directory") as raised:
        library.run("add table inet mine\nadd rule inet mine nowhere accept\n")
    assert raised.value.errno == errno.ENOENT
    assert "   2 add rule inet mine nowhere accept" in raised.value.detail
    assert run(host, "nft list ruleset") == ""
    with pytest.raises(KernelError, match="syntax error"):
        library.run("add nonsense")
    library.close()
    library.close()


def test_closing_frees_every_descriptor(host: str) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with firewall_of(host):
        pass
    before = open_files()
    for _ in range(5):
        with firewall_of(host) as firewall:
            firewall.ensure()
    assert open_files() == before


def test_root_in_a_user_namespace_has_the_table_too() -> None:
    script = "from atoll.kernel.nft.firewall import Firewall as F; f = F(); print(f.ensure(), f.owned, f.ensure())"
    command = ["unshare", "-Urn", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True True False\n", "")
