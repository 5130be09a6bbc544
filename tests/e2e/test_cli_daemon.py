"""The command line against the real daemon, in a network namespace that plays the host."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

NAME = f"cli-host-{os.getpid()}"


@dataclass
class Host:
    """A namespace to play the host, and the directories of its daemon."""

    root: Path

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a program there."""
        command = ["nsenter", f"--net=/run/netns/{NAME}", *words]
        environment = os.environ | {"ATOLL_SOCKET": str(self.socket)}
        return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)

    def atoll(self, line: str) -> "subprocess.CompletedProcess[str]":
        """Run an atoll command there."""
        return self.run(sys.executable, "-m", "atoll", *shlex.split(line))

    def out(self, line: str) -> str:
        """What a command prints that has to succeed, saying nothing on stderr."""
        done = self.atoll(line)
        assert (done.returncode, done.stderr) == (0, ""), f"atoll {line}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self) -> str:
        """Start the daemon."""
        return self.out(f"up --state {self.root}/state --run {self.root}/run --netns-dir {self.root}/netns")

    @property
    def socket(self) -> Path:
        """The daemon's socket."""
        return self.root / "run" / "atoll.sock"

    @property
    def pid(self) -> int:
        """The daemon's process."""
        return int(
            json.loads(self.run("curl", "-s", "--unix-socket", str(self.socket), "http://x/atoll/status").stdout)["Pid"]
        )

    def links(self) -> set[str]:
        """Names of the host's links."""
        return {link["ifname"] for link in json.loads(self.run("ip", "-j", "link").stdout)}


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie that its new parent is slow to collect."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    host = Host(tmp_path)
    host.run("ip", "link", "set", "lo", "up")
    try:
        yield host
    finally:
        host.atoll(f"purge --force --state {tmp_path}/state --run {tmp_path}/run --netns-dir {tmp_path}/netns")
        # The daemon made the directory a mount of its own.
        subprocess.run(["umount", str(tmp_path / "netns")], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", NAME], check=True)


def test_daemon_goes_up_and_down_and_networks_stay(host: Host) -> None:
    assert host.atoll("network ls").returncode == 1
    would = host.out(f"up --dry-run --state {host.root}/state")
    assert would.splitlines()[1].startswith(f"atoll daemon --state {host.root}/state --socket {host.socket} >>")
    assert not host.socket.exists()

    assert host.up() == f"{host.socket}\n"
    pid = host.pid
    assert os.getsid(pid) == pid
    assert host.up() == f"{host.socket}\n"
    assert host.pid == pid
    other = host.atoll(f"up --state {host.root}/elsewhere")
    assert other.returncode == 1
    assert str(host.root / "state") in other.stderr
    assert host.out("network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'").splitlines() == [
        "bridge bridge local",
        "host host local",
        "none null local",
    ]

    links = host.links()
    assert "atoll0" in links
    assert host.out("down --dry-run").splitlines()[1] == f"kill -TERM {pid}"
    host.out("down")
    assert not is_running(pid)
    assert host.links() == links
    assert host.atoll("down").returncode == 0

    host.up()
    assert host.links() == links


def test_up_shows_why_the_daemon_died(host: Host) -> None:
    (host.root / "state").write_text("not a directory")
    done = host.atoll(f"up --state {host.root}/state --run {host.root}/run --netns-dir {host.root}/netns")
    (host.root / "state").unlink()
    assert done.returncode == 1
    assert done.stdout == ""
    assert str(host.root / "state") in done.stderr
    assert f"  try: less {host.root}/run/daemon.log\n" in done.stderr


def test_life_of_a_network_and_its_sandboxes(host: Host) -> None:
    host.up()
    before = host.out("network ls -q --no-trunc")
    steps = host.out("network create --dry-run --subnet 10.5.0.0/16 front").splitlines()
    assert any(line.startswith("# ") for line in steps)
    assert any(line.startswith("ip link add ") for line in steps)
    assert host.out("network ls -q --no-trunc") == before

    created = host.out("network create --subnet 10.5.0.0/16 --gateway 10.5.0.1 --label a=1 --mtu 1400 front").strip()
    host.out("network create back")
    assert host.out("network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}} {{json .Labels}}' front") == (
        '10.5.0.0/16 {"a":"1"}\n'
    )
    assert host.out(f"network ls --no-trunc -q -f id={created[:6]}").strip() == created
    taken = host.atoll("network create front")
    assert (taken.returncode, taken.stdout) == (1, "")
    assert "front" in taken.stderr

    host.out("sandbox create web --network front,ip=10.5.0.9,ifname=lan0,alias=www -p 8080:80 -p 127.0.0.1:53:53/udp")
    host.out("sandbox create side --network container:web")
    host.out("sandbox create db --network back")
    assert "10.5.0.9/16" in host.out("sandbox exec web ip -br address show lan0")
    assert "10.5.0.9/16" in host.out("sandbox exec side ip -br address show lan0")
    assert host.out("port web 80").splitlines() == ["0.0.0.0:8080", "[::]:8080"]
    assert host.out("port web 53/udp") == "127.0.0.1:53\n"

    row = host.out("sandbox ls -f name=web --format '{{.Kind}} {{.Networks}} {{.Cables}}'").split()
    assert row[:2] == ["made", "front(10.5.0.9)"]
    assert row[2] in host.links()
    assert row[3:] == ["<->", "lan0"]
    ends = host.out("network inspect -f '{{range .Containers}}{{.HostIfname}} {{.Ifname}}{{end}}' front").split()
    assert ends == [row[2], "lan0"]

    host.out("network connect --ifname wan0 back web")
    assert host.out("sandbox exec web ip -br link show wan0").startswith("wan0")
    gateway = host.out("network inspect -f '{{(index .IPAM.Config 0).Gateway}}' back").strip()
    assert host.run("ping", "-c1", "-W1", gateway).returncode == 0
    db = host.out("sandbox inspect -f '{{.Networks.back.IPAddress}}' db").strip()
    assert host.atoll(f"sandbox exec web ping -c1 -W1 {db}").returncode == 0
    host.out("network disconnect back web")
    assert host.atoll(f"sandbox exec web ping -c1 -W1 {db}").returncode == 1
    host.out("network allow front back")
    assert host.atoll(f"sandbox exec web ping -c1 -W1 {db}").returncode == 0
    host.out("network disallow front back")
    assert host.atoll(f"sandbox exec web ping -c1 -W1 {db}").returncode == 1

    rules = host.out("rules --counters front")
    assert "tcp . 8080 : 10.5.0.9 . 80" in rules
    assert row[2] in rules
    happened = host.out("events --since 10m --until 0s --format '{{.Type}} {{.Action}}'").splitlines()
    assert "network connect" in happened

    busy = host.atoll("network rm front back")
    assert (busy.returncode, busy.stdout) == (1, "")
    assert host.atoll("sandbox rm web").returncode == 1
    assert host.out("sandbox rm --dry-run db").startswith("# ")
    assert host.out("sandbox rm side web db") == "side\nweb\ndb\n"
    assert host.out("network prune --force") in ("Deleted Networks:\nfront\nback\n", "Deleted Networks:\nback\nfront\n")
    assert host.out("network ls -q --no-trunc") == before


def test_purge_leaves_nothing_even_without_a_daemon(host: Host) -> None:
    host.up()
    host.out("sandbox create web -p 8080:80")
    host.out("sandbox create side --network container:web")
    netns = host.out("sandbox inspect -f '{{.NetnsPath}}' web").strip()
    would = host.out("purge --dry-run")
    assert "ip link del atoll0" in would
    assert "nft delete table inet atoll" in would
    assert host.out("sandbox ls -q")
    assert host.atoll("purge").returncode == 1
    host.out("down")

    options = f"--state {host.root}/state --run {host.root}/run --netns-dir {host.root}/netns"
    assert host.atoll(f"purge --dry-run {options}").returncode == 1
    assert host.out(f"purge --force {options}") == "removed 3 networks and 2 sandboxes\n"
    assert host.links() == {"lo"}
    assert host.run("nft", "list", "tables").stdout == ""
    assert not Path(netns).exists()
    assert host.atoll("network ls").returncode == 1
