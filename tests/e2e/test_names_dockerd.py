"""The same questions get the same answers from a real dockerd as from us, but for what is listed with its reason."""

from pathlib import Path

import dns.reversename

from tests.support.daemon import daemon_host
from tests.support.dockerd import dockerd
from tests.support.named import RESOLVERS, asked, data, knows, resolver

OUTSIDE = knows({"example.com": "198.51.100.7"})
FRONT, INSIDE = "10.71.0.0/24", "10.72.0.0/24"
ONE, TWO, SHUT = "10.71.0.11", "10.71.0.12", "10.72.0.13"
QUESTIONS = [
    ("one", "two", "A"),
    ("one", "TWO", "A"),
    ("one", "two.front", "A"),
    ("one", "two.FRONT", "A"),
    ("one", "db", "A"),
    ("one", "db.front", "A"),
    ("one", "one", "A"),
    ("one", "ID", "A"),
    ("one", "two", "AAAA"),
    ("one", "two.front", "AAAA"),
    ("one", "two", "MX"),
    ("one", "two", "TXT"),
    ("one", "two", "HTTPS"),
    ("one", "two.inside", "A"),
    ("one", "shut", "A"),
    ("one", "nobody", "A"),
    ("one", "nobody", "AAAA"),
    ("one", "nobody.front", "A"),
    ("one", "example.com", "A"),
    ("one", "example.com", "AAAA"),
    ("one", "example.com", "TXT"),
    ("one", TWO, "PTR"),
    ("one", SHUT, "PTR"),
    ("one", "10.71.0.99", "PTR"),
    ("shut", "shut", "A"),
    ("shut", "two", "A"),
    ("shut", "example.com", "A"),
    ("shut", "example.com", "TXT"),
    ("shut", TWO, "PTR"),
]
OURS = "a name of ours is asked of nobody else, who would say that it doesn't exist"
LEAK = "nothing leaves from an internal network; so it is in Docker since 26.0 (CVE-2024-29018), this one is older"
DIFFERENT = {
    ("one", "two.FRONT", "A"): "names of networks are names in DNS, where case makes no difference",
    ("one", "two", "TXT"): OURS,
    ("one", "two", "HTTPS"): OURS,
    ("shut", "two", "A"): LEAK,
    ("shut", "example.com", "A"): LEAK,
    ("shut", "example.com", "TXT"): LEAK,
    ("shut", TWO, "PTR"): LEAK,
}
Answers = dict[tuple[str, str, str], list[str] | str]


def questioned(namespaces: dict[str, str], two_id: str) -> Answers:
    found: Answers = {}
    for asker, name, rrtype in QUESTIONS:
        shown = two_id[:12] if name == "ID" else name
        if rrtype == "PTR":
            shown = dns.reversename.from_address(name).to_text()
        for tcp in (False, True):
            answer = data(asked(namespaces[asker], shown, rrtype, tcp=tcp))
            assert found.setdefault((asker, name, rrtype), answer) == answer
    return found


def of_dockerd() -> Answers:
    with dockerd("names-dockerd") as engine, resolver(engine.netns, RESOLVERS[0], OUTSIDE):
        for name, subnet, internal in (("front", FRONT, False), ("inside", INSIDE, True)):
            config = {"Name": name, "Internal": internal, "IPAM": {"Config": [{"Subnet": subnet}]}}
            engine.must("POST", "/networks/create", config)
        ids = {}
        for name, network, address in (("one", "front", ONE), ("two", "front", TWO), ("shut", "inside", SHUT)):
            endpoint = {"IPAMConfig": {"IPv4Address": address}, "Aliases": ["db"] if name == "two" else []}
            ids[name] = engine.run_container(name, {network: endpoint}, Dns=[RESOLVERS[0]])
        pids = {name: engine.must("GET", f"/containers/{found}/json")["State"]["Pid"] for name, found in ids.items()}
        return questioned({name: f"/proc/{pid}/ns/net" for name, pid in pids.items()}, ids["two"])


def of_atoll(directory: Path) -> Answers:
    resolv_conf = directory / "resolv.conf"
    resolv_conf.write_text(f"nameserver {RESOLVERS[0]}\n")
    with (
        daemon_host("names-atoll", options=("--resolv-conf", str(resolv_conf))) as host,
        resolver(host.name, RESOLVERS[0], OUTSIDE),
    ):
        for name, subnet, internal in (("front", FRONT, False), ("inside", INSIDE, True)):
            config = {"Name": name, "Internal": internal, "IPAM": {"Config": [{"Subnet": subnet}]}}
            host.must("POST", "/networks/create", config)
        for name, network, address in (("one", "front", ONE), ("two", "front", TWO), ("shut", "inside", SHUT)):
            endpoint = {"Network": network, "IPv4Address": address, "Aliases": ["db"] if name == "two" else []}
            host.must("POST", "/atoll/sandboxes/create", {"Name": name, "Endpoints": [endpoint], "Resolve": True})
        found = {name: host.must("GET", f"/atoll/sandboxes/{name}") for name in ("one", "two", "shut")}
        return questioned({name: each["NetnsPath"] for name, each in found.items()}, found["two"]["Id"])


def test_answers_are_those_of_docker(tmp_path: Path) -> None:
    theirs, ours = of_dockerd(), of_atoll(tmp_path)
    different = {question for question in theirs if theirs[question] != ours[question]}
    for question in sorted(different):
        print(f"\n{question}: docker {theirs[question]}, we {ours[question]}: {DIFFERENT.get(question, '')}")
    assert different == set(DIFFERENT)
