"""Networks, two containers that find each other, a published port, shared and empty namespaces: all by `docker`."""

import json

from atoll.lab.scenarios.docker_session.stage import Stage
from atoll.lab.story import Story
from atoll.lab.topology import Lab

TITLE = "atoll demo docker: the textbook session with containers, typed with Docker's own command"
DRAWING = """
   The docker command here is the real one; its daemon is atoll. Hosts are network namespaces, yours is not touched.

       +-----------+             +--------------------- host ---------------------+
       |  outside  |-------------| eth0 10.99.0.1        atoll0  172.17.0.1       |
       | 10.99.0.2 |     LAN     |                          |          |          |
       +-----------+             |                      5idocker     client       |
                                 +------------------------------------------------+
"""
PAGE = "helo www.linuxea.com"
GATEWAY = "172.17.0.1"
WEB = "172.17.0.2"
"""The first address of the default network after its gateway's: the first container has it."""


def play(lab: Lab, story: Story) -> None:
    """Play the whole scenario; at the end nothing of it is left."""
    story.open(TITLE, DRAWING)
    stage = Stage.built(lab, story)
    try:
        for step in (
            _networks,
            _server,
            _client,
            _from_the_host,
            _inspected,
            _published,
            _joined,
            _host,
            _none,
            _ended,
        ):
            step(stage)
    finally:
        stage.close()


def _networks(stage: Stage) -> None:
    with stage.story.step("docker network ls: three networks are there from the first start"):
        header, *rows = [line.split() for line in stage.docker("docker network ls").splitlines()]
        found = {row[1]: (row[2], row[3]) for row in rows}
        wanted = {"bridge": ("bridge", "local"), "host": ("host", "local"), "none": ("null", "local")}
        stage.story.check("bridge, host and none, with their drivers and scopes", found == wanted, found)
        stage.story.check("under Docker's header", header == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"], header)


def _server(stage: Stage) -> None:
    story = stage.story
    with story.step("docker run -d: a web server; docker exec -it: a shell beside it, in a terminal"):
        stage.docker("docker run --name 5idocker -d busybox httpd -f -h /www")
        lines = ("ip a", f"ping -c 3 {GATEWAY}", f"echo {PAGE} > /www/index.html")
        shown, pinged, _ = stage.session("docker exec -it 5idocker sh", lines)
        story.check(f"its eth0 has the address {WEB}/16", f"inet {WEB}/16 brd 172.17.255.255" in shown, shown)
        story.check("its eth0 is one end of a cable: eth0@if...", "eth0@if" in shown, shown)
        story.check("its gateway answers 3 of 3", " 0% packet loss" in pinged, pinged)
        links = stage.host.out("ip -oneline link show master atoll0")
        stage.story.typed("host", "ip -oneline link show master atoll0")
        story.show(links)
        story.check("the other end is plugged into the switch", len(links.splitlines()) == 1, links)


def _client(stage: Stage) -> None:
    story = stage.story
    with story.step("docker run -it: a client in a terminal gets the page"):
        lines = ("ip a", f"ping -c 3 {WEB}", f"wget -O - -q http://{WEB}")
        shown, pinged, page = stage.session("docker run --name client -it busybox sh", lines)
        story.check("its eth0 has the next address", "inet 172.17.0.3/16" in shown, shown)
        story.check("the server answers 3 of 3 pings", " 0% packet loss" in pinged, pinged)
        story.check("wget prints the page", page.strip() == PAGE, page)


def _from_the_host(stage: Stage) -> None:
    with stage.story.step("The host reaches the container at its own address"):
        stage.story.typed("host", f"wget -O - -q http://{WEB}")
        page = stage.host.out(["busybox", "wget", "-O", "-", "-q", f"http://{WEB}"])
        stage.story.show(page)
        stage.story.check("it gets the page", page.strip() == PAGE, page)


def _inspected(stage: Stage) -> None:
    story = stage.story
    with story.step("docker network inspect bridge, and host"):
        (bridge,) = json.loads(stage.docker("docker network inspect bridge", lines_max=30))
        members = {member["Name"]: member["IPv4Address"] for member in bridge["Containers"].values()}
        story.check("bridge names the container and its address", members == {"5idocker": f"{WEB}/16"}, members)
        pool = bridge["IPAM"]["Config"][0]
        story.check("its subnet is 172.17.0.0/16", pool["Subnet"] == "172.17.0.0/16", pool)
        (host,) = json.loads(stage.docker("docker network inspect host"))
        story.check("host has the driver host", host["Driver"] == "host", host["Driver"])


def _published(stage: Stage) -> None:
    story, address = stage.story, stage.host.address()
    with story.step("docker run -p: a published port serves other hosts"):
        stage.docker(
            "docker run --name web -d -p 8080:80 busybox sh -c 'echo published >/www/index.html; httpd -f -h /www'"
        )
        stage.docker("docker port web")
        stage.docker("docker ps")
        fetch = ["busybox", "wget", "-O", "-", "-q", f"http://{address}:8080/"]
        story.typed("outside", f"wget -O - -q http://{address}:8080/")
        page = stage.outside.out(fetch)
        story.show(page)
        story.check("the outside host gets the page", page.strip() == "published", page)


def _joined(stage: Stage) -> None:
    with stage.story.step("docker run --network container:5idocker: 127.0.0.1 is the other's"):
        page = stage.docker("docker run --rm --network container:5idocker busybox wget -O - -q http://127.0.0.1")
        stage.story.check("the server is found at 127.0.0.1", page.strip() == PAGE, page)


def _host(stage: Stage) -> None:
    with stage.story.step("docker run --network host: the host's own interfaces"):
        shown = stage.docker("docker run --rm --network host busybox ip address show dev eth0")
        stage.story.check("eth0 is the host's", f"inet {stage.host.address()}/24" in shown, shown)


def _none(stage: Stage) -> None:
    with stage.story.step("docker run --network none: only loopback"):
        shown = stage.docker("docker run --rm --network none busybox ip -oneline link")
        stage.story.check("lo is its only interface", len(shown.splitlines()) == 1 and ": lo:" in shown, shown)


def _ended(stage: Stage) -> None:
    with stage.story.step("docker rm -f: nothing is left"):
        stage.docker("docker rm -f 5idocker client web")
        left = stage.docker("docker ps -a -q")
        stage.story.check("no container is listed", left == "", left)
        ports = stage.host.out("ip -oneline link show master atoll0")
        stage.story.check("no cable is plugged into the switch", ports == "", ports)
