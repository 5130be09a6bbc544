"""Several networks on one host: apart unless allowed, and what inspect says of one."""

import json

from atoll.lab.probe import CLOSED_WAIT_S, Answerer, ask_one
from atoll.lab.scenarios.single_host.stage import Stage

DOCKER_KEYS = {
    "Name", "Id", "Created", "Scope", "Driver", "EnableIPv6", "IPAM", "Internal", "Attachable", "Ingress",
    "ConfigFrom", "ConfigOnly", "Containers", "Options", "Labels",
}  # fmt: skip


def play(stage: Stage) -> None:
    """Two networks, the door between them, inspect."""
    _apart(stage)
    _allowed(stage)
    _inspect(stage)


def _apart(stage: Stage) -> None:
    story = stage.story
    with story.step("A second network: another switch, and no way between the two"):
        stage.change("network create --subnet 10.5.0.0/24 store")
        database = stage.create("db", "--network", "store,ip=10.5.0.10", only="ip link add")
        Answerer(database, "db", [("tcp", "0.0.0.0", 5432)])
        stage.typed(stage.host, "ip -brief link show type bridge")
        _reaches(stage, "client", "10.5.0.10", 5432, "")
        tried = stage.typed(stage.spaces["client"], "ping -c 1 -W 1 10.5.0.10", check=False)
        story.check("client can't even ping db, though the host could route it", " 100% packet loss" in tried, tried)


def _allowed(stage: Stage) -> None:
    story = stage.story
    with story.step("A door between two networks: one element each way, and the source address is kept"):
        stage.change("network allow bridge store")
        stage.typed(stage.host, "nft list set inet atoll pairs")
        answer = _reaches(stage, "client", "10.5.0.10", 5432, "db")
        story.check("db sees client's own address", answer == stage.address("client"), answer)
        stage.change("network disallow bridge store")
        _reaches(stage, "client", "10.5.0.10", 5432, "")


def _inspect(stage: Stage) -> None:
    story = stage.story
    with story.step("Inspect: the same JSON as Docker's"):
        printed = stage.atoll("network inspect store", quietly=True)
        story.show(printed, lines_max=60)
        (found,) = json.loads(printed)
        missing = sorted(DOCKER_KEYS - set(found))
        story.check("it has Docker's keys", not missing, missing)
        members = {member["Name"]: member["IPv4Address"] for member in found["Containers"].values()}
        story.check("db is in it, with its address", members == {"db": "10.5.0.10/24"}, members)


def _reaches(stage: Stage, name: str, address: str, port: int, server: str) -> str:
    """Check who answers ("" for nobody); the client address that the server saw."""
    wait_s = 2 if server else CLOSED_WAIT_S
    answer = ask_one(stage.spaces[name], "tcp", address, port, wait_s=wait_s)
    stage.story.typed(name, f"nc -w 1 {address} {port}         -> {answer}")
    what = f"{server} answers {name}" if server else f"{name} gets no answer from {address}:{port}"
    stage.story.check(what, answer.server == server, answer)
    return answer.client
